package essential

import (
	"slices"

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

// Condition returns the pod's condition of this type, or nil.
func Condition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == kind {
			return c
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
