package essential

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
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

// isBefore reports whether e came first. An end at an unknown time, of a container
// that the kubelet has lost, comes last.
func (e *End) isBefore(other *End) bool {
	return !e.At.IsZero() && (other.At.IsZero() || e.At.Before(other.At))
}

// Outcome is what the essential containers of a pod amount to. Its zero value
// means that nothing is decided yet.
type Outcome struct {
	// Phase is PodSucceeded or PodFailed, or empty while the pod has to keep
	// running.
	Phase corev1.PodPhase
	// FailureIgnored, with an empty Phase, means that no completion is possible any
	// more, and that the pod's policies ignore that.
	FailureIgnored bool
	// Because names the container and the exit code that decided. One sentence
	// without a full stop.
	Because string
}

// OutcomeOf returns the outcome of a tracked pod. The reaper stops pods by it and
// the webhook decides their phase by it.
//
// What the reaper has recorded counts. Otherwise the completion (under
// [api.CompletionAll], the last one of all) or the failure for good decides,
// whichever came first, so that what happens later changes nothing. A failure
// decides only under [api.OnFailureStop]. An end that something outside the pod may
// have caused is neither.
func OutcomeOf(pod *corev1.Pod, policies Policies) Outcome {
	interrupted := interruption(pod)
	if record, ok := recorded(pod); ok {
		if interrupted != nil && interrupted.IsZero() {
			return Outcome{}
		}
		return Outcome{Phase: record.Phase, Because: record.Because}
	}
	var completed, failed *End
	completions, failures, names := 0, 0, 0
	all := policies.Completion == api.CompletionAll
	for name := range strings.SplitSeq(pod.Annotations[api.TrackedAnnotation], api.TrackedSeparator) {
		names++
		status := statusOf(pod, name)
		if status == nil {
			continue
		}
		if end := completion(pod, status, interrupted); end != nil {
			completions++
			if completed == nil || end.isBefore(completed) != all {
				completed = end
			}
		} else if end := failure(pod, status, interrupted); end != nil {
			failures++
			if failed == nil || end.isBefore(failed) {
				failed = end
			}
		}
	}
	if all && completions < names {
		completed = nil
	}
	stops := failed != nil && policies.OnFailure == api.OnFailureStop
	switch {
	case completed != nil && (!stops || !failed.isBefore(completed)):
		return Outcome{Phase: corev1.PodSucceeded, Because: completed.String()}
	case stops:
		return Outcome{Phase: corev1.PodFailed, Because: failed.String()}
	case failures == names, failed != nil && all:
		return Outcome{FailureIgnored: true, Because: failed.String()}
	}
	return Outcome{}
}

// HasEndedForGood reports whether every regular container has ended for good: the
// kubelet ends the rest of such a pod, native sidecars, by itself.
func HasEndedForGood(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		if t := status.State.Terminated; t == nil || isRestarted(pod, status.Name, t.ExitCode) {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) > 0 && restarting(pod) == nil
}

// completion returns the exit with code 0 that completed the container, or nil.
//
// A container that the kubelet does not restart after exit code 0 has completed
// if it has ended so. If such a code is only in the last state, the kubelet itself
// killed the container (liveness probe, resize, changed image) and runs it again.
// Under restartPolicy Always the last state counts too: the kubelet restarts the
// container within the second, and the state itself may never be seen terminated.
func completion(pod *corev1.Pod, status *corev1.ContainerStatus, interrupted *time.Time) *End {
	ends := [...]*corev1.ContainerStateTerminated{status.LastTerminationState.Terminated, status.State.Terminated}
	own, rules := restartPolicyOf(pod, status.Name)
	switch {
	case IsRestartedByRule(own, rules, 0):
		return nil
	case !IsRestarted(pod.Spec.RestartPolicy, own, rules, 0):
		ends[0] = nil
	}
	for _, t := range ends {
		if t == nil || t.ExitCode != 0 || interrupted != nil && !hasEndedBefore(t, *interrupted) {
			continue
		}
		// The kubelet kills all containers of the pod to restart them: this may be
		// why the container ended.
		if all := restarting(pod); all != nil && !hasEndedBefore(t, all.LastTransitionTime.Time) {
			continue
		}
		return endOf(status.Name, t)
	}
	return nil
}

// failure returns the exit of a container that has not completed, if the kubelet
// does not restart it, or nil.
func failure(pod *corev1.Pod, status *corev1.ContainerStatus, interrupted *time.Time) *End {
	t := status.State.Terminated
	switch {
	case t == nil, restarting(pod) != nil, isRestarted(pod, status.Name, t.ExitCode),
		interrupted != nil && !hasEndedBefore(t, *interrupted):
		return nil
	}
	return endOf(status.Name, t)
}

// isRestarted is [IsRestarted] for a container of the pod.
func isRestarted(pod *corev1.Pod, name string, exitCode int32) bool {
	own, rules := restartPolicyOf(pod, name)
	return IsRestarted(pod.Spec.RestartPolicy, own, rules, exitCode)
}

func restartPolicyOf(pod *corev1.Pod, name string) (own *corev1.ContainerRestartPolicy, rules []corev1.ContainerRestartRule) {
	for i := range pod.Spec.Containers {
		if c := &pod.Spec.Containers[i]; c.Name == name {
			return c.RestartPolicy, c.RestartPolicyRules
		}
	}
	return nil, nil
}

// IsRestarted reports whether the kubelet starts a regular container again after an
// exit with this code (k8s.io/kubernetes/pkg/api/v1/pod, ContainerShouldRestart):
// its own rules, of which the first that matches counts, then its own policy, then
// the pod's. Without a policy of its own its rules do not count.
func IsRestarted(pod corev1.RestartPolicy, own *corev1.ContainerRestartPolicy, rules []corev1.ContainerRestartRule, exitCode int32) bool {
	if IsRestartedByRule(own, rules, exitCode) {
		return true
	}
	policy := pod
	if own != nil {
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

// IsRestartedByRule reports whether the container's own rules demand a restart, of
// this container or of all, after an exit with this code. The first rule that
// matches counts. An action that is newer than this program is no restart.
func IsRestartedByRule(own *corev1.ContainerRestartPolicy, rules []corev1.ContainerRestartRule, exitCode int32) bool {
	if own == nil {
		return false
	}
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
