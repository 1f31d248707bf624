package main

import (
	"encoding/json"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// What the statuses mean to the reaper is judged by the package that it asks.
func TestStatusesMeanWhatAKubeletsDo(t *testing.T) {
	p := pod("p", true, true)
	outcome := func() corev1.PodPhase { return essential.OutcomeOf(p, essential.DefaultPolicies()).Phase }
	running(p)
	if !essential.Tracked(p) || !essential.Running(p) || outcome() != "" || isCompleted(p) {
		t.Errorf("running: outcome %q, completed %t", outcome(), isCompleted(p))
	}
	completed(p)
	if !isCompleted(p) || outcome() != corev1.PodSucceeded || !essential.Running(p) || essential.EndsByItself(p) || isStopped(p) {
		t.Errorf("completed: outcome %q, the sidecar runs: %t", outcome(), essential.Running(p))
	}
	p.Annotations[essential.StoppedAnnotation], p.Status.Phase = "2030-01-02T03:04:05Z", corev1.PodSucceeded
	if !isStopped(p) || essential.Acknowledged(p) {
		t.Errorf("stopped: %t, acknowledged %t", isStopped(p), essential.Acknowledged(p))
	}
	acknowledged(p)
	if !essential.Acknowledged(p) || essential.Running(p) {
		t.Errorf("acknowledged: %t, still runs: %t", essential.Acknowledged(p), essential.Running(p))
	}
}

func TestOtherPodsAreNotTracked(t *testing.T) {
	p := pod("p", false, false)
	if _, labelled := p.Labels[essential.Label]; labelled || essential.Tracked(p) || len(p.OwnerReferences) > 0 {
		t.Errorf("labels %v, annotations %v, owners %v", p.Labels, p.Annotations, p.OwnerReferences)
	}
}

func TestTheNodeNotesTheFirstOfEach(t *testing.T) {
	n := &node{acknowledges: true, seen: map[string]*times{}, changed: make(chan struct{}, 1), acks: make(chan *corev1.Pod, 10)}
	at := func(second int) time.Time { return time.Date(2030, 1, 2, 3, 4, second, 0, time.UTC) }
	p := pod("p", true, false)
	running(p)
	n.note(watch.Added, p, at(0))
	completed(p)
	n.note(watch.Modified, p, at(1))
	n.note(watch.Modified, p, at(2))
	p.Annotations[essential.StoppedAnnotation], p.Status.Phase = "2030-01-02T03:04:05Z", corev1.PodSucceeded
	n.note(watch.Modified, p, at(3))
	n.note(watch.Modified, p, at(4))
	n.note(watch.Deleted, p, at(5))
	if got, want := *n.all()["p"], (times{completed: at(1), stopped: at(3), gone: at(5)}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(n.acks) != 1 {
		t.Errorf("%d acknowledgements of one stop", len(n.acks))
	}
	other := &times{stopped: at(7), gone: at(13)}
	if stops, reaped := rates(map[string]*times{"p": n.all()["p"], "q": other}); stops != 0.5 || reaped != 0.2 {
		t.Errorf("%v stops and %v reaped a second, want 0.5 and 0.2", stops, reaped)
	}
}

func TestAReviewHasItsSize(t *testing.T) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		body, err := reviewOf(size)
		if err != nil {
			t.Fatal(err)
		}
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(body, &review); err != nil {
			t.Fatal(err)
		}
		if got := len(review.Request.Object.Raw); got < size || got > size+size/10 {
			t.Errorf("a pod of %d bytes, want %d", got, size)
		}
	}
}
