package essential

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
)

// Record is an outcome that the reaper has written down, as an annotation of the
// pod: no later change of the containers' statuses takes it back.
type Record struct {
	At      time.Time       // in whole seconds
	Phase   corev1.PodPhase // PodSucceeded or PodFailed
	Because string          // see [Outcome]
}

// String is the annotation's value: "TIME PHASE: BECAUSE", the time as RFC 3339.
func (r Record) String() string {
	return r.At.UTC().Format(time.RFC3339) + " " + string(r.Phase) + ": " + r.Because
}

// ParseRecord reads what [Record.String] returns. ok is false for other text.
func ParseRecord(text string) (r Record, ok bool) {
	if text == "" {
		return Record{}, false // most pods, and the error would cost memory
	}
	at, rest, _ := strings.Cut(text, " ")
	phase, because, _ := strings.Cut(rest, ": ")
	t, err := time.Parse(time.RFC3339, at)
	r = Record{At: t, Phase: corev1.PodPhase(phase), Because: because}
	return r, err == nil && (r.Phase == corev1.PodSucceeded || r.Phase == corev1.PodFailed)
}

// StopOf returns the record of the pod's stop. ok is false if the reaper has not
// stopped the pod.
func StopOf(pod *corev1.Pod) (r Record, ok bool) {
	return ParseRecord(pod.Annotations[api.StoppedAnnotation])
}

// IsStopped reports whether the reaper has stopped the pod.
func IsStopped(pod *corev1.Pod) bool {
	_, ok := StopOf(pod)
	return ok
}

// DueOf returns the record of the outcome for which the pod is stopped after a
// delay. ok is false if there is none.
func DueOf(pod *corev1.Pod) (r Record, ok bool) {
	if r, ok := ParseRecord(pod.Annotations[api.DueAnnotation]); ok {
		return r, true
	}
	return oldRecord(pod)
}

// recorded returns the record of the pod's stop, or else of its delay.
func recorded(pod *corev1.Pod) (r Record, ok bool) {
	if r, ok := StopOf(pod); ok {
		return r, true
	}
	return DueOf(pod)
}
