package reaper

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/oracle"
)

// life is a pod that lives through whatever a kubelet may do to it, together with
// a record, kept by other means than its status, of what really happened.
type life struct {
	pod        *corev1.Pod
	rules      rules
	essentials []string
	now        time.Time
	skew       time.Duration // of the reaper's clock

	everCompleted map[string]bool // exit code 0 by itself, or the same in the pod's status
	failedForGood map[string]bool
	due           Decision // the first decision that acted
	gone          bool     // deleted
}

func newLife(t *rapid.T) *life {
	names := []string{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(t, "containers")]
	l := &life{
		now:           now,
		essentials:    names[:rapid.IntRange(1, len(names)).Draw(t, "essentials")],
		everCompleted: map[string]bool{}, failedForGood: map[string]bool{},
		rules: rules{
			defaults: essential.Policies{
				Completion: rapid.SampledFrom([]api.Completion{api.CompletionAny, api.CompletionAll}).Draw(t, "default completion"),
				OnFailure:  rapid.SampledFrom([]api.OnFailure{api.OnFailureIgnore, api.OnFailureStop}).Draw(t, "default on-failure"),
			},
		},
		pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: "u", Labels: map[string]string{}, Annotations: map[string]string{"example.com/a": "b"}},
			Spec:       corev1.PodSpec{RestartPolicy: rapid.SampledFrom([]corev1.RestartPolicy{"Never", "OnFailure", "Always"}).Draw(t, "restartPolicy")},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		},
	}
	l.pod.Labels[api.Label] = strings.Join(l.essentials, api.NameSeparator)
	l.pod.Annotations[api.TrackedAnnotation] = strings.Join(l.essentials, api.TrackedSeparator)
	for _, policy := range [][]string{
		{completionKey, "Any", "All", "bad"}, {onFailureKey, "Ignore", "Stop", "bad"},
		{stopDelayKey, "0s", "30s", "bad"}, {retentionKey, "0s", "10m", "Forever", "bad"},
	} {
		if key := policy[0]; rapid.Bool().Draw(t, "has "+key) {
			l.pod.Annotations[key] = rapid.SampledFrom(policy[1:]).Draw(t, key)
		}
	}
	for _, name := range names {
		c := corev1.Container{Name: name, Image: "i"}
		if rapid.Bool().Draw(t, name+" has a policy") {
			c.RestartPolicy = new(rapid.SampledFrom([]corev1.ContainerRestartPolicy{"Never", "OnFailure", "Always"}).Draw(t, name+" policy"))
			if rapid.Bool().Draw(t, name+" has a rule") {
				c.RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart, ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{
					Operator: rapid.SampledFrom([]corev1.ContainerRestartRuleOnExitCodesOperator{"In", "NotIn"}).Draw(t, name+" operator"), Values: []int32{1},
				}}}
			}
		}
		l.pod.Spec.Containers = append(l.pod.Spec.Containers, c)
		l.pod.Status.ContainerStatuses = append(l.pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
	return l
}

// exit lets a running container end, with the kubelet's consequences.
func (l *life) exit(t *rapid.T) {
	i := rapid.IntRange(0, len(l.pod.Spec.Containers)-1).Draw(t, "which")
	status, c := &l.pod.Status.ContainerStatuses[i], l.pod.Spec.Containers[i]
	if status.State.Running == nil {
		t.Skip("does not run")
	}
	code := rapid.SampledFrom([]int32{0, 0, 1, 2}).Draw(t, "exit code")
	status.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.NewTime(l.now)}}
	if code == 0 {
		l.everCompleted[c.Name] = true
	} else if !restartedByTheKubelet(c, l.pod.Spec.RestartPolicy, code) {
		l.failedForGood[c.Name] = true
	}
}

// restart starts an ended container again, if its policies say so.
func (l *life) restart(t *rapid.T) {
	i := rapid.IntRange(0, len(l.pod.Spec.Containers)-1).Draw(t, "which")
	status := &l.pod.Status.ContainerStatuses[i]
	ended := status.State.Terminated
	if ended == nil || !restartedByTheKubelet(l.pod.Spec.Containers[i], l.pod.Spec.RestartPolicy, ended.ExitCode) {
		t.Skip("stays as it is")
	}
	status.LastTerminationState = corev1.ContainerState{Terminated: ended}
	status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

// kill lets the kubelet kill a running container and start it again, as for a
// probe. Only where it restarts completed containers too, this looks like one.
func (l *life) kill(t *rapid.T) {
	i := rapid.IntRange(0, len(l.pod.Spec.Containers)-1).Draw(t, "which")
	status, c := &l.pod.Status.ContainerStatuses[i], l.pod.Spec.Containers[i]
	if status.State.Running == nil {
		t.Skip("does not run")
	}
	code := rapid.SampledFrom([]int32{0, 137}).Draw(t, "exit code")
	status.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, FinishedAt: metav1.NewTime(l.now)}}
	if code == 0 && restartedByTheKubelet(c, l.pod.Spec.RestartPolicy, 0) {
		l.everCompleted[c.Name] = true
	}
}

