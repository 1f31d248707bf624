package essential

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Tracked reports whether the webhook has accepted the pod's label.
func Tracked(pod *corev1.Pod) bool {
	return pod.Annotations[TrackedAnnotation] != ""
}

// Mirror reports whether the pod is the API's image of a static pod, which
// only the kubelet's own files can stop.
func Mirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

// Terminal reports whether the pod has its last phase.
func Terminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Stopped reports whether the reaper has stopped the pod at least once. That
// decision stands whatever the containers' statuses say later.
func Stopped(pod *corev1.Pod) bool {
	return pod.Annotations[StoppedAnnotation] != ""
}

// Acknowledged reports whether the kubelet has written a status that knows of
// the phase Succeeded. Until then it may still write an older one over it; from
// then on it starts no container and keeps the phase.
func Acknowledged(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.ContainersReady {
			return c.Reason == podCompleted
		}
	}
	return false
}

// podCompleted is the reason that the kubelet gives the condition
// ContainersReady of a succeeded pod (k8s.io/kubernetes/pkg/kubelet/status,
// PodCompleted, which is not part of the API packages).
const podCompleted = "PodCompleted"

// CompletedContainer returns the status of the first essential container that
// has exited with code 0, or nil. It looks at the last state too: under
// restartPolicy Always the kubelet restarts the container within the same
// second, and the state itself may never be seen terminated.
func CompletedContainer(pod *corev1.Pod) *corev1.ContainerStatus {
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		if Completion(status) != nil && isEssential(pod, status.Name) {
			return status
		}
	}
	return nil
}

// Completion returns the container's exit with code 0, from its present state
// or the one before, or nil. The exit code alone decides: the reason is a text
// for people.
func Completion(status *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	for _, t := range []*corev1.ContainerStateTerminated{status.State.Terminated, status.LastTerminationState.Terminated} {
		if t != nil && t.ExitCode == 0 {
			return t
		}
	}
	return nil
}

// Running reports whether any of the pod's containers still runs, native
// sidecars and ephemeral containers included.
func Running(pod *corev1.Pod) bool {
	running := func(s corev1.ContainerStatus) bool { return s.State.Running != nil }
	return slices.ContainsFunc(pod.Status.ContainerStatuses, running) ||
		slices.ContainsFunc(pod.Status.InitContainerStatuses, running) ||
		slices.ContainsFunc(pod.Status.EphemeralContainerStatuses, running)
}

func isEssential(pod *corev1.Pod, name string) bool {
	for tracked := range strings.SplitSeq(pod.Annotations[TrackedAnnotation], TrackedSeparator) {
		if tracked == name {
			return true
		}
	}
	return false
}
