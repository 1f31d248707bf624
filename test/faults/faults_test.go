package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/webhook"
)

// The same seed draws the same works and the same order of faults.
func TestSeed(t *testing.T) {
	draw := func(seed uint64) (drawn []any) {
		r := rand.New(rand.NewPCG(seed, 1))
		next, nextFault := shuffled(r, weighed()), shuffled(rand.New(rand.NewPCG(seed, 2)), faults)
		for n := range weighed() {
			w, object := newWork(r, next(), n, nil)
			drawn = append(drawn, w, object, nextFault().name)
		}
		return drawn
	}
	all := cmp.AllowUnexported(work{})
	if diff := cmp.Diff(draw(1), draw(1), all); diff != "" {
		t.Errorf("the same seed draws something else:\n%s", diff)
	}
	if cmp.Equal(draw(1), draw(2), all) {
		t.Error("another seed draws the same")
	}
	seen := map[string]int{}
	for _, drawn := range draw(1) {
		switch d := drawn.(type) {
		case work:
			seen[kindOf(d.name)]++
		case string:
			seen[d]++
		}
	}
	for _, k := range kinds {
		if seen[k.name] != k.weight {
			t.Errorf("a deck has %d works of the kind %s, want %d", seen[k.name], k.name, k.weight)
		}
	}
	for _, f := range faults {
		if seen[f.name] == 0 {
			t.Errorf("%s does not happen", f.name)
		}
	}
}

func TestNamed(t *testing.T) {
	if all, err := named(""); err != nil || len(all) != len(faults) {
		t.Errorf("no name chooses %d faults, error %v", len(all), err)
	}
	two, err := named("etcd-slow,leader-killed")
	if err != nil || len(two) != 2 || two[0].name != "etcd-slow" || two[1].name != "leader-killed" {
		t.Errorf("got %v, %v", two, err)
	}
	if _, err := named("etdc-slow"); err == nil || !strings.Contains(err.Error(), `no fault "etdc-slow"; the faults are leader-killed, `) {
		t.Errorf("got %v", err)
	}
}

// The good review gets as far as it can, and so do the bad bodies that are made of it.
func TestBadBodies(t *testing.T) {
	handlers := webhook.NewHandlers(prometheus.NewRegistry(), essential.DefaultPolicies())
	ask := func(path string, body []byte) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handlers[path].ServeHTTP(w, r)
		return w
	}
	good := goodReview(webhook.PodsPath)
	for _, path := range []string{webhook.PodsPath, webhook.StatusesPath} {
		if w := ask(path, goodReview(path)); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"patch":`) {
			t.Fatalf("the good review of %s is answered with %d: %s", path, w.Code, w.Body)
		}
	}
	codes := map[int]int{}
	r := rand.New(rand.NewPCG(1, 4))
	for range 2000 {
		codes[ask(webhook.PodsPath, badBody(r, good)).Code]++
	}
	if codes[http.StatusOK] == 0 || codes[http.StatusRequestEntityTooLarge] == 0 || codes[http.StatusOK] > codes[http.StatusBadRequest] {
		t.Errorf("bad bodies are answered with %v", codes)
	}
	for name, corrupt := range corruptions {
		changed := 0
		for range 50 {
			if !bytes.Equal(corrupt(r, good), good) {
				changed++
			}
		}
		if changed < 40 || !bytes.Equal(good, goodReview(webhook.PodsPath)) {
			t.Errorf("%s: %d of 50 bodies are bad, or the good review has changed", name, changed)
		}
	}
}

func TestMissed(t *testing.T) {
	// All that the breakages do, as the judge finds it.
	var all []violation
	var texts []string
	for _, b := range breakages {
		kind := b.kind
		if kind == "" {
			kind = competing.name
		}
		for _, text := range b.texts {
			all = append(all, violation{b.found, kind + "-1", "before " + text + " after"})
			texts = append(texts, fmt.Sprintf("%s, %s: %q was not found", b.found, b.what, text))
		}
	}
	for sentence, tt := range map[string]struct {
		found, more []violation
		want        []string
	}{
		"all is found":                         {found: all},
		"nothing is found":                     {want: texts},
		"one is not found":                     {found: all[1:], want: texts[:1]},
		"one is found of another invariant":    {found: all, more: []violation{{spared, "bare-1", "x"}}, want: []string{"not broken: I2 bare-1: x"}},
		"one is found of another kind":         {found: all, more: []violation{{spared, "retried-5", "x"}}, want: []string{"not broken: I2 retried-5: x"}},
		"one is a breach of another invariant": {found: all[1:], more: []violation{{spared, "bare-1", all[0].what}}, want: []string{texts[0], "not broken: I2 bare-1: " + all[0].what}},
	} {
		if diff := cmp.Diff(tt.want, missed(append(tt.found[:len(tt.found):len(tt.found)], tt.more...))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", sentence, diff)
		}
	}
}

// Every invariant is broken by something, except those about the evidence and about
// bad bodies, which no reaper can break. Each breakage has its works.
func TestBreakages(t *testing.T) {
	broken, drawn := map[invariant]bool{observed: true, stable: true}, map[string]bool{"essential": true, competing.name: true, "": true}
	for _, k := range brokenKinds() {
		drawn[k.name] = true
	}
	for _, b := range breakages {
		broken[b.found] = true
		if !drawn[b.kind] {
			t.Errorf("the broken run has no works of the kind %q", b.kind)
		}
	}
	for _, i := range invariants {
		if !broken[i.invariant] {
			t.Errorf("nothing breaks %s", i.invariant)
		}
	}
}

// A fault that could not be injected fails the run by its name, unless the time was over.
func TestTry(t *testing.T) {
	for sentence, tt := range map[string]struct {
		failures, attempts int
		over               bool // the time, after the first attempt
		want               string
	}{
		"the first attempt succeeds": {failures: 0, attempts: 1},
		"the last attempt succeeds":  {failures: 2, attempts: 3},
		"no attempt succeeds":        {failures: 3, attempts: 3, want: "x could not be injected in 3 attempts: no reaper runs"},
		"the time is over":           {failures: 3, attempts: 1, over: true},
	} {
		run, tries := newTrial(&kube.Cluster{}, settings{}, io.Discard), 0
		ctx, cancel := context.WithCancel(t.Context())
		run.try(ctx, fault{"x", "", func(context.Context, *trial, *rand.Rand) error {
			if tries++; tt.over {
				cancel()
			}
			if tries <= tt.failures {
				return errors.New("no reaper runs")
			}
			return nil
		}}, nil, func() {})
		cancel()
		if got := run.notInjected; tries != tt.attempts || (got == nil) != (tt.want == "") || got != nil && got.Error() != tt.want || run.injected["x"] != min(1, max(0, tries-tt.failures)) {
			t.Errorf("%s: %d attempts, error %v, injected %v", sentence, tries, got, run.injected)
		}
	}
}