// end lets the kubelet end a pod that was stopped, or in which nothing is left to
// run. The webhook gives it its phase.
func (l *life) end(t *rapid.T) {
	stopped := essential.IsStopped(l.pod)
	if !stopped && !essential.HasEndedForGood(l.pod) {
		t.Skip("keeps running")
	}
	policies, _ := l.rules.defaults.Override(nil, l.pod.Annotations)
	phase := corev1.PodSucceeded
	for i := range l.pod.Status.ContainerStatuses {
		state := &l.pod.Status.ContainerStatuses[i].State
		if state.Terminated == nil {
			*state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, FinishedAt: metav1.NewTime(l.now)}}
		}
		if state.Terminated.ExitCode != 0 {
			phase = corev1.PodFailed
		}
	}
	if outcome := essential.OutcomeOf(l.pod, policies).Phase; outcome != "" {
		phase = outcome
	}
	l.pod.Status.Phase = phase
}

// restartedByTheKubelet is the documentation's rule, written down once more.
func restartedByTheKubelet(c corev1.Container, policy corev1.RestartPolicy, code int32) bool {
	if c.RestartPolicy != nil {
		for _, rule := range c.RestartPolicyRules {
			if slices.Contains(rule.ExitCodes.Values, code) == (rule.ExitCodes.Operator == "In") {
				return true
			}
		}
		policy = corev1.RestartPolicy(*c.RestartPolicy)
	}
	return policy == "Always" || policy == "OnFailure" && code != 0
}

// finished reports whether what really happened allows the phase.
func (l *life) finished(phase corev1.PodPhase, policies essential.Policies) bool {
	completed := func(name string) bool { return l.everCompleted[name] }
	switch {
	case phase == corev1.PodFailed:
		return policies.OnFailure == api.OnFailureStop && slices.ContainsFunc(l.essentials, func(name string) bool { return l.failedForGood[name] })
	case policies.Completion == api.CompletionAll:
		return !slices.ContainsFunc(l.essentials, func(name string) bool { return !completed(name) })
	default:
		return slices.ContainsFunc(l.essentials, completed)
	}
}

// clock is the reaper's, which may be set at any moment.
func (l *life) clock() time.Time { return l.now.Add(l.skew) }

// act does to the pod what the reaper's patch does.
func (l *life) act(d Decision) {
	record := essential.Record{At: l.clock(), Phase: d.Phase, Because: d.Because}.String()
	switch d.Action {
	case Delay:
		l.pod.Annotations[api.DueAnnotation] = record
	case Stop:
		l.pod.Annotations[api.StoppedAnnotation] = record
	case Delete:
		l.gone = true
	}
}

// check decides, and compares with what really happened.
func (l *life) check(t *rapid.T) {
	if l.gone {
		return
	}
	backOff := rapid.SampledFrom([]time.Duration{0, minBackOff}).Draw(t, "back-off")
	d := decide(l.pod, true, backOff, l.rules, l.clock())
	policies, _ := l.rules.defaults.Override(nil, l.pod.Annotations)

	trimmed, err := new(trimmer).pod(l.pod.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, decide(trimmed.(*corev1.Pod), true, backOff, l.rules, l.clock())); diff != "" {
		t.Fatalf("decision on the whole pod (-) and on the trimmed one (+):\n%s", diff)
	}
	if d.Action != Leave && l.due.Action == Leave && !l.finished(d.Phase, policies) {
		t.Fatalf("%s as %s although its essential containers have not finished: %s", d.Action, d.Phase, l)
	}
	if l.due.Action != Leave {
		if d.Action == Leave && d.At.IsZero() && d.Warning != overdue && !essential.HasEndedForGood(l.pod) && !essential.IsTerminal(l.pod) {
			t.Fatalf("was due (%s), and is no longer: %s", l.due.Action, l)
		}
		if d.Phase != "" && d.Phase != l.due.Phase {
			t.Fatalf("was due as %s, and now as %s: %s", l.due.Phase, d.Phase, l)
		}
		if d.Action == Stop && essential.IsStopped(l.pod) {
			t.Fatalf("is stopped a second time: %s", l)
		}
		if phase := l.pod.Status.Phase; essential.IsTerminal(l.pod) && phase != l.due.Phase {
			t.Fatalf("was due as %s, and ended as %s: %s", l.due.Phase, phase, l)
		}
	}
	if l.due.Action == Leave && d.Action != Leave {
		l.due = d
	}
	l.act(d)
}

