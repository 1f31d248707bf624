package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// story is all that the witnesses know about one pod.
type story struct {
	work
	name      string
	writes    []write // and the pod's state after each of them
	stop      essential.Record
	stopped   bool
	words     []line
	stillborn bool // the kubelet could not start main, which then counts as failed
}

// when returns when the container said the word for the first time.
func (s *story) when(container, word string) (at time.Time, ok bool) {
	for _, l := range s.words {
		if l.container == container && l.word == word {
			return l.at, true
		}
	}
	return time.Time{}, false
}

func (s *story) said(container, word string) bool {
	_, ok := s.when(container, word)
	return ok
}

func (s *story) saidBefore(container, word string, before time.Time) bool {
	at, ok := s.when(container, word)
	return ok && !at.After(before)
}

// last returns the container's last word, or nothing.
func (s *story) last(container string) (word string) {
	for _, l := range s.words {
		if l.container == container {
			word = l.word
		}
	}
	return word
}

// retried reports whether the kubelet starts a main again that has failed.
func (s *story) retried() bool {
	return s.writes[0].pod.Spec.RestartPolicy == corev1.RestartPolicyOnFailure
}

// failedForGood reports whether main failed and the kubelet does not try again.
func (s *story) failedForGood() bool {
	word := s.last("main")
	return (word == failed || word == "" && s.stillborn) && !s.retried()
}

// interruption returns when a user began to end the pod: by a deletion, or by
// the pod's own deadline. It is in whole seconds, rounded down.
func (s *story) interruption() (begin time.Time, ok bool) {
	earliest := func(at time.Time) {
		if !ok || at.Before(begin) {
			begin, ok = at, true
		}
	}
	byReaper := slices.ContainsFunc(s.writes, func(w write) bool { return w.verb == "delete" && w.by == kube.ReaperUser })
	for i := range s.writes {
		pod := &s.writes[i].pod
		if t, grace := pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds; t != nil && grace != nil && !essential.IsTerminal(pod) && !byReaper {
			earliest(t.Add(-time.Duration(*grace) * time.Second))
		}
		if deadline, start := pod.Spec.ActiveDeadlineSeconds, pod.Status.StartTime; deadline != nil && start != nil && !essential.IsStopped(pod) {
			earliest(start.Add(time.Duration(*deadline) * time.Second))
		}
	}
	return begin, ok
}

// end returns the phase that a tracked pod ended with, and whether a user began to
// end it.
func (s *story) end() (phase corev1.PodPhase, interrupted bool) {
	for i := range s.writes {
		if pod := &s.writes[i].pod; essential.IsTracked(pod) && essential.IsTerminal(pod) {
			phase = pod.Status.Phase
		}
	}
	_, interrupted = s.interruption()
	return phase, interrupted
}

// deleted reports whether a user deleted the pod before its end.
func (s *story) deleted() bool {
	return slices.ContainsFunc(s.writes, func(w write) bool {
		return w.verb == "delete" && w.by != kube.ReaperUser && !essential.IsTerminal(&w.pod)
	})
}

// blink is the longest time between main's last word and its end, and the error
// of the times of words.
const blink = 500 * time.Millisecond

// outcome returns the phase that the pod must end with, by main's own words. It
// is empty where main completed in about the second in which a user began to end
// the pod: the API's times are whole seconds.
func (s *story) outcome() corev1.PodPhase {
	at, did := s.when("main", completed)
	begin, interrupted := s.interruption()
	switch {
	case !did, slices.ContainsFunc(s.writes, func(w write) bool { return evicted(&w.pod) }):
		return corev1.PodFailed
	case !interrupted || at.Before(begin.Add(-blink)):
		return corev1.PodSucceeded
	case at.After(begin.Add(time.Second + blink)):
		return corev1.PodFailed
	}
	return ""
}

// evicted reports whether the kubelet ended or rejected the pod for a reason of
// its own. Nothing counts as completed then.
func evicted(pod *corev1.Pod) bool {
	switch pod.Status.Reason {
	case "", essential.DeadlineExceeded, api.FailedReason:
		return false
	}
	return pod.Status.Phase == corev1.PodFailed
}

// rejected reports whether the kubelet did not admit the pod, because another one
// still had what it asks for.
func rejected(pod *corev1.Pod) bool {
	reason := pod.Status.Reason
	return evicted(pod) && (strings.HasPrefix(reason, "OutOf") || reason == "NodePorts" || reason == "UnexpectedAdmissionError")
}

// waited reports whether the scheduler found no room for the pod at first.
func (s *story) waited() bool {
	return slices.ContainsFunc(s.writes, func(w write) bool {
		c := essential.Condition(&w.pod, corev1.PodScheduled)
		return c != nil && c.Reason == corev1.PodReasonUnschedulable
	})
}

// stillborn reports whether main was never started: the kubelet that is stopped
// breaks off what it has asked of the container runtime, and such a container has
// failed.
func stillborn(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == "main" && s.State.Terminated != nil && s.State.Terminated.Reason == "StartError"
	})
}

// endOf is the end of the last container that the API knows.
func endOf(pod *corev1.Pod) (last time.Time) {
	for _, s := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	return last
}

func (s *story) deleters() string {
	var names []string
	for _, w := range s.writes {
		if w.verb == "delete" && !slices.Contains(names, w.by) {
			names = append(names, w.by)
		}
	}
	if len(names) == 0 {
		return "the audit log does not know by whom"
	}
	return strings.Join(names, ", ")
}

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
