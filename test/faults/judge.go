package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// invariant is what must hold under all faults.
type invariant string

const (
	observed     invariant = "I0"
	reaped       invariant = "I1"
	spared       invariant = "I2"
	ranOnce      invariant = "I3"
	tracked      invariant = "I4"
	leakless     invariant = "I5"
	stable       invariant = "I6"
	phaseLast    invariant = "I7"
	phaseTrue    invariant = "I8"
	noneRejected invariant = "I9"
)

// invariants are all of them, in words.
var invariants = []struct {
	invariant
	text string
}{
	{observed, "the audit log has every pod that ran, and there was something to judge"},
	{reaped, "every pod whose essential container completed was stopped gracefully and deleted when its retention was over; none is left"},
	{spared, "the reaper stopped or deleted no pod whose essential container had not completed (or failed for good, if that stops it), and wrote no status"},
	{ranOnce, "no Job ran its main again after it had completed, documented cases aside; none is unfinished"},
	{tracked, "every labelled pod that was admitted in an opted-in namespace is tracked, and no other"},
	{leakless, "neither program leaks goroutines, file descriptors or memory"},
	{stable, "neither program panics or runs out of memory, no bad body makes the webhook answer 5xx, and no labelled pod is refused while hostile ones are sent"},
	{phaseLast, "no tracked pod has a terminal phase while one of its containers runs"},
	{phaseTrue, "every tracked pod ended with the phase that its main's own output requires"},
	{noneRejected, "the kubelet rejected no pod for what a tracked pod still held"},
}

// violation is a breach of an invariant.
type violation struct {
	invariant
	about string
	what  string
}

func (v violation) String() string { return fmt.Sprintf("%s %s: %s", v.invariant, v.about, v.what) }

// judgement collects violations.
type judgement struct {
	*records
	pods       map[types.UID]*history
	violations []violation
}

