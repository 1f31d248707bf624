package essential

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
)

func TestIsTracked(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *podBuilder
		want bool
	}{
		"with the annotation":             {aPod().tracked("main"), true},
		"with an empty annotation":        {aPod().tracked(""), false},
		"with the label alone":            {aPod().labelled("main"), false},
		"with another annotation of ours": {aPod().annotated(api.StoppedAnnotation, "2026-01-05T02:00:00Z"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := IsTracked(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestIsMirror(t *testing.T) {
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
			if got := IsMirror(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestIsTerminal(t *testing.T) {
	for phase, want := range map[corev1.PodPhase]bool{
		"": false, corev1.PodPending: false, corev1.PodRunning: false, corev1.PodUnknown: false,
		corev1.PodSucceeded: true, corev1.PodFailed: true,
	} {
		if got := IsTerminal(aPod().phase(phase).build()); got != want {
			t.Errorf("phase %q: got %v, want %v", phase, got, want)
		}
	}
}

func TestHasRunningContainers(t *testing.T) {
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
			if got := HasRunningContainers(tt.pod.build()); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

type podBuilder struct{ pod corev1.Pod }

func aPod() *podBuilder { return &podBuilder{} }

func (b *podBuilder) build() *corev1.Pod { return &b.pod }

func (b *podBuilder) labelled(value string) *podBuilder {
	metav1.SetMetaDataLabel(&b.pod.ObjectMeta, api.Label, value)
	return b
}

func (b *podBuilder) annotated(key, value string) *podBuilder {
	metav1.SetMetaDataAnnotation(&b.pod.ObjectMeta, key, value)
	return b
}

func (b *podBuilder) tracked(names string) *podBuilder {
	return b.annotated(api.TrackedAnnotation, names)
}

func (b *podBuilder) phase(phase corev1.PodPhase) *podBuilder {
	b.pod.Status.Phase = phase
	return b
}

func (b *podBuilder) conditioned(kind corev1.PodConditionType, status corev1.ConditionStatus, reason string) *podBuilder {
	b.pod.Status.Conditions = append(b.pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: status, Reason: reason})
	return b
}

// started says when the kubelet took the pod on.
func (b *podBuilder) started(at time.Time) *podBuilder {
	b.pod.Status.StartTime = new(metav1.NewTime(at))
	return b
}

func (b *podBuilder) deadline(seconds int64) *podBuilder {
	b.pod.Spec.ActiveDeadlineSeconds = &seconds
	return b
}

func (b *podBuilder) deleted(at time.Time, grace *int64) *podBuilder {
	b.pod.DeletionTimestamp, b.pod.DeletionGracePeriodSeconds = new(metav1.NewTime(at)), grace
	return b
}

func (b *podBuilder) reason(reason string) *podBuilder {
	b.pod.Status.Reason = reason
	return b
}

func (b *podBuilder) disrupted(status corev1.ConditionStatus, reason string, at time.Time) *podBuilder {
	b.conditioned(corev1.DisruptionTarget, status, reason)
	b.pod.Status.Conditions[len(b.pod.Status.Conditions)-1].LastTransitionTime = metav1.NewTime(at)
	return b
}

// old adds the condition of versions before 0.2, dated at noon.
func (b *podBuilder) old(status corev1.ConditionStatus, reason, because string) *podBuilder {
	b.conditioned(OldStoppedCondition, status, reason)
	c := &b.pod.Status.Conditions[len(b.pod.Status.Conditions)-1]
	c.Message, c.LastTransitionTime = because, metav1.NewTime(noon)
	return b
}

// restarting adds that all containers are being restarted since then.
func (b *podBuilder) restarting(since time.Time) *podBuilder {
	b.conditioned(corev1.AllContainersRestarting, corev1.ConditionTrue, "RestartAllContainers")
	b.pod.Status.Conditions[len(b.pod.Status.Conditions)-1].LastTransitionTime = metav1.NewTime(since)
	return b
}

func (b *podBuilder) policy(policy corev1.RestartPolicy) *podBuilder {
	b.pod.Spec.RestartPolicy = policy
	return b
}

// spec adds what the pod's template says of a container.
func (b *podBuilder) spec(c corev1.Container) *podBuilder {
	b.pod.Spec.Containers = append(b.pod.Spec.Containers, c)
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

func (b *containerBuilder) at(when time.Time) *containerBuilder {
	b.state.Terminated.FinishedAt = metav1.NewTime(when)
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
