package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// What the run expects is what the webhook answers, and it is asked where the
// chart's match conditions let a write through.
func TestStatusWritesAreJudgedAsExpected(t *testing.T) {
	for _, w := range statusWrites {
		stored := pod("p", w.pod.tracked, false)
		w.pod.status(stored)
		if w.stopped {
			stop(t, stored)
		}
		update := stored.DeepCopy()
		w.change(update)
		if got := update.Status.Phase; got != w.phase(false) {
			t.Errorf("%s: written as %s, want %s", w.name, got, w.phase(false))
		}
		if got := verdictOn(t, stored, update).Status.Phase; got != w.phase(true) {
			t.Errorf("%s: the verdict is %s, want %s", w.name, got, w.phase(true))
		}
		if asked := essential.IsTracked(stored) && update.Status.Phase == corev1.PodFailed; asked != w.verdict {
			t.Errorf("%s: the webhook is asked: %t, want %t", w.name, asked, w.verdict)
		}
	}
}

func TestVerdictsAreCounted(t *testing.T) {
	for sentence, c := range map[string]struct {
		asked, on bool
		verdicts  float64
		fails     bool
	}{
		"one on each write":           {asked: true, on: true, verdicts: 7},
		"one is missing":              {asked: true, on: true, verdicts: 6, fails: true},
		"none, as it is switched off": {asked: true},
		"switched off, and yet some":  {asked: true, verdicts: 7, fails: true},
		"none on other writes":        {on: true},
		"some on other writes":        {on: true, verdicts: 1, fails: true},
	} {
		if err := (statusWrite{verdict: c.asked}).check(c.on, 7, c.verdicts); (err != nil) != c.fails {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

func TestRatesAndCPU(t *testing.T) {
	w := written{together: 300, seconds: 2, alone: make([]float64, 100), cpuSeconds: 1}
	if w.rate() != 150 || w.cpu() != 2.5 {
		t.Errorf("%v writes a second, %v ms of CPU each", w.rate(), w.cpu())
	}
}
