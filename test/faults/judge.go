package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// invariant is what must be so whatever happens.
type invariant string

const (
	witnessed invariant = "I0" // the witnesses saw what there was to see
	reaped    invariant = "I1"
	spared    invariant = "I2"
	once      invariant = "I3"
	tracked   invariant = "I4"
	leakless  invariant = "I5"
	unshaken  invariant = "I6"
)

// invariants are all of them, in words.
var invariants = []struct {
	invariant
	text string
}{
	{witnessed, "the audit log knows every pod that ran, and there was something to judge"},
	{reaped, "every pod whose essential container completed was stopped gracefully and deleted when its retention was over; none is left"},
	{spared, "no pod was stopped or deleted by the reaper whose essential container had not completed (or failed for good, if that stops it)"},
	{once, "no Job ran its main more often than it completed, failures that were ordered aside; none is unfinished"},
	{tracked, "every labelled pod that was admitted in an opted-in namespace is tracked, and no other"},
	{leakless, "neither program leaks goroutines, file descriptors or memory"},
	{unshaken, "neither program panics or runs out of memory, and no bad body makes the webhook answer 5xx"},
}

// records are what the witnesses have seen.
type records struct {
	works   []work  // what was created
	writes  []write // of pods, as the API server answered them, in that order
	lines   []line  // what the containers wrote, in that order
	jobs    []batchv1.Job
	left    []corev1.Pod // what is there in the end
	steps   []step       // of the reapers' clock
	samples []sample     // of the programs' metrics
	exits   []exit       // of the programs' processes
	bad     answers      // to bad bodies
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
	started    = "start"
	completed  = "completed"
	failed     = "failed"
	terminated = "SIGTERM"
)

// line is one word of a container.
type line struct {
	work      string
	pod       types.UID
	container string // main or sidecar
	word      string
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
	byName     map[string]work
	pods       map[types.UID]*story
	violations []violation
}

// story is what became of one pod.
type story struct {
	work
	name      string
	states    []corev1.Pod // after each write
	stopped   *corev1.Pod  // the first state in which it was stopped
	stoppedAt time.Time    // by the API server's clock, which nobody steps
	deletions []write
	words     []line
	stillborn bool // the kubelet was stopped while it started one of the containers, which then counts as failed
}

func (s *story) said(container, word string) bool {
	return slices.ContainsFunc(s.words, func(l line) bool { return l.container == container && l.word == word })
}

// judge reads the records and says what is wrong. It asks nobody else.
func judge(r records) []violation {
	j := &judgement{records: r, byName: map[string]work{}, pods: map[types.UID]*story{}}
	for _, w := range r.works {
		j.byName[w.name] = w
	}
	j.tellStories()
	j.judgeWitnesses()
	for _, uid := range sortedKeys(j.pods) {
		j.judgeEnd(uid, j.pods[uid])
		j.judgeTracking(j.pods[uid])
	}
	for _, w := range r.writes {
		j.judgeWrite(w)
	}
	for _, w := range r.works {
		j.judgeWork(w)
	}
	j.violations = append(j.violations, leaks(r.samples)...)
	j.judgePrograms()
	slices.SortStableFunc(j.violations, func(a, b violation) int { return strings.Compare(string(a.invariant), string(b.invariant)) })
	return j.violations
}

func (j *judgement) add(i invariant, about, format string, args ...any) {
	j.violations = append(j.violations, violation{i, about, fmt.Sprintf(format, args...)})
}

func (j *judgement) tellStories() {
	for _, w := range j.writes {
		s := j.story(&w.pod)
		s.states = append(s.states, w.pod)
		if s.stopped == nil && essential.Stopped(&w.pod) {
			s.stopped, s.stoppedAt = &w.pod, w.at
		}
		s.stillborn = s.stillborn || stillborn(&w.pod)
		if w.verb == "delete" {
			s.deletions = append(s.deletions, w)
		}
	}
	for _, l := range j.lines {
		if s := j.pods[l.pod]; s != nil {
			s.words = append(s.words, l)
		}
	}
}

func (j *judgement) story(pod *corev1.Pod) *story {
	s := j.pods[pod.UID]
	if s == nil {
		s = &story{work: j.byName[pod.Labels[workLabel]], name: pod.Name}
		j.pods[pod.UID] = s
	}
	return s
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
	stops, excused := 0, 0
	for _, s := range j.pods {
		if s.stopped != nil {
			stops++
		}
		if s.stillborn {
			excused++
		}
	}
	if stops == 0 {
		j.add(witnessed, "the run", "no pod was stopped")
	}
	if excused > len(j.pods)/4 {
		j.add(witnessed, "the run", "%d of %d pods had a container that the kubelet could not start", excused, len(j.pods))
	}
	if during, shown := dated(j.records); during > 0 && shown == 0 {
		j.add(witnessed, "the run", "the clock was stepped, and none of %d stops meanwhile shows it", during)
	}
	if len(j.samples) == 0 {
		j.add(witnessed, "the run", "no metrics were read")
	}
}

