package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// invariant is what must be so whatever happens.
type invariant string

const (
	witnessed    invariant = "I0" // the witnesses saw what there was to see
	reaped       invariant = "I1"
	spared       invariant = "I2"
	once         invariant = "I3"
	tracked      invariant = "I4"
	leakless     invariant = "I5"
	unshaken     invariant = "I6"
	phaseLast    invariant = "I7"
	phaseTrue    invariant = "I8"
	noneRejected invariant = "I9"
)

// invariants are all of them, in words.
var invariants = []struct {
	invariant
	text string
}{
	{witnessed, "the audit log knows every pod that ran, and there was something to judge"},
	{reaped, "every pod whose essential container completed was stopped gracefully and deleted when its retention was over; none is left"},
	{spared, "the reaper stopped or deleted no pod whose essential container had not completed (or failed for good, if that stops it), and wrote no status"},
	{once, "no Job ran its main again after it had completed, documented cases aside; none is unfinished"},
	{tracked, "every labelled pod that was admitted in an opted-in namespace is tracked, and no other"},
	{leakless, "neither program leaks goroutines, file descriptors or memory"},
	{unshaken, "neither program panics or runs out of memory, no bad body makes the webhook answer 5xx, and hostile ones keep it from no labelled pod"},
	{phaseLast, "no tracked pod has a terminal phase while one of its containers runs"},
	{phaseTrue, "every tracked pod ended with the phase that its main's own output says"},
	{noneRejected, "the kubelet rejected no pod for what a tracked pod still held"},
}

// records are what the witnesses have seen.
type records struct {
	works   []work  // what was created
	writes  []write // of pods, as the API server answered them, in that order
	refused int     // writes of pods, because no webhook answered
	lines   []line  // what the containers wrote, in that order
	jobs    []batchv1.Job
	left    []corev1.Pod // what is there in the end
	steps   []step       // of the reapers' clock
	samples []sample     // of the programs' metrics
	exits   []exit       // of the programs' processes
	bad     answers      // to bad bodies
	flood   flood        // of hostile ones
}

// write is a successful write of a pod.
type write struct {
	at          time.Time
	by          string
	verb        string // create, update, patch or delete
	subresource string
	pod         corev1.Pod // as it was afterwards; of a deletion, when it was ordered
}

// The words that containers write.
const (
	started     = "start"
	completed   = "completed"   // main: its work is done
	failed      = "failed"      // main: its work is to be tried again
	interrupted = "interrupted" // main: it got SIGTERM before its work was done
	terminated  = "SIGTERM"     // sidecar
	ended       = "ended"       // sidecar: its last word
)

// line is one word of a container.
type line struct {
	work      string
	pod       types.UID
	container string // main or sidecar
	word      string
	at        time.Time
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
	records
	pods       map[types.UID]*story
	violations []violation
}

// judge reads the records and says what is wrong. It asks nothing else.
func judge(r records) []violation {
	j := &judgement{records: r, pods: storiesOf(r)}
	j.judgeWitnesses()
	for _, uid := range sortedKeys(j.pods) {
		s := j.pods[uid]
		j.judgeEnd(uid, s)
		j.judgePhases(s)
		j.judgeTracking(s)
		for _, w := range s.writes {
			j.judgeWrite(w, s)
		}
	}
	for _, w := range r.works {
		j.judgeWork(w)
	}
	j.violations = append(j.violations, leaks(r.samples)...)
	j.judgePrograms()
	slices.SortStableFunc(j.violations, func(a, b violation) int { return strings.Compare(string(a.invariant), string(b.invariant)) })
	return slices.Compact(j.violations)
}

func (j *judgement) add(i invariant, about, format string, args ...any) {
	j.violations = append(j.violations, violation{i, about, fmt.Sprintf(format, args...)})
}

// storiesOf sorts the records by pod.
func storiesOf(r records) map[types.UID]*story {
	byName := map[string]work{}
	for _, w := range r.works {
		byName[w.name] = w
	}
	pods := map[types.UID]*story{}
	for _, w := range r.writes {
		s := pods[w.pod.UID]
		if s == nil {
			s = &story{work: byName[w.pod.Labels[workLabel]], name: w.pod.Name}
			pods[w.pod.UID] = s
		}
		s.writes = append(s.writes, w)
		if !s.stopped {
			s.stop, s.stopped = essential.StopOf(&w.pod)
		}
		s.stillborn = s.stillborn || stillborn(&w.pod)
	}
	for _, l := range r.lines {
		if s := pods[l.pod]; s != nil {
			s.words = append(s.words, l)
		}
	}
	return pods
}

