package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestStoredPodsAreCopied(t *testing.T) {
	p := pod("burst-0", true, true)
	done(p)
	p.UID, p.CreationTimestamp = "first", metav1.Unix(0, 0)
	s := &stored{envelope: runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}}, pod: *p}

	value, err := s.named("burst-7").encode()
	if err != nil {
		t.Fatal(err)
	}
	c, err := decodeStored(value)
	if err != nil {
		t.Fatal(err)
	}
	if c.envelope.Kind != "Pod" || c.envelope.APIVersion != "v1" {
		t.Errorf("the envelope says %s %s", c.envelope.APIVersion, c.envelope.Kind)
	}
	if c.pod.UID == p.UID || c.pod.UID == "" || c.pod.CreationTimestamp.Equal(&p.CreationTimestamp) {
		t.Errorf("UID %s, created %s", c.pod.UID, c.pod.CreationTimestamp)
	}
	// What is left is what the API server would have been asked for.
	want := pod("burst-7", true, true)
	want.Status, want.UID, want.CreationTimestamp = p.Status, c.pod.UID, c.pod.CreationTimestamp
	if diff := cmp.Diff(encoded(t, want), encoded(t, &c.pod)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p.Name != "burst-0" || s.pod.OwnerReferences[0].Name != "burst-0" {
		t.Error("the original has changed")
	}
}

func encoded(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestPodsWithoutAnOwnerStayWithout(t *testing.T) {
	s := &stored{pod: *pod("burst-0", true, false)}
	if c := s.named("burst-1"); len(c.pod.OwnerReferences) > 0 {
		t.Errorf("owners %v", c.pod.OwnerReferences)
	}
}

func TestNothingElseIsTakenForAStoredPod(t *testing.T) {
	for sentence, value := range map[string]string{"nothing": "", "JSON": `{"kind":"Pod"}`, "no envelope": "k8s\x00pod"} {
		if s, err := decodeStored([]byte(value)); err == nil {
			t.Errorf("%s: %v", sentence, s)
		}
	}
}