// judge returns what is wrong. It reads nothing but the records.
func judge(r *records) []violation {
	j := &judgement{records: r, pods: historiesOf(r)}
	j.judgeEvidence()
	for _, uid := range slices.Sorted(maps.Keys(j.pods)) {
		h := j.pods[uid]
		j.judgeEnd(uid, h)
		j.judgePhases(h)
		j.judgeTracking(h)
		for _, w := range h.writes {
			if byReaper(w) {
				j.judgeWrite(w, h)
			}
		}
	}
	for _, w := range r.works {
		j.judgeWork(w)
	}
	j.judgeLeaks()
	j.judgePrograms()
	slices.SortFunc(j.violations, func(a, b violation) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(j.violations)
}

func (j *judgement) add(i invariant, about, format string, args ...any) {
	j.violations = append(j.violations, violation{i, about, fmt.Sprintf(format, args...)})
}

// judgeEvidence: a run that saw nothing proves nothing.
func (j *judgement) judgeEvidence() {
	unknown := map[types.UID]bool{}
	for _, l := range j.lines {
		if j.pods[l.pod] == nil && !unknown[l.pod] {
			unknown[l.pod] = true
			j.add(observed, l.work, "pod %s ran, and the audit log does not have it", l.pod)
		}
	}
	stopped := j.count(func(h *history) bool { return h.stopped })
	notStarted := j.count(func(h *history) bool { return h.notStarted })
	competing, waited := j.count(func(h *history) bool { return h.competes() }), j.count(func(h *history) bool { return h.competes() && h.waited() })
	during, shown := dated(j.records)
	for what, is := range map[string]bool{
		"no pod was stopped": stopped == 0,
		fmt.Sprintf("none of %d competing pods had to wait for a tracked pod", competing):             competing > 11 && waited == 0,
		fmt.Sprintf("the kubelet could not start the main of %d of %d pods", notStarted, len(j.pods)): notStarted > len(j.pods)/4,
		fmt.Sprintf("the clock was stepped, and none of %d stops during that time shows it", during):  during > 2 && shown == 0,
		"no labelled pod was created while hostile bodies were sent":                                  len(j.hostile.codes) > 0 && j.probes.admitted == 0,
	} {
		if is {
			j.add(observed, "the run", "%s", what)
		}
	}
}

func (j *judgement) count(is func(*history) bool) (n int) {
	for _, h := range j.pods {
		if is(h) {
			n++
		}
	}
	return n
}

// judgeEnd: how a pod ended, and whether its sidecar got a signal.
func (j *judgement) judgeEnd(uid types.UID, h *history) {
	index := slices.IndexFunc(j.left, func(p corev1.Pod) bool { return p.UID == uid })
	if h.leftAlone {
		if index < 0 && !h.interrupted() {
			j.add(spared, h.name, "it had to remain and is gone")
		}
		return
	}
	due := h.outcome() == corev1.PodSucceeded
	// The pod did not end by itself: its sidecar was started, and did not end before.
	needsStop := h.wrote("sidecar", started) && (h.last("sidecar") != ended || h.wrote("sidecar", terminated))
	switch {
	case h.native && h.stopped:
		j.add(reaped, h.name, "it was stopped, and its sidecar is native")
	case h.native, h.interrupted():
	case due && !h.stopped && needsStop:
		j.add(reaped, h.name, "its main completed and it was never stopped")
	case due && h.stopped && h.stop.Phase != corev1.PodSucceeded:
		j.add(reaped, h.name, "its main completed and it was stopped as %s", h.stop.Phase)
	case h.failedForGood() && !h.stopped && needsStop:
		j.add(reaped, h.name, "its main failed for good and it was never stopped")
	case h.failedForGood() && h.stopped && h.stop.Phase != corev1.PodFailed:
		j.add(reaped, h.name, "its main failed for good and it was stopped as %s", h.stop.Phase)
	case h.failedForGood() && index < 0:
		j.add(spared, h.name, "its main failed and it is gone")
	}
	if index >= 0 && !mayRemain(&j.left[index], h.work) {
		j.add(reaped, h.name, "it is left, with the phase %s", j.left[index].Status.Phase)
	}
	if (due || h.failedForGood()) && h.last("sidecar") == started {
		j.add(reaped, h.name, "its sidecar got no SIGTERM")
	}
	for i, l := range h.words {
		if l.word == terminated && !h.interrupted() && !h.notStarted && !slices.ContainsFunc(h.words[:i], func(l line) bool {
			return l.word == completed || l.word == failed && !h.retried()
		}) {
			j.add(spared, h.name, "its sidecar got SIGTERM before main had ended")
		}
	}
}

// mayRemain reports whether the pod need not be deleted: the reaper has to leave it
// alone, or it has failed.
func mayRemain(pod *corev1.Pod, w work) bool {
	if w.leftAlone {
		return !essential.IsStopped(pod)
	}
	return pod.Status.Phase == corev1.PodFailed
}

// judgePhases: a terminal phase comes last, and is what main wrote.
func (j *judgement) judgePhases(h *history) {
	if i := slices.IndexFunc(h.writes, func(w write) bool { return rejected(&w.pod) }); i >= 0 {
		status := h.writes[i].pod.Status
		j.add(noneRejected, h.name, "it was rejected: %s, %s", status.Reason, status.Message)
	}
	outcome, early, wrong := h.outcome(), false, false
	for _, w := range h.writes {
		if !essential.IsTracked(&w.pod) || !essential.IsTerminal(&w.pod) {
			continue
		}
		phase := w.pod.Status.Phase
		if what := stillRunning(w, h); what != "" && !early {
			early = true
			j.add(phaseLast, h.name, "its phase was %s, and %s", phase, what)
		}
		if outcome != "" && phase != outcome && !wrong {
			wrong = true
			j.add(phaseTrue, h.name, "its phase was %s, reason %q, and must be %s: main's last word was %q", phase, w.pod.Status.Reason, outcome, h.last("main"))
		}
	}
}

// stillRunning returns which container ran after the write, or nothing: by the API,
// or by a later word of the container itself.
func stillRunning(w write, h *history) string {
	if essential.HasRunningContainers(&w.pod) {
		return states(&w.pod)
	}
	for _, l := range h.words {
		if after := l.at.Sub(w.at); after > tolerance {
			return fmt.Sprintf("%s wrote %q %.1f s later", l.container, l.word, after.Seconds())
		}
	}
	return ""
}

// judgeWrite: what the reaper may write, by what main had written until then.
func (j *judgement) judgeWrite(w write, h *history) {
	verb := w.verb
	if w.subresource != "" {
		verb += " of " + w.subresource
	}
	switch {
	case h.work.name == "":
		j.add(spared, h.name, "%s by the reaper, and it is not of this run", verb)
	case h.leftAlone:
		j.add(spared, h.name, "%s by the reaper, which has to leave it alone", verb)
	case w.subresource != "":
		j.add(spared, h.name, "%s by the reaper, which has nothing to write there", verb)
	case w.verb == "delete":
		j.judgeDeletion(w, h)
	default:
		j.judgeRecord(w, h)
	}
}

// judgeRecord: what the reaper records was true at that time.
func (j *judgement) judgeRecord(w write, h *history) {
	record, ok := essential.StopOf(&w.pod)
	if !ok {
		record, ok = essential.DueOf(&w.pod)
	}
	before := func(word string) bool {
		at, ok := h.when("main", word)
		return ok && !at.After(w.at)
	}
	switch {
	case !ok:
		j.add(spared, h.name, "%s by the reaper that records nothing", w.verb)
	case record.Phase == corev1.PodSucceeded && !before(completed):
		j.add(spared, h.name, "recorded as %s while main had not completed: %s", record.Phase, states(&w.pod))
	case record.Phase == corev1.PodFailed && !h.notStarted && (!before(failed) || h.retried()):
		j.add(spared, h.name, "recorded as %s while main had not failed for good: %s", record.Phase, states(&w.pod))
	}
}

// judgeDeletion: not before the pod has succeeded and its retention is over, by the
// reapers' own clock where it was most ahead since the end. That the pod is deleted at
// all follows from what is left.
func (j *judgement) judgeDeletion(w write, h *history) {
	phase := w.pod.Status.Phase
	switch {
	case essential.HasRunningContainers(&w.pod):
		j.add(reaped, h.name, "deleted by the reaper while containers ran: %s", states(&w.pod))
	case phase != corev1.PodSucceeded:
		j.add(spared, h.name, "deleted by the reaper with the phase %s", phase)
	default:
		end := endOf(&w.pod)
		if kept := w.at.Add(furthest(j.steps, end, w.at)).Sub(end); kept < h.retention {
			j.add(reaped, h.name, "deleted %v after its end, its retention is %v", kept, h.retention)
		}
	}
}

// judgeWork: how often main ran, by its own words, and what the Job counts. Every
// other run must have its cause in main's words or in the pods' ends.
func (j *judgement) judgeWork(w work) {
	// repeatable are completions that another run may follow. The pods that a Job
	// counts as failed are between failures and failures + unclear.
	repeatable, interruptions, notStarted, failures, unclear := 0, 0, 0, 0, 0
	for _, h := range j.pods {
		if h.work.name != w.name {
			continue
		}
		outcome, uncounted := h.outcome(), h.deletedByUser() && !w.patient
		if h.wrote("main", completed) && (outcome != corev1.PodSucceeded || uncounted) {
			repeatable++
		}
		if h.interrupted() {
			interruptions++
		}
		if h.notStarted {
			notStarted++
		}
		switch {
		case outcome == corev1.PodFailed:
			failures++
		case outcome == "" || uncounted:
			unclear++
		}
	}
	counts := map[string]int{}
	for _, l := range j.lines {
		if l.work == w.name && l.container == "main" {
			counts[l.word]++
		}
	}
	least, ends := w.completions, counts[completed]+counts[failed]+counts[interrupted]
	if !w.job && interruptions+notStarted > 0 {
		least = 0
	}
	for _, c := range []struct {
		word     string
		from, to int
	}{
		{completed, least, w.completions + repeatable},
		{failed, w.failures - notStarted, w.failures},
		{interrupted, w.interruptions - notStarted, 3*w.interruptions + interruptions}, // a probe may fail once more on a busy machine
		{started, ends, ends},
	} {
		if got := counts[c.word]; got < c.from || got > c.to {
			j.add(ranOnce, w.name, "main wrote %q %d times, want %s", c.word, got, between(c.from, c.to))
		}
	}
	if !w.job || w.leftAlone && notStarted > 0 {
		return
	}
	index := slices.IndexFunc(j.jobs, func(job batchv1.Job) bool { return job.Name == w.name })
	if index < 0 {
		j.add(ranOnce, w.name, "the Job is gone")
		return
	}
	status := j.jobs[index].Status
	if !kube.JobComplete(&j.jobs[index]) {
		j.add(ranOnce, w.name, "the Job is not complete: active %d, succeeded %d, failed %d", status.Active, status.Succeeded, status.Failed)
	}
	if n := int(status.Failed); int(status.Succeeded) != w.completions || n < failures || n > failures+unclear {
		j.add(ranOnce, w.name, "the Job counts succeeded %d and failed %d, want %d and %s", status.Succeeded, status.Failed, w.completions, between(failures, failures+unclear))
	}
}

func between(from, to int) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d to %d", from, to)
}