// judgeWitnesses: a run that saw nothing proves nothing.
func (j *judgement) judgeWitnesses() {
	unknown := map[types.UID]bool{}
	for _, l := range j.lines {
		if j.pods[l.pod] == nil && !unknown[l.pod] {
			unknown[l.pod] = true
			j.add(witnessed, l.work, "pod %s ran, and the audit log does not know it", l.pod)
		}
	}
	stops, failures, rivals, waits := 0, 0, 0, 0
	for _, s := range j.pods {
		if s.stopped {
			stops++
		}
		if s.stillborn {
			failures++
		}
		if s.rival() {
			rivals++
			if s.waited() {
				waits++
			}
		}
	}
	if stops == 0 {
		j.add(witnessed, "the run", "no pod was stopped")
	}
	if rivals > 4 && waits == 0 {
		j.add(witnessed, "the run", "none of %d competing pods had to wait for a tracked pod", rivals)
	}
	if failures > len(j.pods)/4 {
		j.add(witnessed, "the run", "the kubelet could not start the main of %d of %d pods", failures, len(j.pods))
	}
	if during, shown := dated(j.records); during > 0 && shown == 0 {
		j.add(witnessed, "the run", "the clock was stepped, and none of %d stops during that time shows it", during)
	}
	if len(j.samples) == 0 {
		j.add(witnessed, "the run", "no metrics were read")
	}
}

// judgeEnd: what became of a pod, and whether its sidecar got a signal.
func (j *judgement) judgeEnd(uid types.UID, s *story) {
	index := slices.IndexFunc(j.left, func(p corev1.Pod) bool { return p.UID == uid })
	_, cutShort := s.interruption()
	if s.fate == untouched {
		if index < 0 && !cutShort {
			j.add(spared, s.name, "it was to stay and is gone (%s)", s.deleters())
		}
		return
	}
	due, stays := s.outcome() == corev1.PodSucceeded, s.last("sidecar") != ended || s.said("sidecar", terminated)
	switch {
	case s.native && s.stopped:
		j.add(reaped, s.name, "it was stopped, and its sidecar is native")
	case s.native, cutShort:
	case due && !s.stopped && stays:
		j.add(reaped, s.name, "its main completed and it was never stopped")
	case due && s.stopped && s.stop.Phase != corev1.PodSucceeded:
		j.add(reaped, s.name, "its main completed and it was stopped as %s", s.stop.Phase)
	case s.failedForGood() && !s.stopped && stays && s.said("sidecar", started):
		j.add(reaped, s.name, "its main failed for good and it was never stopped")
	case s.failedForGood() && s.stopped && s.stop.Phase != corev1.PodFailed:
		j.add(reaped, s.name, "its main failed for good and it was stopped as %s", s.stop.Phase)
	case s.failedForGood() && index < 0:
		j.add(spared, s.name, "its main failed and it was deleted (%s)", s.deleters())
	}
	if index >= 0 && !mayStay(&j.left[index], s.work) {
		j.add(reaped, s.name, "it is left, with the phase %s", j.left[index].Status.Phase)
	}
	if (due || s.failedForGood()) && s.last("sidecar") == started {
		j.add(reaped, s.name, "its sidecar got no SIGTERM")
	}
	for i, l := range s.words {
		if l.word == terminated && !cutShort && !s.stillborn && !slices.ContainsFunc(s.words[:i], func(l line) bool {
			return l.word == completed || l.word == failed && !s.retried()
		}) {
			j.add(spared, s.name, "its sidecar got SIGTERM before main had ended (deletions: %s)", s.deleters())
		}
	}
}

// mayStay reports whether the pod need not go: it is to be left alone, or it has
// failed.
func mayStay(pod *corev1.Pod, w work) bool {
	return w.fate == untouched && !essential.IsStopped(pod) || w.fate != untouched && pod.Status.Phase == corev1.PodFailed
}

