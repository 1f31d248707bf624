package main

import (
	"fmt"
	"slices"
	"strings"
)

// breakage is what the broken reaper, or the broken admission, does to works of one
// kind, and what the judge has to find.
type breakage struct {
	kind  string // of work; of the processes, "essential"; "" for the kinds of other breakages
	what  string
	found invariant
	texts []string // each in a violation
	also  []invariant
}

// breakages are all of them: at least one for every invariant. The judge must find all
// other kinds in order. Of the kind "holding", one pod takes what the next one or a
// competing one needs. A delayed pod whose main ends first is never stopped.
var breakages = []breakage{
	{"bare", "stops that the reaper believes to be done and that were never sent", reaped, []string{"its main completed and it was never stopped", "it is left"}, nil},
	{"delayed", "stops while main runs", spared, []string{"recorded as Succeeded while main had not completed"}, []invariant{reaped, ranOnce, phaseTrue}},
	{"plain", "deletions in place of stops", ranOnce, []string{`main wrote "completed" 2 times`}, []invariant{reaped, spared, phaseTrue}},
	{"retained", "pods admitted untracked", tracked, []string{`tracked is "", want "main"`}, []invariant{reaped, ranOnce}},
	{"essential", "a goroutine, a file and 1 MiB for every stopped pod", leakless, []string{"goroutines", "file descriptors", "MiB of memory"}, nil},
	{"holding", "terminal phases in place of stops", phaseLast, []string{"its phase was Succeeded, and main ended with 0, sidecar runs"}, []invariant{reaped, spared, ranOnce, noneRejected}},
	{"failing", "failures recorded as completions", phaseTrue, []string{`must be Failed: main's last word was "failed"`}, []invariant{reaped, spared, ranOnce}},
	{"", "what pods with a terminal phase still hold", noneRejected, []string{"it was rejected: "}, nil},
	{competing.name, "what pods with a terminal phase still hold", noneRejected, nil, []invariant{ranOnce}},
}

// missed compares what the judge found with what was broken, and returns the
// differences.
func missed(found []violation) (differences []string) {
	for _, b := range breakages {
		for _, text := range b.texts {
			if !slices.ContainsFunc(found, func(v violation) bool {
				return v.invariant == b.found && (b.kind == "" || kindOf(v.about) == b.kind) && strings.Contains(v.what, text)
			}) {
				differences = append(differences, fmt.Sprintf("%s, %s: %q was not found", b.found, b.what, text))
			}
		}
	}
	for _, v := range found {
		if !slices.ContainsFunc(breakages, func(b breakage) bool {
			return kindOf(v.about) == b.kind && (v.invariant == b.found || slices.Contains(b.also, v.invariant))
		}) {
			differences = append(differences, "not broken: "+v.String())
		}
	}
	return differences
}

// brokenKinds are the kinds of works that the breakages are about, each once, and
// holding three times: only some of its pods are in the way of a competing one.
// The run creates some 35 works, so that each kind comes several times.
func brokenKinds() []kind {
	broken := slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !isBroken(k.name) })
	return append(broken, holding, holding)
}

// isBroken reports whether something is broken for works of this name.
func isBroken(work string) bool {
	return slices.ContainsFunc(breakages, func(b breakage) bool { return b.kind == kindOf(work) })
}
