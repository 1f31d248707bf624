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

	value, err := encodeStored(copyNamed(p, "burst-7"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := decodeStored(value)
	if err != nil {
		t.Fatal(err)
	}
	if c.UID == p.UID || c.UID == "" || c.CreationTimestamp.Equal(&p.CreationTimestamp) {
		t.Errorf("UID %s, created %s", c.UID, c.CreationTimestamp)
	}
	// What is left is what the API server would have been asked for.
	want := pod("burst-7", true, true)
	want.Status, want.UID, want.CreationTimestamp = p.Status, c.UID, c.CreationTimestamp
	if diff := cmp.Diff(encoded(t, want), encoded(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if p.Name != "burst-0" || p.OwnerReferences[0].Name != "burst-0" {
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
	if c := copyNamed(pod("burst-0", true, false), "burst-1"); len(c.OwnerReferences) > 0 {
		t.Errorf("owners %v", c.OwnerReferences)
	}
}

func TestNothingElseIsTakenForAStoredPod(t *testing.T) {
	for sentence, value := range map[string]string{"nothing": "", "JSON": `{"kind":"Pod"}`, "no envelope": "k8s\x00pod", "a Job": otherStored(t, "batch/v1", "Job")} {
		if s, err := decodeStored([]byte(value)); err == nil {
			t.Errorf("%s: %v", sentence, s)
		}
	}
}

func otherStored(t *testing.T, version, kind string) string {
	t.Helper()
	value, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: version, Kind: kind}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(storedMark) + string(value)
}