// judgePhases: a terminal phase comes last, and is what main said.
func (j *judgement) judgePhases(s *story) {
	if i := slices.IndexFunc(s.writes, func(w write) bool { return rejected(&w.pod) }); i >= 0 {
		status := s.writes[i].pod.Status
		j.add(noneRejected, s.name, "it was rejected: %s, %s", status.Reason, status.Message)
	}
	outcome, early, wrong := s.outcome(), false, false
	for _, w := range s.writes {
		if !essential.IsTracked(&w.pod) || !essential.IsTerminal(&w.pod) {
			continue
		}
		phase := w.pod.Status.Phase
		if what := stillRunning(w, s); what != "" && !early {
			early = true
			j.add(phaseLast, s.name, "its phase was %s, and %s", phase, what)
		}
		if outcome != "" && phase != outcome && !wrong {
			wrong = true
			j.add(phaseTrue, s.name, "its phase was %s, reason %q, and must be %s: main's last word was %q", phase, w.pod.Status.Reason, outcome, s.last("main"))
		}
	}
}

// stillRunning says which container ran after the write, or nothing. Not only
// the API knows: what has ended says nothing any more.
func stillRunning(w write, s *story) string {
	if essential.HasRunningContainers(&w.pod) {
		return states(&w.pod)
	}
	for _, l := range s.words {
		if after := l.at.Sub(w.at); after > blink {
			return fmt.Sprintf("%s said %q %.1f s later", l.container, l.word, after.Seconds())
		}
	}
	return ""
}

// judgeWrite: what the reaper may do to a pod, by what main had said until then.
func (j *judgement) judgeWrite(w write, s *story) {
	if w.by != kube.ReaperUser {
		return
	}
	verb := w.verb
	if w.subresource != "" {
		verb += " of " + w.subresource
	}
	switch {
	case s.work.name == "":
		j.add(spared, s.name, "%s by the reaper, and it is not of this run", verb)
	case s.fate == untouched:
		j.add(spared, s.name, "%s by the reaper, and it was to be left alone", verb)
	case w.subresource != "":
		j.add(spared, s.name, "%s by the reaper, which has nothing to write there", verb)
	case w.verb == "delete":
		j.judgeDeletion(w, s)
	default:
		j.judgeRecord(w, s)
	}
}

// judgeRecord: what the reaper records was so when it recorded it.
func (j *judgement) judgeRecord(w write, s *story) {
	record, ok := essential.StopOf(&w.pod)
	if !ok {
		record, ok = essential.DueOf(&w.pod)
	}
	switch {
	case !ok:
		j.add(spared, s.name, "%s by the reaper that records nothing", w.verb)
	case record.Phase == corev1.PodSucceeded && !s.saidBefore("main", completed, w.at):
		j.add(spared, s.name, "recorded as %s while main had not completed: %s", record.Phase, states(&w.pod))
	case record.Phase == corev1.PodFailed && !s.stillborn && (!s.saidBefore("main", failed, w.at) || s.retried()):
		j.add(spared, s.name, "recorded as %s while main had not failed for good: %s", record.Phase, states(&w.pod))
	}
}

// judgeDeletion: not before the pod has succeeded, nor sooner than its retention,
// by the reapers' own clock, at the furthest that it was ahead since the end. That
// the pod goes at all is judged by what is left.
func (j *judgement) judgeDeletion(w write, s *story) {
	phase := w.pod.Status.Phase
	switch {
	case essential.HasRunningContainers(&w.pod):
		j.add(reaped, s.name, "deleted by the reaper while containers ran: %s", states(&w.pod))
	case phase != corev1.PodSucceeded:
		j.add(spared, s.name, "deleted by the reaper with the phase %s", phase)
	default:
		end := endOf(&w.pod)
		if kept := w.at.Add(furthest(j.steps, end, w.at)).Sub(end); kept < s.retention {
			j.add(reaped, s.name, "deleted %v after its end, its retention is %v", kept, s.retention)
		}
	}
}