// judgeEnd: what became of a pod, and whether its sidecar was told.
func (j *judgement) judgeEnd(uid types.UID, s *story) {
	index := slices.IndexFunc(j.left, func(p corev1.Pod) bool { return p.UID == uid })
	if s.stillborn { // it stays, or its Job makes another: that it was spared is judged by the writes
		return
	}
	due := s.said("main", completed) && s.fate != untouched
	failedForGood := s.said("main", failed) && s.fate == failsFirst && !s.said("main", completed)
	switch {
	case s.native && s.stopped != nil:
		j.add(reaped, s.name, "it was stopped, and its sidecar is native")
	case s.native:
	case due && s.stopped == nil:
		j.add(reaped, s.name, "its main completed and it was never stopped")
	case due && s.stopped.Status.Phase != corev1.PodSucceeded:
		j.add(reaped, s.name, "its main completed and it was stopped as %s", s.stopped.Status.Phase)
	case failedForGood && s.stopped == nil:
		j.add(reaped, s.name, "its main failed for good and it was never stopped")
	case failedForGood && s.stopped.Status.Phase != corev1.PodFailed:
		j.add(reaped, s.name, "its main failed for good and it was stopped as %s", s.stopped.Status.Phase)
	case failedForGood && index < 0:
		j.add(spared, s.name, "its main failed and it was deleted (%s)", deleters(s))
	case s.fate == untouched && index < 0:
		j.add(spared, s.name, "it was to stay and is gone (%s)", deleters(s))
	}
	if index >= 0 && !mayStay(&j.left[index], s.work) {
		j.add(reaped, s.name, "it is left, with the phase %s", j.left[index].Status.Phase)
	}
	if (due || failedForGood) && s.said("sidecar", started) && !s.said("sidecar", terminated) {
		j.add(reaped, s.name, "its sidecar got no SIGTERM")
	}
	for i, l := range s.words {
		if l.word == terminated && !slices.ContainsFunc(s.words[:i], func(l line) bool {
			return l.container == "main" && (l.word == completed || l.word == failed && s.fate == failsFirst)
		}) {
			j.add(spared, s.name, "its sidecar got SIGTERM before main had ended (deleted by: %s)", deleters(s))
		}
	}
}

// mayStay reports whether the pod is none that has to go.
func mayStay(pod *corev1.Pod, w work) bool {
	return w.fate == untouched && !essential.Stopped(pod) || w.fate == failsFirst && pod.Status.Phase == corev1.PodFailed
}

// stillborn reports whether a container was never started: the kubelet that is
// stopped breaks off what it has asked of the container runtime, and such a
// container has failed.
func stillborn(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.State.Terminated != nil && s.State.Terminated.Reason == "StartError"
	})
}

func deleters(s *story) string {
	var names []string
	for _, d := range s.deletions {
		if !slices.Contains(names, d.by) {
			names = append(names, d.by)
		}
	}
	if len(names) == 0 {
		return "by nobody that the audit log knows"
	}
	return strings.Join(names, ", ")
}

// judgeWrite: what the reaper may do to a pod, from what the API server knew of
// the pod's containers at that moment.
func (j *judgement) judgeWrite(w write) {
	if w.by != kube.ReaperUser {
		return
	}
	s := j.story(&w.pod)
	code, ended := endOf(&w.pod, "main")
	phase := w.pod.Status.Phase
	verb := w.verb
	if w.subresource != "" {
		verb += " of " + w.subresource
	}
	switch {
	case s.name == "" || s.work.name == "":
		j.add(spared, w.pod.Name, "%s by the reaper, and nobody here created it", verb)
	case s.fate == untouched:
		j.add(spared, w.pod.Name, "%s by the reaper, and it was to be left alone", verb)
	case !ended:
		j.add(spared, w.pod.Name, "%s by the reaper while main had not ended: %s", verb, states(&w.pod))
	case code != 0 && s.fate != failsFirst:
		j.add(spared, w.pod.Name, "%s by the reaper after main had failed with %d, which stops nothing here", verb, code)
	case code != 0 && (w.verb == "delete" || phase == corev1.PodSucceeded):
		j.add(spared, w.pod.Name, "%s by the reaper, phase %s, after main had failed with %d", verb, phase, code)
	case w.verb == "delete" && !essential.Stopped(&w.pod) && !s.native:
		j.add(reaped, w.pod.Name, "deleted by the reaper without having been stopped")
	case w.verb == "delete" && essential.Running(&w.pod):
		j.add(reaped, w.pod.Name, "deleted by the reaper while containers ran: %s", states(&w.pod))
	case w.verb == "delete" && s.native && phase != corev1.PodSucceeded:
		j.add(reaped, w.pod.Name, "deleted by the reaper before the kubelet had ended it: phase %s", phase)
	case w.verb == "delete" && !s.native:
		j.judgeRetention(w, s)
	}
}

