package essential

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// End is the end of a container that the kubelet does not undo.
type End struct {
	Container string
	ExitCode  int32
	Reason    string // such as OOMKilled; for people, the exit code decides
	At        time.Time
}

// String is a sentence without a full stop.
func (e End) String() string {
	switch {
	case e.ExitCode == 0:
		return fmt.Sprintf("Essential container %q completed with exit code 0", e.Container)
	case e.Reason == "" || e.Reason == "Error":
		return fmt.Sprintf("Essential container %q failed with exit code %d", e.Container, e.ExitCode)
	default:
		return fmt.Sprintf("Essential container %q failed with exit code %d (%s)", e.Container, e.ExitCode, e.Reason)
	}
}

// before reports whether e came first. An end at an unknown time, of a container
// that the kubelet has lost, comes last.
func (e *End) before(other *End) bool {
	return !e.At.IsZero() && (other.At.IsZero() || e.At.Before(other.At))
}

// Outcome is what the essential containers of a pod came to. Its zero value
// means that nothing is decided yet.
type Outcome struct {
	// Phase is what the pod has earned: PodSucceeded or PodFailed. Empty while the
	// pod has to go on.
	Phase corev1.PodPhase
	// Hopeless, with an empty Phase: nothing can complete the pod any more, and
	// its policies do not mind.
	Hopeless bool
	// By is the end that decided it.
	By End
}

// OutcomeOf judges the pod's essential containers by its policies: the
// completion (under [CompletionAll], the last one of all) or the failure for
// good, whichever came first, so that what happens later changes nothing. A
// failure decides only under [OnFailureStop].
func OutcomeOf(pod *corev1.Pod, policies Policies) Outcome {
	var completed, failed *End
	completions, failures, names := 0, 0, 0
	all := policies.Completion == CompletionAll
	for name := range strings.SplitSeq(pod.Annotations[TrackedAnnotation], TrackedSeparator) {
		names++
		status := statusOf(pod, name)
		if status == nil {
			continue
		}
		if end := completion(pod, status); end != nil {
			completions++
			if completed == nil || end.before(completed) != all {
				completed = end
			}
		} else if end := failure(pod, status); end != nil {
			failures++
			if failed == nil || end.before(failed) {
				failed = end
			}
		}
	}
	if all && completions < names {
		completed = nil
	}
	stops := failed != nil && policies.OnFailure == OnFailureStop
	switch {
	case completed != nil && (!stops || !failed.before(completed)):
		return Outcome{Phase: corev1.PodSucceeded, By: *completed}
	case stops:
		return Outcome{Phase: corev1.PodFailed, By: *failed}
	case failures == names, failed != nil && all:
		return Outcome{Hopeless: true, By: *failed}
	}
	return Outcome{}
}

// EndsByItself reports whether every regular container has ended for good: the
// kubelet ends the rest of such a pod, native sidecars, by itself.
func EndsByItself(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		if t := status.State.Terminated; t == nil || restarts(pod, status.Name, t.ExitCode) {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) > 0 && restarting(pod) == nil
}

// completion returns the container's exit with code 0, or nil. It looks at the
// last state too: under restartPolicy Always the kubelet restarts the container
// within the same second, and the state itself may never be seen terminated.
func completion(pod *corev1.Pod, status *corev1.ContainerStatus) *End {
	for _, t := range [...]*corev1.ContainerStateTerminated{status.LastTerminationState.Terminated, status.State.Terminated} {
		if t == nil || t.ExitCode != 0 {
			continue
		}
		// All containers of the pod are being killed to start anew: this one may
		// have ended by that.
		if all := restarting(pod); all != nil && !t.FinishedAt.Before(&all.LastTransitionTime) {
			continue
		}
		return endOf(status.Name, t)
	}
	return nil
}

// failure returns the exit of a container that has not completed, if it stays
// that way, or nil.
func failure(pod *corev1.Pod, status *corev1.ContainerStatus) *End {
	t := status.State.Terminated
	if t == nil || restarting(pod) != nil || restarts(pod, status.Name, t.ExitCode) {
		return nil
	}
	return endOf(status.Name, t)
}

// restarts is [Restarts] for a container of the pod.
func restarts(pod *corev1.Pod, name string, exitCode int32) bool {
	for i := range pod.Spec.Containers {
		if c := &pod.Spec.Containers[i]; c.Name == name {
			return Restarts(pod.Spec.RestartPolicy, c.RestartPolicy, c.RestartPolicyRules, exitCode)
		}
	}
	return Restarts(pod.Spec.RestartPolicy, nil, nil, exitCode)
}

// Restarts reports whether the kubelet starts a regular container again after an
// exit with this code (k8s.io/kubernetes/pkg/api/v1/pod, ContainerShouldRestart):
// its own rules, of which the first that matches counts, then its own policy, then
// the pod's. Without a policy of its own its rules do not count.
func Restarts(pod corev1.RestartPolicy, own *corev1.ContainerRestartPolicy, rules []corev1.ContainerRestartRule, exitCode int32) bool {
	policy := pod
	if own != nil {
		if restartsByRule(rules, exitCode) {
			return true
		}
		policy = corev1.RestartPolicy(*own)
	}
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return exitCode != 0
	default:
		return true
	}
}

// restartsByRule reports whether the first rule that matches the exit code
// demands a restart, of this container or of all. An action that is newer than
// this program does not.
func restartsByRule(rules []corev1.ContainerRestartRule, exitCode int32) bool {
	for _, rule := range rules {
		if matches(rule.ExitCodes, exitCode) {
			return rule.Action == corev1.ContainerRestartRuleActionRestart || rule.Action == corev1.ContainerRestartRuleActionRestartAllContainers
		}
	}
	return false
}

func matches(codes *corev1.ContainerRestartRuleOnExitCodes, exitCode int32) bool {
	if codes == nil {
		return false
	}
	listed := false
	for _, code := range codes.Values {
		listed = listed || code == exitCode
	}
	switch codes.Operator {
	case corev1.ContainerRestartRuleOnExitCodesOpIn:
		return listed
	case corev1.ContainerRestartRuleOnExitCodesOpNotIn:
		return !listed
	default:
		return false
	}
}

// restarting returns the condition that all containers of the pod are being
// restarted in place, or nil.
func restarting(pod *corev1.Pod) *corev1.PodCondition {
	if c := Condition(pod, corev1.AllContainersRestarting); c != nil && c.Status == corev1.ConditionTrue {
		return c
	}
	return nil
}

func statusOf(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		if status := &pod.Status.ContainerStatuses[i]; status.Name == name {
			return status
		}
	}
	return nil
}

func endOf(name string, t *corev1.ContainerStateTerminated) *End {
	return &End{Container: name, ExitCode: t.ExitCode, Reason: t.Reason, At: t.FinishedAt.Time}
}
