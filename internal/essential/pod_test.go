package essential

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTracked(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *podBuilder
		want bool
	}{
		"with the annotation":             {aPod().tracked("main"), true},
		"with an empty annotation":        {aPod().tracked(""), false},
		"with the label alone":            {aPod().labelled("main"), false},
		"with another annotation of ours": {aPod().annotated(StoppedAnnotation, "2026-01-05T02:00:00Z"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Tracked(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMirror(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *podBuilder
		want bool
	}{
		"the API's image of a static pod":                {aPod().annotated("kubernetes.io/config.mirror", "hash"), true},
		"whatever the annotation's value":                {aPod().annotated("kubernetes.io/config.mirror", ""), true},
		"a pod that came from a file, the kubelet's own": {aPod().annotated("kubernetes.io/config.source", "file"), false},
		"any other pod":                                  {aPod(), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Mirror(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	for phase, want := range map[corev1.PodPhase]bool{
		"": false, corev1.PodPending: false, corev1.PodRunning: false, corev1.PodUnknown: false,
		corev1.PodSucceeded: true, corev1.PodFailed: true,
	} {
		if got := Terminal(aPod().phase(phase).build()); got != want {
			t.Errorf("phase %q: got %v, want %v", phase, got, want)
		}
	}
}

func TestStopped(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *podBuilder
		want bool
	}{
		"with the time of a stop": {aPod().annotated(StoppedAnnotation, "2026-01-05T02:00:00Z"), true},
		"with no time":            {aPod().annotated(StoppedAnnotation, ""), false},
		"tracked only":            {aPod().tracked("main").phase(corev1.PodSucceeded), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Stopped(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCompletedContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *podBuilder
		want string // container; empty: none
	}{
		"it exited with code 0": {
			aPod().tracked("main").container("main", exited(0)).container("proxy", running()), "main"},
		"it was restarted since": {
			aPod().tracked("main").container("main", running().after(0)), "main"},
		"it waits to be restarted": {
			aPod().tracked("main").container("main", waiting().after(0)), "main"},
		"it failed after it had completed": {
			aPod().tracked("main").container("main", exited(1).after(0)), "main"},
		"it completed after it had failed": {
			aPod().tracked("main").container("main", exited(0).after(137)), "main"},
		"it exited with another code": {
			aPod().tracked("main").container("main", exited(1)), ""},
		"it was killed": {
			aPod().tracked("main").container("main", exited(137)), ""},
		"it failed and was restarted": {
			aPod().tracked("main").container("main", running().after(2)), ""},
		"it runs": {
			aPod().tracked("main").container("main", running()), ""},
		"it waits": {
			aPod().tracked("main").container("main", waiting()), ""},
		"the reason does not decide": {
			aPod().tracked("main").container("main", exited(1).because("Completed")), ""},
		"nor does it against": {
			aPod().tracked("main").container("main", exited(0).because("Error")), "main"},
		"no status yet": {
			aPod().tracked("main"), ""},
		"a sidecar that exited with code 0 does not count": {
			aPod().tracked("main").container("main", running()).container("proxy", exited(0)), ""},
		"nor does a container whose name begins alike": {
			aPod().tracked("main").container("mai", exited(0)).container("main-2", exited(0)), ""},
		"nor an init container": {
			aPod().tracked("main").initContainer("main", exited(0)), ""},
		"nor an ephemeral one": {
			aPod().tracked("main").ephemeralContainer("main", exited(0)), ""},
		"the first of several names": {
			aPod().tracked("a,b").container("a", exited(0)).container("b", running()), "a"},
		"the last of several names": {
			aPod().tracked("a,b").container("a", running()).container("b", exited(0)), "b"},
		"one of several names failed": {
			aPod().tracked("a,b").container("a", exited(1)).container("b", exited(0)), "b"},
		"none of several names": {
			aPod().tracked("a,b").container("a", exited(1)).container("b", running()).container("c", exited(0)), ""},
		"a pod that is not tracked": {
			aPod().container("main", exited(0)), ""},
		"the label does not stand for the annotation": {
			aPod().labelled("main").container("main", exited(0)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if status := CompletedContainer(tt.pod.build()); status != nil {
				got = status.Name
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCompletionIsTheLatestExitWithCode0(t *testing.T) {
	for name, tt := range map[string]struct {
		container *containerBuilder
		want      *corev1.ContainerStateTerminated
	}{
		"of the state":                      {exited(0).because("now"), &corev1.ContainerStateTerminated{Reason: "now"}},
		"of the state, not the last one":    {exited(0).because("now").after(0), &corev1.ContainerStateTerminated{Reason: "now"}},
		"of the last state":                 {running().after(0), &corev1.ContainerStateTerminated{Reason: "before"}},
		"of the last state after a failure": {exited(1).after(0), &corev1.ContainerStateTerminated{Reason: "before"}},
		"none":                              {exited(1).after(1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			status := tt.container.status("main")
			if diff := cmp.Diff(tt.want, Completion(&status)); diff != "" {
				t.Errorf("completion (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRunning(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *podBuilder
		want bool
	}{
		"a container":               {aPod().container("main", exited(0)).container("proxy", running()), true},
		"a native sidecar":          {aPod().container("main", exited(0)).initContainer("mesh", running()), true},
		"an ephemeral container":    {aPod().container("main", exited(0)).ephemeralContainer("debug", running()), true},
		"one that was restarted":    {aPod().container("main", running().after(0)), true},
		"all have exited":           {aPod().container("main", exited(0)).container("proxy", exited(143)).initContainer("mesh", exited(0)), false},
		"one waits":                 {aPod().container("main", waiting()), false},
		"one waits to be restarted": {aPod().container("main", waiting().after(1)), false},
		"no status yet":             {aPod(), false},
		"the phase does not decide": {aPod().phase(corev1.PodRunning), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Running(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

type podBuilder struct{ pod corev1.Pod }

func aPod() *podBuilder { return &podBuilder{} }

func (b *podBuilder) build() *corev1.Pod { return &b.pod }

func (b *podBuilder) labelled(value string) *podBuilder {
	metav1.SetMetaDataLabel(&b.pod.ObjectMeta, Label, value)
	return b
}

func (b *podBuilder) annotated(key, value string) *podBuilder {
	metav1.SetMetaDataAnnotation(&b.pod.ObjectMeta, key, value)
	return b
}

func (b *podBuilder) tracked(names string) *podBuilder { return b.annotated(TrackedAnnotation, names) }

func (b *podBuilder) phase(phase corev1.PodPhase) *podBuilder {
	b.pod.Status.Phase = phase
	return b
}

func (b *podBuilder) container(name string, c *containerBuilder) *podBuilder {
	b.pod.Status.ContainerStatuses = append(b.pod.Status.ContainerStatuses, c.status(name))
	return b
}

func (b *podBuilder) initContainer(name string, c *containerBuilder) *podBuilder {
	b.pod.Status.InitContainerStatuses = append(b.pod.Status.InitContainerStatuses, c.status(name))
	return b
}

func (b *podBuilder) ephemeralContainer(name string, c *containerBuilder) *podBuilder {
	b.pod.Status.EphemeralContainerStatuses = append(b.pod.Status.EphemeralContainerStatuses, c.status(name))
	return b
}

type containerBuilder struct{ state, last corev1.ContainerState }

func running() *containerBuilder {
	return &containerBuilder{state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
}

func waiting() *containerBuilder {
	return &containerBuilder{state: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
}

func exited(code int32) *containerBuilder {
	return &containerBuilder{state: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func (b *containerBuilder) because(reason string) *containerBuilder {
	b.state.Terminated.Reason = reason
	return b
}

// after adds that the container exited with this code the time before.
func (b *containerBuilder) after(code int32) *containerBuilder {
	b.last = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "before"}}
	return b
}

func (b *containerBuilder) status(name string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: b.state, LastTerminationState: b.last}
}