// judgeWork: how often main ran, by its own words, and what the Job says. What
// Kubernetes itself runs again, main's words and the pods' ends must explain.
func (j *judgement) judgeWork(w work) {
	var pods []*story
	for _, uid := range sortedKeys(j.pods) {
		if s := j.pods[uid]; s.work.name == w.name {
			pods = append(pods, s)
		}
	}
	// again counts completions that may be followed by another run. The pods that
	// a Job counts as failed are between lost and lost + open.
	again, cutShort, unborn, lost, open := 0, 0, 0, 0, 0
	for _, s := range pods {
		outcome, forgotten := s.outcome(), s.deleted() && !s.patient
		if s.said("main", completed) && (outcome != corev1.PodSucceeded || forgotten) {
			again++
		}
		if _, ok := s.interruption(); ok {
			cutShort++
		}
		if s.stillborn {
			unborn++
		}
		switch {
		case outcome == corev1.PodFailed:
			lost++
		case outcome == "" || forgotten:
			open++
		}
	}
	counts := map[string]int{}
	for _, l := range j.lines {
		if l.work == w.name && l.container == "main" {
			counts[l.word]++
		}
	}
	least := w.completions
	if !w.job && cutShort+unborn > 0 {
		least = 0
	}
	for _, c := range []struct {
		word     string
		from, to int
	}{
		{completed, least, w.completions + again},
		{failed, w.failures - unborn, w.failures},
		{interrupted, w.interruptions - unborn, 3*w.interruptions + cutShort}, // a probe may fail once more on a busy machine
		{started, counts[completed] + counts[failed] + counts[interrupted], counts[completed] + counts[failed] + counts[interrupted]},
	} {
		if got := counts[c.word]; got < c.from || got > c.to {
			j.add(once, w.name, "main said %q %d times, want %s", c.word, got, between(c.from, c.to))
		}
	}
	if !w.job || w.fate == untouched && unborn > 0 {
		return
	}
	index := slices.IndexFunc(j.jobs, func(job batchv1.Job) bool { return job.Name == w.name })
	if index < 0 {
		j.add(once, w.name, "the Job is gone")
		return
	}
	status := j.jobs[index].Status
	if !kube.JobComplete(&j.jobs[index]) {
		j.add(once, w.name, "the Job is not complete: active %d, succeeded %d, failed %d", status.Active, status.Succeeded, status.Failed)
	}
	if n := int(status.Failed); int(status.Succeeded) != w.completions || n < lost || n > lost+open {
		j.add(once, w.name, "the Job counts succeeded %d and failed %d, want %d and %s", status.Succeeded, status.Failed, w.completions, between(lost, lost+open))
	}
}

func between(from, to int) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d to %d", from, to)
}

// judgeTracking: the annotation is on exactly those pods whose namespace opted
// in and that have the label, from their creation, and from then on the sidecars
// are native that are to be.
func (j *judgement) judgeTracking(s *story) {
	for i := range s.writes {
		pod := &s.writes[i].pod
		label, labelled := pod.Labels[api.Label]
		want := ""
		if labelled && pod.Namespace == optedIn {
			want = strings.ReplaceAll(label, api.NameSeparator, api.TrackedSeparator)
		}
		if got := pod.Annotations[api.TrackedAnnotation]; got != want {
			j.add(tracked, s.name, "namespace %s, label %q: tracked is %q, want %q", pod.Namespace, label, got, want)
			return
		}
		if s.native && !slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == "sidecar" }) {
			j.add(tracked, s.name, "its sidecar is not native")
			return
		}
	}
}

// judgePrograms: a process that was killed, or that gave its Lease up, has not
// broken down by itself.
func (j *judgement) judgePrograms() {
	for _, e := range j.exits {
		switch {
		case e.code == panicked:
			j.add(unshaken, e.pod, "it panicked")
		case e.reason == "OOMKilled":
			j.add(unshaken, e.pod, "it ran out of memory")
		}
	}
	for _, r := range j.flood.refused {
		j.add(unshaken, "the webhook", "a labelled pod was refused while hostile bodies were sent: %s", r)
	}
	if j.flood.tried > 0 && j.flood.admitted == 0 {
		j.add(witnessed, "the run", "no labelled pod was created while hostile bodies were sent")
	}
	for _, f := range slices.Concat(j.bad.failures, j.flood.failures) {
		j.add(unshaken, "the webhook", "answered %s", f)
	}
}

func sortedKeys[V any](m map[types.UID]V) []types.UID {
	keys := make([]types.UID, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
