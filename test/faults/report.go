package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/test/kube"
)

// report says what was done, what was seen, and what is wrong.
func (t *trial) report(r records, violations []violation) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\nFaults, seed %d, %v minutes, quiet %.0f s later\n", t.seed, t.minutes, t.quiet.Seconds())
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, f := range t.faults {
		times, failures := 0, 0
		for _, i := range t.events {
			if i.name == f.name && i.err == nil {
				times++
			} else if i.name == f.name {
				failures++
			}
		}
		note := ""
		if failures > 0 {
			note = fmt.Sprintf(" (%d more could not be injected)", failures)
		}
		fmt.Fprintf(table, "  %d\t%s\t%s%s\n", times, f.name, f.what, note)
	}
	table.Flush()
	fmt.Fprint(&out, "\nWhat there was\n")
	for _, f := range t.facts(r) {
		fmt.Fprintf(table, "  %d\t%s\n", f.count, f.what)
	}
	table.Flush()
	fmt.Fprint(&out, "\nProcesses of the two programs: first and last look\n")
	fmt.Fprint(table, "  pod\tseen for\tgoroutines\tfile descriptors\tMiB\n")
	for _, p := range processesOf(r.samples) {
		if p.judged() {
			fmt.Fprintf(table, "  %s\t%s\t%.0f → %.0f\t%.0f → %.0f\t%.0f → %.0f\n", p.first.pod, p.last.at.Sub(p.first.at).Round(time.Second),
				p.first.goroutines, p.last.goroutines, p.first.fds, p.last.fds, p.first.memory/(1<<20), p.last.memory/(1<<20))
		}
	}
	table.Flush()
	fmt.Fprint(&out, "\nInvariants\n")
	for _, i := range invariants {
		verdict := "ok"
		if n := count(violations, i.invariant); n > 0 {
			verdict = fmt.Sprintf("%d VIOLATIONS", n)
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", i.invariant, verdict, i.text)
	}
	table.Flush()
	for _, v := range violations {
		fmt.Fprintf(&out, "  %s\n", v)
	}
	fmt.Fprintf(&out, "\nEvidence: %s. The same works and the same order of faults again: %s\n", t.evidence, t.replay())
	return out.String()
}

func count(violations []violation, i invariant) (n int) {
	for _, v := range violations {
		if v.invariant == i {
			n++
		}
	}
	return n
}

func (t *trial) replay() string {
	command := fmt.Sprintf("make faults FAULTS_SEED=%d FAULTS_MINUTES=%v", t.seed, t.minutes)
	if t.only != "" {
		command += " FAULTS_ONLY=" + t.only
	}
	if len(t.values) > 0 {
		command += " FAULTS_SET='" + strings.Join(t.values, " ") + "'"
	}
	return command
}

// fact is something that was counted.
type fact struct {
	count int
	what  string
}

func (t *trial) facts(r records) []fact {
	const (
		asSucceeded = "pods stopped as Succeeded"
		asFailed    = "pods stopped as Failed"
		byItself    = "tracked pods that ended without a stop, those in mode Native not counted"
		succeeded   = "tracked pods with the phase Succeeded at the end"
		failedPhase = "tracked pods with the phase Failed at the end"
		removed     = "pods deleted by the reaper"
		cutShort    = "pods that a user deleted before their end, or that had a deadline of their own"
		kept        = "of them whose completion counted, since it came first"
		rivals      = "competing pods"
		waits       = "of them that found no room at first"
		unborn      = "pods whose main the kubelet, being stopped, could not start"
	)
	counts, jobs := map[string]int{}, 0
	stories := storiesOf(r)
	for _, s := range stories {
		count := func(what string, is bool) {
			if is {
				counts[what]++
			}
		}
		phase, interrupted := s.end()
		count(asSucceeded, s.stopped && s.stop.Phase == corev1.PodSucceeded)
		count(asFailed, s.stopped && s.stop.Phase == corev1.PodFailed)
		count(byItself, phase != "" && !s.stopped && !s.native)
		count(succeeded, phase == corev1.PodSucceeded)
		count(failedPhase, phase == corev1.PodFailed)
		count(removed, slices.ContainsFunc(s.writes, func(w write) bool { return w.by == kube.ReaperUser && w.verb == "delete" }))
		count(cutShort, interrupted)
		count(kept, interrupted && s.outcome() == corev1.PodSucceeded)
		count(rivals, s.rival())
		count(waits, s.rival() && s.waited())
		count(unborn, s.stillborn)
	}
	for _, w := range r.works {
		if w.job {
			jobs++
		}
	}
	words := map[string]int{}
	for _, l := range r.lines {
		words[l.word]++
	}
	restarted := 0
	for _, p := range processesOf(r.samples) {
		if slices.ContainsFunc(r.samples, func(s sample) bool { return s.pod == p.first.pod && s.born < p.first.born }) {
			restarted++
		}
	}
	facts := []fact{{jobs, "Jobs"}, {len(r.works) - jobs, "pods without a Job"}, {len(stories), "pods in all"}, {len(r.writes), "writes of pods in the audit log"}}
	for _, what := range []string{asSucceeded, asFailed, byItself, succeeded, failedPhase, removed, cutShort, kept, rivals, waits, unborn} {
		facts = append(facts, fact{counts[what], what})
	}
	facts = append(facts,
		fact{words[completed], "mains that completed"}, fact{words[interrupted], "mains that got SIGTERM before"},
		fact{r.refused, "writes of a status that were refused, because no webhook answered"},
		fact{restarted, "restarts of the two programs that were seen"})
	if len(r.steps) > 0 {
		during, shown := dated(r)
		facts = append(facts, fact{len(r.steps), "steps of the reapers' clock: " + stepsOf(r.steps)},
			fact{during, "stops during that time"}, fact{shown, "of them dated by the stepped clock"})
	}
	for _, p := range slices.Sorted(maps.Keys(t.troubles)) {
		facts = append(facts, fact{t.troubles[p], "requests of the reaper that the proxy " + p.String()})
	}
	facts = append(facts, fact{r.bad.tried, "bad bodies sent to the webhook"})
	for _, class := range slices.Sorted(maps.Keys(r.bad.classes)) {
		what := fmt.Sprintf("of them answered %dxx", class)
		if class == 0 {
			what = "of them not answered: a replica was killed, or its connection closed"
		}
		facts = append(facts, fact{r.bad.classes[class], what})
	}
	if f := r.flood; f.tried > 0 {
		facts = append(facts, fact{f.tried + f.busy, "hostile bodies sent to the webhook, 50 at a time"}, fact{f.busy, "of them not read: there were too many"},
			fact{f.admitted, "labelled pods that were admitted meanwhile"}, fact{len(f.refused), "labelled pods that were refused meanwhile"})
	}
	facts = append(facts, fact{int(highest(r.samples, "webhook") / (1 << 20)), "MiB: the most resident memory of a webhook that was seen"})
	panics := 0
	for _, e := range r.exits {
		if e.code == panicked {
			panics++
		}
	}
	return append(facts, fact{len(r.exits), "ends of processes of the two programs"}, fact{panics, "of them panics"})
}