// judgeRetention: not sooner, by the reapers' own clock, at the furthest that it
// was ahead since the stop. That it goes at all is judged by who is left.
func (j *judgement) judgeRetention(w write, s *story) {
	stop := essential.Condition(&w.pod, essential.StoppedCondition)
	if stop == nil {
		j.add(reaped, w.pod.Name, "deleted by the reaper without a record of the stop")
		return
	}
	now := w.at.Add(furthest(j.steps, s.stoppedAt, w.at))
	if kept := now.Sub(stop.LastTransitionTime.Time); kept < s.retention {
		j.add(reaped, w.pod.Name, "deleted %v after it was stopped, its retention is %v", kept, s.retention)
	}
}

// endOf is the exit code of a container's last end that the pod's status knows;
// a completion counts before a later failure.
func endOf(pod *corev1.Pod, container string) (code int32, ended bool) {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name != container {
			continue
		}
		for _, t := range []*corev1.ContainerStateTerminated{s.LastTerminationState.Terminated, s.State.Terminated} {
			if t != nil && (!ended || code != 0) {
				code, ended = t.ExitCode, true
			}
		}
	}
	return code, ended
}

func states(pod *corev1.Pod) string {
	var all []string
	for _, s := range pod.Status.ContainerStatuses {
		state := "waits"
		switch {
		case s.State.Running != nil:
			state = "runs"
		case s.State.Terminated != nil:
			state = fmt.Sprintf("ended with %d", s.State.Terminated.ExitCode)
		}
		all = append(all, s.Name+" "+state)
	}
	return strings.Join(all, ", ")
}

// judgeWork: how often main ran, by its own words, and what the Job says.
func (j *judgement) judgeWork(w work) {
	excused := false
	for _, s := range j.pods {
		excused = excused || s.stillborn && s.work.name == w.name
	}
	counts := map[string]int{}
	for _, l := range j.lines {
		if l.work == w.name && l.container == "main" {
			counts[l.word]++
		}
	}
	for _, c := range []struct {
		word string
		want int
	}{{started, w.completions + w.failures}, {completed, w.completions}, {failed, w.failures}} {
		if got := counts[c.word]; got > c.want || got < c.want && !excused {
			j.add(once, w.name, "main said %q %d times, want %d", c.word, got, c.want)
		}
	}
	if !w.job || excused {
		return
	}
	index := slices.IndexFunc(j.jobs, func(job batchv1.Job) bool { return job.Name == w.name })
	if index < 0 {
		j.add(once, w.name, "the Job is gone")
		return
	}
	status := j.jobs[index].Status
	if !finished(&j.jobs[index]) {
		j.add(once, w.name, "the Job is unfinished: active %d, succeeded %d, failed %d", status.Active, status.Succeeded, status.Failed)
	}
	failures := 0
	if w.fate == failsFirst { // else the kubelet tries again, in the same pod
		failures = w.failures
	}
	if int(status.Succeeded) != w.completions || int(status.Failed) != failures {
		j.add(once, w.name, "the Job counts succeeded %d and failed %d, want %d and %d", status.Succeeded, status.Failed, w.completions, failures)
	}
}

func finished(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
}

// judgeTracking: the annotation is on exactly those pods whose namespace opted
// in and that have the label, from their creation, and from then on the sidecars
// are native that are to be.
func (j *judgement) judgeTracking(s *story) {
	for i := range s.states {
		pod := &s.states[i]
		label, labelled := pod.Labels[essential.Label]
		want := ""
		if labelled && pod.Namespace == optedIn {
			want = strings.ReplaceAll(label, essential.NameSeparator, essential.TrackedSeparator)
		}
		if got := pod.Annotations[essential.TrackedAnnotation]; got != want {
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
	for _, f := range j.bad.failures {
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
