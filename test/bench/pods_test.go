package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/webhook"
)

// What the statuses mean to the reaper is judged by the package that it asks.
func TestStatusesMeanWhatAKubeletsDo(t *testing.T) {
	p := pod("p", true, true)
	outcome := func() corev1.PodPhase { return essential.OutcomeOf(p, essential.DefaultPolicies()).Phase }
	running(p)
	if !essential.IsTracked(p) || !essential.HasRunningContainers(p) || outcome() != "" || isCompleted(p) {
		t.Errorf("running: outcome %q, completed %t", outcome(), isCompleted(p))
	}
	completed(p)
	if !isCompleted(p) || outcome() != corev1.PodSucceeded || !essential.HasRunningContainers(p) || essential.HasEndedForGood(p) || essential.IsStopped(p) {
		t.Errorf("completed: outcome %q, the sidecar runs: %t", outcome(), essential.HasRunningContainers(p))
	}
	stop(t, p)
	if !essential.IsStopped(p) || outcome() != corev1.PodSucceeded || essential.IsTerminal(p) {
		t.Errorf("stopped %t, outcome %q, phase %s", essential.IsStopped(p), outcome(), p.Status.Phase)
	}
	ended(p)
	if essential.HasRunningContainers(p) || p.Status.Phase != corev1.PodFailed || p.Status.Reason != essential.DeadlineExceeded || outcome() != corev1.PodSucceeded {
		t.Errorf("ended: phase %s, reason %s, outcome %q, still runs: %t", p.Status.Phase, p.Status.Reason, outcome(), essential.HasRunningContainers(p))
	}
}

// stop applies the stop of the bare loop.
func stop(t *testing.T, p *corev1.Pod) {
	t.Helper()
	patch, err := stopPatch(p, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(patch, p); err != nil { // it has no null, so this is what a merge does
		t.Fatal(err)
	}
}

// A burst does not wait for the verdict: its pods end with what that would write.
func TestDecidedIsTheVerdictOnEnded(t *testing.T) {
	stored := pod("p", true, true)
	done(stored)
	stop(t, stored)
	update, want := stored.DeepCopy(), stored.DeepCopy()
	ended(update)
	decided(want)
	for i := range want.Status.Conditions { // dated by the clock
		want.Status.Conditions[i].LastTransitionTime = update.Status.Conditions[i].LastTransitionTime
	}
	want.Status.ContainerStatuses[1].State.Terminated.FinishedAt = update.Status.ContainerStatuses[1].State.Terminated.FinishedAt

	if diff := cmp.Diff(encoded(t, want), encoded(t, verdictOn(t, stored, update))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// verdictOn is the stored pod after this update of its status, as the webhook
// leaves it.
func verdictOn(t *testing.T, stored, update *corev1.Pod) *corev1.Pod {
	t.Helper()
	raw := map[*corev1.Pod][]byte{}
	for _, p := range []*corev1.Pod{stored, update} {
		var err error
		if raw[p], err = json.Marshal(p); err != nil {
			t.Fatal(err)
		}
	}
	body, err := json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       "8b1f0f5e-5a5e-4c0f-9f39-0a6d0a3f3a11",
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: namespace, Name: stored.Name, SubResource: "status", Operation: admissionv1.Update,
			Object: runtime.RawExtension{Raw: raw[update]}, OldObject: runtime.RawExtension{Raw: raw[stored]},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := admissionServer()
	defer server.Close()
	answer, err := post(t.Context(), server.Client(), server.URL+webhook.StatusesPath, body)
	if err != nil {
		t.Fatal(err)
	}
	return patched(t, raw[update], answer)
}

func TestOtherPodsAreNotTracked(t *testing.T) {
	p := pod("p", false, false)
	if _, labelled := p.Labels[api.Label]; labelled || essential.IsTracked(p) || len(p.OwnerReferences) > 0 {
		t.Errorf("labels %v, annotations %v, owners %v", p.Labels, p.Annotations, p.OwnerReferences)
	}
}

func TestTheNodeNotesTheFirstOfEach(t *testing.T) {
	end := func(context.Context, *corev1.Pod) error { return nil }
	n := &node{end: end, seen: map[string]*times{}, changed: make(chan struct{}, 1), stopped: make(chan *corev1.Pod, 10)}
	at := func(second int) time.Time { return time.Date(2030, 1, 2, 3, 4, second, 0, time.UTC) }
	p := pod("p", true, false)
	running(p)
	n.note(watch.Added, p, at(0))
	completed(p)
	n.note(watch.Modified, p, at(1))
	n.note(watch.Modified, p, at(2))
	stop(t, p)
	n.note(watch.Modified, p, at(3))
	decided(p)
	n.note(watch.Modified, p, at(4))
	n.note(watch.Deleted, p, at(5))
	if got, want := *n.all()["p"], (times{completed: at(1), stopped: at(3), gone: at(5)}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(n.stopped) != 1 {
		t.Errorf("one stopped pod is ended %d times", len(n.stopped))
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
