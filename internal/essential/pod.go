package essential

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
)

// IsTracked reports whether the webhook has accepted the pod's label.
func IsTracked(pod *corev1.Pod) bool {
	return pod.Annotations[api.TrackedAnnotation] != ""
}

// IsMirror reports whether the pod is the API's image of a static pod, which
// only the kubelet's own files can stop.
func IsMirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

// IsTerminal reports whether the pod has its last phase.
func IsTerminal(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Condition returns the pod's condition of this type, or nil.
func Condition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == kind {
			return c
		}
	}
	return nil
}

// HasRunningContainers reports whether any of the pod's containers still runs, native
// sidecars and ephemeral containers included.
func HasRunningContainers(pod *corev1.Pod) bool {
	running := func(s corev1.ContainerStatus) bool { return s.State.Running != nil }
	return slices.ContainsFunc(pod.Status.ContainerStatuses, running) ||
		slices.ContainsFunc(pod.Status.InitContainerStatuses, running) ||
		slices.ContainsFunc(pod.Status.EphemeralContainerStatuses, running)
}
