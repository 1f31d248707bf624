package essential

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
)

// Versions before 0.2 recorded delays and stops as a pod condition, and stopped a
// pod by writing its phase. This file reads these records on pods that outlive
// the upgrade.

// OldStoppedCondition is the type of the condition.
const OldStoppedCondition = api.AnnotationPrefix + "Stopped"

// oldRecord returns what the old condition records.
func oldRecord(pod *corev1.Pod) (r Record, ok bool) {
	c := Condition(pod, OldStoppedCondition)
	if c == nil {
		return Record{}, false
	}
	r = Record{At: c.LastTransitionTime.Time, Phase: corev1.PodSucceeded, Because: c.Message}
	if c.Reason == api.FailedReason {
		r.Phase = corev1.PodFailed
	}
	return r, true
}

// OldStop returns when an old version stopped the pod, in which case containers
// may still run although its phase is terminal. ok is false if none did.
func OldStop(pod *corev1.Pod) (at time.Time, ok bool) {
	at, err := time.Parse(time.RFC3339Nano, pod.Annotations[api.StoppedAnnotation])
	return at, err == nil
}
