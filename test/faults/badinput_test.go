package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/webhook"
)

// ask has the real handler answer.
func ask(handler http.Handler, body []byte) (code int, answer string) {
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	text, _ := io.ReadAll(w.Body)
	return w.Code, string(text)
}

// What is spoilt is a review that passes, so that the bad bodies get as far as
// they can.
func TestBadBodies(t *testing.T) {
	handlers := webhook.NewHandlers(prometheus.NewRegistry(), essential.DefaultPolicies())
	good := goodReview(webhook.PodsPath)
	for _, path := range []string{webhook.PodsPath, webhook.StatusesPath} {
		if code, text := ask(handlers[path], goodReview(path)); code != http.StatusOK || !strings.Contains(text, `"patch":`) {
			t.Fatalf("the good review of %s is answered with %d: %s", path, code, text)
		}
	}
	codes := map[int]int{}
	r := rand.New(rand.NewPCG(1, 4))
	for range 2000 {
		code, _ := ask(handlers[webhook.PodsPath], badBody(r, good))
		codes[code]++
	}
	// Some are harmless; those that are not are of several sorts.
	for _, code := range []int{http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge} {
		if codes[code] == 0 {
			t.Errorf("no body was answered with %d: %v", code, codes)
		}
	}
	if codes[http.StatusOK] > codes[http.StatusBadRequest] {
		t.Errorf("most bad bodies are good: %v", codes)
	}
}

func TestSpoilers(t *testing.T) {
	good := goodReview(webhook.PodsPath)
	for _, s := range spoilers {
		draw := func(seed uint64) (all [][]byte) {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 50 {
				all = append(all, s.spoil(r, good))
			}
			return all
		}
		first, again, spoilt := draw(1), draw(1), 0
		for i := range first {
			if !bytes.Equal(first[i], again[i]) {
				t.Errorf("%s: the same seed gives something else", s.name)
			}
			if !bytes.Equal(first[i], good) {
				spoilt++
			}
		}
		if spoilt < 40 {
			t.Errorf("%s: only %d of 50 bodies are spoilt", s.name, spoilt)
		}
	}
	if !bytes.Equal(good, goodReview(webhook.PodsPath)) {
		t.Error("the good review has been spoilt too")
	}
}

func TestExitsOf(t *testing.T) {
	ended := func(id string, code int32, reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: id, ExitCode: code, Reason: reason}}
	}
	pod := aPod("reaper-1", "u1")
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: ended("b", 2, "Error"), LastTerminationState: ended("a", 137, "OOMKilled")}}
	found := exitsOf(&pod)
	if len(found) != 2 || found["a"] != (exit{pod.Name, 137, "OOMKilled"}) || found["b"] != (exit{pod.Name, 2, "Error"}) {
		t.Errorf("got %v", found)
	}
}
