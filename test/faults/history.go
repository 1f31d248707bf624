package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// tolerance is the longest time between main's last word and its end, and the error
// of the times of words.
const tolerance = time.Second

// history is all that is on record about one pod.
type history struct {
	work
	name       string
	writes     []write // and the pod's state after each of them
	stop       essential.Record
	stopped    bool
	words      []line
	notStarted bool // the kubelet could not start main, which then counts as failed
}

// historiesOf sorts the records by pod.
func historiesOf(r *records) map[types.UID]*history {
	byName := map[string]work{}
	for _, w := range r.works {
		byName[w.name] = w
	}
	pods := map[types.UID]*history{}
	for _, w := range r.writes {
		h := pods[w.pod.UID]
		if h == nil {
			h = &history{work: byName[w.pod.Labels[workLabel]], name: w.pod.Name}
			pods[w.pod.UID] = h
		}
		h.writes = append(h.writes, w)
		if !h.stopped {
			h.stop, h.stopped = essential.StopOf(&w.pod)
		}
		h.notStarted = h.notStarted || slices.ContainsFunc(w.pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.Name == "main" && s.State.Terminated != nil && s.State.Terminated.Reason == "StartError"
		})
	}
	for _, l := range r.lines {
		if h := pods[l.pod]; h != nil {
			h.words = append(h.words, l)
		}
	}
	return pods
}

// when returns when the container wrote the word for the first time.
func (h *history) when(container, word string) (at time.Time, ok bool) {
	for _, l := range h.words {
		if l.container == container && l.word == word {
			return l.at, true
		}
	}
	return time.Time{}, false
}

func (h *history) wrote(container, word string) bool {
	_, ok := h.when(container, word)
	return ok
}

// last returns the container's last word, or nothing.
func (h *history) last(container string) (word string) {
	for _, l := range h.words {
		if l.container == container {
			word = l.word
		}
	}
	return word
}

// anyState reports whether the pod was ever in such a state.
func (h *history) anyState(is func(*corev1.Pod) bool) bool {
	return slices.ContainsFunc(h.writes, func(w write) bool { return is(&w.pod) })
}

func (h *history) deletedBy(by func(write) bool) bool {
	return slices.ContainsFunc(h.writes, func(w write) bool { return w.verb == "delete" && by(w) })
}

func byReaper(w write) bool { return w.by == kube.ReaperUser }

// retried reports whether the kubelet starts a main again that has failed.
func (h *history) retried() bool {
	return h.writes[0].pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
}

// failedForGood reports whether main failed and the kubelet does not try again.
func (h *history) failedForGood() bool {
	word := h.last("main")
	return (word == failed || word == "" && h.notStarted) && !h.retried()
}

// interruption returns when a user began to end the pod, by a deletion or by the
// pod's own deadline. It is in whole seconds, rounded down.
func (h *history) interruption() (start time.Time, ok bool) {
	earliest := func(at time.Time) {
		if !ok || at.Before(start) {
			start, ok = at, true
		}
	}
	deleted := h.deletedBy(byReaper)
	for i := range h.writes {
		pod := &h.writes[i].pod
		if t, grace := pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds; t != nil && grace != nil && !essential.IsTerminal(pod) && !deleted {
			earliest(t.Add(-time.Duration(*grace) * time.Second))
		}
		if deadline, start := pod.Spec.ActiveDeadlineSeconds, pod.Status.StartTime; deadline != nil && start != nil && !essential.IsStopped(pod) {
			earliest(start.Add(time.Duration(*deadline) * time.Second))
		}
	}
	return start, ok
}

func (h *history) interrupted() bool {
	_, ok := h.interruption()
	return ok
}

// deletedByUser reports whether a user deleted the pod before its end.
func (h *history) deletedByUser() bool {
	return h.deletedBy(func(w write) bool { return !byReaper(w) && !essential.IsTerminal(&w.pod) })
}

// phase returns the phase that a tracked pod ended with, or nothing.
func (h *history) phase() (phase corev1.PodPhase) {
	for i := range h.writes {
		if pod := &h.writes[i].pod; essential.IsTracked(pod) && essential.IsTerminal(pod) {
			phase = pod.Status.Phase
		}
	}
	return phase
}

// outcome returns the phase that the pod must end with, by main's own words. It is
// empty where main completed in about the second in which a user began to end the
// pod: the API's times are whole seconds.
func (h *history) outcome() corev1.PodPhase {
	at, did := h.when("main", completed)
	start, interrupted := h.interruption()
	switch {
	case !did, h.anyState(evicted):
		return corev1.PodFailed
	case !interrupted || at.Before(start.Add(-tolerance)):
		return corev1.PodSucceeded
	case at.After(start.Add(time.Second + tolerance)):
		return corev1.PodFailed
	}
	return ""
}

// waited reports whether the scheduler found no room for the pod at first.
func (h *history) waited() bool {
	return h.anyState(func(p *corev1.Pod) bool {
		c := essential.Condition(p, corev1.PodScheduled)
		return c != nil && c.Reason == corev1.PodReasonUnschedulable
	})
}

// evicted reports whether the kubelet ended or rejected the pod for a reason of its
// own. No container counts as completed then.
func evicted(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed && !slices.Contains([]string{"", essential.DeadlineExceeded, api.FailedReason}, pod.Status.Reason)
}

// rejected reports whether the kubelet did not admit the pod, because another one
// still held what it asks for.
func rejected(pod *corev1.Pod) bool {
	reason := pod.Status.Reason
	return evicted(pod) && (strings.HasPrefix(reason, "OutOf") || reason == "NodePorts" || reason == "UnexpectedAdmissionError")
}

// endOf returns the end of the last container in the pod's status.
func endOf(pod *corev1.Pod) (last time.Time) {
	for _, s := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	return last
}

// states are those of the pod's containers, in words.
func states(pod *corev1.Pod) string {
	var all []string
	for _, s := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		state := "waits"
		switch {
		case s.State.Running != nil:
			state = "runs"
		case s.State.Terminated != nil:
			state = fmt.Sprintf("ended with %d", s.State.Terminated.ExitCode)
		}
		all = append(all, s.Name+" "+state)
	}
	return strings.Join(all, ", ")
}

// step is a time in which the reapers' clock was not the machine's.
type step struct {
	from, to time.Time
	ahead    time.Duration // behind, if it is negative
}

// blurred is how long before and after a step's start and end the reapers may act by
// either time.
const blurred = 2 * time.Second

// within reports whether the step was in force all the time.
func (s step) within(from, to time.Time) bool {
	return from.After(s.from.Add(blurred)) && to.Before(s.to.Add(-blurred))
}

// furthest returns how far the reapers' clock was ahead at most.
func furthest(steps []step, from, to time.Time) (ahead time.Duration) {
	for _, s := range steps {
		switch {
		case s.within(from, to):
			return s.ahead
		case !from.After(s.to) && !to.Before(s.from):
			ahead = max(ahead, s.ahead)
		}
	}
	return ahead
}

// dated counts the reaper's stops that were written while its clock was stepped, and
// those of them that have the time of that clock.
func dated(r *records) (during, shown int) {
	for _, w := range r.writes {
		stop, ok := essential.StopOf(&w.pod)
		if !ok || !byReaper(w) || w.verb == "delete" {
			continue
		}
		for _, s := range r.steps {
			if s.within(w.at, w.at) {
				during++
				if off := stop.At.Sub(w.at); (off - s.ahead).Abs() < off.Abs() {
					shown++
				}
			}
		}
	}
	return during, shown
}
