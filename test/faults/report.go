package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// report says what was done, what was seen, and what is wrong.
func (t *trial) report(violations []violation) string {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	heading := func(format string, args ...any) { table.Flush(); fmt.Fprintf(&out, "\n"+format+"\n", args...) }
	heading("Faults, seed %d, %v minutes", t.seed, t.minutes)
	for _, f := range t.faults {
		fmt.Fprintf(table, "  %d\t%s\t%s\n", t.injected[f.name], f.name, f.what)
	}
	heading("What there was")
	for _, f := range t.facts() {
		fmt.Fprintf(table, "  %d\t%s\n", f.count, f.what)
	}
	heading("Processes of the two programs that lived since the start of the run, or since the last pods, and at its end")
	fmt.Fprint(table, "  pod\tpods stopped\tgoroutines\tfile descriptors\tMiB\n")
	for i := range len(t.looks) - 1 {
		for _, p := range t.processes(i) {
			fmt.Fprintf(table, "  %s\t%.0f\t%.0f → %.0f\t%.0f → %.0f\t%.0f → %.0f\n", p.first.pod, p.stops(),
				p.first.goroutines, p.last.goroutines, p.first.fds, p.last.fds, p.first.memory/(1<<20), p.last.memory/(1<<20))
		}
	}
	heading("Invariants")
	for _, i := range invariants {
		verdict, n := "ok", 0
		for _, v := range violations {
			if v.invariant == i.invariant {
				n++
				verdict = fmt.Sprintf("%d VIOLATIONS", n)
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", i.invariant, verdict, i.text)
	}
	table.Flush()
	for _, v := range violations {
		fmt.Fprintf(&out, "  %s\n", v)
	}
	replay := fmt.Sprintf("make faults FAULTS_SEED=%d FAULTS_MINUTES=%v", t.seed, t.minutes)
	if t.only != "" {
		replay += " FAULTS_ONLY=" + t.only
	}
	if len(t.values) > 0 {
		replay += " FAULTS_SET='" + strings.Join(t.values, " ") + "'"
	}
	heading("Evidence: %s. The same works and the same order of faults: %s", t.evidence, replay)
	return out.String()
}

// fact is something that was counted.
type fact struct {
	count int
	what  string
}

func (t *trial) facts() (facts []fact) {
	add := func(count int, what string) { facts = append(facts, fact{count, what}) }
	j := &judgement{records: &t.records, pods: historiesOf(&t.records)}
	pods := func(what string, is func(*history) bool) { add(j.count(is), what) }
	add(len(t.works), "Jobs, and pods without a Job")
	add(len(j.pods), "pods in all")
	add(len(t.writes), "writes of pods in the audit log")
	pods("pods stopped as Succeeded", func(h *history) bool { return h.stopped && h.stop.Phase == corev1.PodSucceeded })
	pods("pods stopped as Failed", func(h *history) bool { return h.stopped && h.stop.Phase == corev1.PodFailed })
	pods("tracked pods that ended without a stop", func(h *history) bool { return !h.stopped && h.phase() != "" })
	pods("tracked pods with the phase Succeeded at the end", func(h *history) bool { return h.phase() == corev1.PodSucceeded })
	pods("tracked pods with the phase Failed at the end", func(h *history) bool { return h.phase() == corev1.PodFailed })
	pods("pods deleted by the reaper", func(h *history) bool { return h.deletedBy(byReaper) })
	pods("pods that a user deleted before their end, or that had a deadline of their own", (*history).interrupted)
	pods("of them whose completion counted, since it came first", func(h *history) bool { return h.interrupted() && h.outcome() == corev1.PodSucceeded })
	pods("competing pods that found no room at first", func(h *history) bool { return h.competes() && h.waited() })
	pods("pods whose main the kubelet, being stopped, could not start", func(h *history) bool { return h.notStarted })
	add(t.refused, "writes of a status that were refused, because no webhook answered")
	during, shown := dated(&t.records)
	for _, s := range t.steps {
		add(int(s.ahead/time.Second), "seconds: a step of the reapers' clock")
	}
	add(during, "stops during the steps of the clock")
	add(shown, "of them dated by the stepped clock")
	failures := map[string]int{}
	for _, s := range t.failedAnswers() {
		failures[s]++
	}
	for _, s := range slices.Sorted(maps.Keys(failures)) {
		add(failures[s], "requests of the reapers while answers failed: "+s)
	}
	for i, what := range []string{"bad", "hostile"} {
		a := []answers{t.bad, t.hostile}[i]
		for _, code := range slices.Sorted(maps.Keys(a.codes)) {
			add(a.codes[code], fmt.Sprintf("%s bodies that the webhook answered with %d (0: not at all)", what, code))
		}
	}
	add(t.probes.admitted, "labelled pods that were admitted while hostile bodies were sent")
	add(len(t.exits), "ends of processes of the two programs")
	return facts
}