// judgeTracking: exactly the labelled pods in namespaces that opted in have the
// annotation, from their creation, and native sidecars where the mode requires them.
func (j *judgement) judgeTracking(h *history) {
	for i := range h.writes {
		pod := &h.writes[i].pod
		label, labelled := pod.Labels[api.Label]
		want := ""
		if labelled && pod.Namespace == optedIn {
			want = strings.ReplaceAll(label, api.NameSeparator, api.TrackedSeparator)
		}
		if got := pod.Annotations[api.TrackedAnnotation]; got != want {
			j.add(tracked, h.name, "namespace %s, label %q: tracked is %q, want %q", pod.Namespace, label, got, want)
			return
		}
		if h.native && !slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "sidecar" }) {
			j.add(tracked, h.name, "its sidecar is not native")
			return
		}
	}
}

// panicked is the exit code of a Go program that panics. Processes that were killed,
// or that lost their Lease, end with others.
const panicked = 2

func (j *judgement) judgePrograms() {
	for _, id := range slices.Sorted(maps.Keys(j.exits)) {
		switch e := j.exits[id]; {
		case e.code == panicked:
			j.add(stable, e.pod, "it panicked")
		case e.reason == "OOMKilled":
			j.add(stable, e.pod, "it ran out of memory")
		}
	}
	for _, r := range j.probes.refused {
		j.add(stable, "the webhook", "a labelled pod was refused while hostile bodies were sent: %s", r)
	}
	if n := j.bad.codes[503]; n > 0 && len(j.hostile.codes) == 0 {
		j.add(stable, "the webhook", "answered 503 to %d bad bodies without a flood", n)
	}
	for _, f := range slices.Concat(j.bad.failures, j.hostile.failures) {
		j.add(stable, "the webhook", "answered %s", f)
	}
}
