package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// aCatch is all that the breakages do.
func aCatch() []violation {
	return []violation{
		{reaped, "bare-1", "its main completed and it was never stopped"},
		{reaped, "bare-1", "it is left, with the phase Running"},
		{spared, "delayed-2-x", "recorded as Succeeded while main had not completed: main runs"},
		{once, "delayed-2", `main said "completed" 0 times, want 1`},
		{once, "plain-3", `main said "completed" 2 times, want 1`},
		{tracked, "retained-4-x", `namespace faults, label "main": tracked is "", want "main"`},
		{phaseLast, "holding-6-x", "its phase was Succeeded, and main ended with 0, sidecar runs"},
		{phaseTrue, "failing-7-x", `its phase was Succeeded, reason "", and must be Failed: main's last word was "failed"`},
		{noneRejected, "competing-8-x", "it was rejected: OutOfcpu, the node has too little"},
		{leakless, "essential-containers-reaper-x", "200 goroutines, 40 1m0s before"},
		{leakless, "essential-containers-reaper-x", "40 file descriptors, 11 1m0s before"},
		{leakless, "essential-containers-reaper-x", "90 MiB of memory, 30 1m0s before"},
	}
}

func TestMissed(t *testing.T) {
	for sentence, tt := range map[string]struct {
		found []violation
		want  []string
	}{
		"all is found":     {found: aCatch()},
		"nothing is found": {want: wants()},
		"one is not found": {
			found: append(aCatch()[:4:4], aCatch()[5:]...),
			want:  []string{`I3, deletions in place of stops: "main said \"completed\" 2 times" was not found`},
		},
		"one is found as a breach of another invariant": {
			found: append(append(aCatch()[:4:4], violation{reaped, "plain-3", `main said "completed" 2 times, want 1`}), aCatch()[5:]...),
			want:  []string{`I3, deletions in place of stops: "main said \"completed\" 2 times" was not found`},
		},
		"one is found of another kind of work": {
			found: append(aCatch(), violation{spared, "retried-5-x", "delete by the reaper while main had not ended"}),
			want:  []string{"nobody broke that: I2 retried-5-x: delete by the reaper while main had not ended"},
		},
		"one is found of another invariant": {
			found: append(aCatch(), violation{spared, "bare-1", "delete by the reaper while main had not ended"}),
			want:  []string{"nobody broke that: I2 bare-1: delete by the reaper while main had not ended"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, missed(tt.found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// wants is one sentence for each text of a breakage.
func wants() (all []string) {
	for _, b := range breakages {
		for _, text := range b.texts {
			all = append(all, fmt.Sprintf("%s, %s: %q was not found", b.found, b.what, text))
		}
	}
	return all
}

// Every invariant is broken by something, but those about the witnesses and
// about bad bodies, which no reaper can break.
func TestBreakages(t *testing.T) {
	broken := map[invariant]bool{witnessed: true, unshaken: true}
	known := map[string]bool{"essential": true, competing.name: true}
	for _, k := range kinds {
		known[k.name] = true
	}
	for _, b := range breakages {
		broken[b.found] = true
		if !known[b.kind] {
			t.Errorf("there are no works of kind %q", b.kind)
		}
	}
	for _, i := range invariants {
		if !broken[i.invariant] {
			t.Errorf("nothing breaks %s", i.invariant)
		}
	}
}
