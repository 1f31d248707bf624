package essential

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// DeadlineExceeded is the status reason of a pod that the kubelet has ended at
// its deadline (k8s.io/kubernetes/pkg/kubelet, activeDeadlineHandler).
const DeadlineExceeded = "DeadlineExceeded"

// interruption returns when something outside the pod's containers began to end
// it: the earliest of its deletion, a disruption and its own deadline. That may
// be in the future. It returns nil if there is no such thing, and the zero time if
// the start is unknown and so may precede the end of every container.
//
// All of these times are whole seconds, rounded down, as are the containers'
// ends. So a container that ended in an earlier second ended before.
func interruption(pod *corev1.Pod) (begin *time.Time) {
	earliest := func(t time.Time) {
		if begin == nil || t.Before(*begin) {
			begin = &t
		}
	}
	if t := pod.DeletionTimestamp; t != nil {
		var grace int64
		if s := pod.DeletionGracePeriodSeconds; s != nil {
			grace = *s
		}
		earliest(t.Add(-time.Duration(grace) * time.Second))
	}
	// After a stop, the deadline is the reaper's: its record decides then.
	if s, start := pod.Spec.ActiveDeadlineSeconds, pod.Status.StartTime; s != nil && start != nil {
		earliest(start.Add(time.Duration(*s) * time.Second))
	}
	c := Condition(pod, corev1.DisruptionTarget)
	disrupted := c != nil && c.Status == corev1.ConditionTrue
	byKubelet := disrupted && c.Reason == corev1.PodReasonTerminationByKubelet
	if disrupted && !byKubelet {
		earliest(c.LastTransitionTime.Time)
	}
	if byKubelet || pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" && pod.Status.Reason != DeadlineExceeded {
		// Node pressure, shutdown, preemption by the kubelet. The kubelet adds the
		// condition when all containers have ended, and dates it then
		// (k8s.io/kubernetes/pkg/kubelet/status, mergePodStatus).
		earliest(time.Time{})
	}
	return begin
}

// hasEndedBefore reports whether the container ended before this time. An end at an
// unknown time did not.
func hasEndedBefore(t *corev1.ContainerStateTerminated, begin time.Time) bool {
	return !t.FinishedAt.IsZero() && t.FinishedAt.Time.Before(begin)
}
