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

// Stopped reports whether the reaper has stopped the pod at least once. That
// decision stands whatever the containers' statuses say later.
func Stopped(pod *corev1.Pod) bool {
	return pod.Annotations[StoppedAnnotation] != ""
}

// Acknowledged reports whether the kubelet has written a status that knows of
// the pod's terminal phase. Until then it may still write an older one over it;
// from then on it starts no container and keeps the phase.
func Acknowledged(pod *corev1.Pod) bool {
	c := Condition(pod, corev1.ContainersReady)
	return c != nil && (c.Reason == podCompleted || c.Reason == podFailed)
}

// The reasons that the kubelet gives the condition ContainersReady of a pod of
// terminal phase (k8s.io/kubernetes/pkg/kubelet/status, PodCompleted and
// PodFailed, which are not part of the API packages).
const (
	podCompleted = "PodCompleted"
	podFailed    = "PodFailed"
)

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