// Whatever happened to a pod, the trimmed cache decides as the whole pod does, and
// the decision about a pod that runs is the one of the design's tables.
func TestDecisionsAboutAnyPod(t *testing.T) {
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		pod := f.Pod(rapid.SampledFrom([]corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed}).Draw(t, "phase"))
		pod.Labels[api.Label] = f.Label()
		if rapid.IntRange(0, 9).Draw(t, "tracked") == 0 {
			delete(pod.Annotations, api.TrackedAnnotation)
		}
		for key, values := range map[string][]string{stopDelayKey: {"3s", "bad"}, retentionKey: {"3s", "Forever", "bad"}, helmHook: {"test"}} {
			if rapid.IntRange(0, 3).Draw(t, "has "+key) == 0 {
				pod.Annotations[key] = rapid.SampledFrom(values).Draw(t, key)
			}
		}
		if rapid.Bool().Draw(t, "owned") {
			pod = podBuilder{pod}.controlledBy(metav1.OwnerReference{APIVersion: rapid.SampledFrom([]string{"v1", "batch/v1", "example.com/v1"}).Draw(t, "owner"), UID: "o"}).Pod
		}
		pod.Spec.TerminationGracePeriodSeconds = new(rapid.Int64Range(0, 5).Draw(t, "grace period"))
		if rapid.IntRange(0, 3).Draw(t, "old stop") == 0 && f.Stopped == "" {
			pod.Annotations[api.StoppedAnnotation] = oracle.Start.Format(time.RFC3339Nano)
		}
		if rapid.IntRange(0, 3).Draw(t, "native sidecar") == 0 {
			pod = podBuilder{pod}.nativeSidecar("mesh").Pod
		}
		r := rules{defaults: essential.DefaultPolicies(), adopt: rapid.Bool().Draw(t, "adopt")}
		optedIn, at := rapid.Bool().Draw(t, "opted in"), oracle.Start.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "now"))*time.Second)
		backOff := rapid.SampledFrom([]time.Duration{0, 5 * time.Second}).Draw(t, "back-off")

		d := decide(pod, optedIn, backOff, r, at)
		trimmed, err := new(trimmer).pod(pod.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, decide(trimmed.(*corev1.Pod), optedIn, backOff, r, at)); diff != "" {
			t.Fatalf("decision on the whole pod (-) and on the trimmed one (+):\n%s", diff)
		}
		f.Reason = "" // of the phase Failed
		want := f.Outcome()
		switch {
		case !essential.IsTracked(pod), f.Deleted != nil, essential.IsTerminal(pod):
			if d.Action == Stop || d.Action == Delay {
				t.Fatalf("%s of a pod that has ended, or that is deleted or not tracked", d.Action)
			}
		case f.Stopped != "", essential.HasEndedForGood(pod):
			if d.Action != Leave {
				t.Fatalf("%s of a pod that is stopped or ends by itself", d.Action)
			}
		case want.FailureIgnored:
			if d.Action != Leave || d.Warning.Reason != api.FailedReason {
				t.Fatalf("got %+v, want a warning of the failure", d)
			}
		case want.Phase == "", pod.Annotations[stopDelayKey] == "bad":
			if d.Action != Leave || !d.At.IsZero() {
				t.Fatalf("got %+v, want to wait", d)
			}
		case d.Action == Leave:
			if d.At.IsZero() || f.Delayed == "" && f.OldVersion == "" {
				t.Fatalf("got %+v, want %s", d, want.Phase)
			}
		case string(d.Phase) != want.Phase || !slices.Contains(want.By, d.Because):
			t.Fatalf("got %+v, want %+v", d, want)
		}
	})
}

func (l *life) String() string {
	return fmt.Sprintf("%+v, annotations %v, status %+v", l.rules, l.pod.Annotations, l.pod.Status)
}

// TestDecisionsAboutAnyLife: whatever a pod lives through, no decision acts
// before its essential containers have finished; once it is due, it remains due,
// with the same phase, and ends with it; it is stopped once; and the trimmed cache
// decides the same. All that whatever the reaper's clock says.
func TestDecisionsAboutAnyLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		t.Repeat(map[string]func(*rapid.T){
			"a container exits": l.exit,
			"one is restarted":  l.restart,
			"time passes": func(t *rapid.T) {
				l.now = l.now.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "seconds")) * time.Second)
			},
			"the reaper's clock is set": func(t *rapid.T) {
				l.skew = time.Duration(rapid.IntRange(-1e6, 1e6).Draw(t, "seconds ahead")) * time.Second
			},
			"the kubelet kills one": l.kill,
			"the pod ends":          l.end,
			"":                      l.check,
		})
	})
}
