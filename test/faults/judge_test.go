package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

const (
	kubelet       = "system:node:node1"
	jobController = "system:serviceaccount:kube-system:job-controller"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// example is a run in which nothing went wrong, to be changed.
type example struct{ records }

// anExample has a Job, one whose first pod fails, one that is retried by the kubelet,
// a pod that is left alone, a Job in mode Native, one whose sidecar ends by itself,
// and one that competes.
func anExample() *example {
	e := &example{records{looks: [][]sample{{aSample(0)}, {aSample(9)}, {aSample(29)}}, exits: map[string]exit{}}}
	e.work(work{name: "plain-1", job: true, completions: 1, retention: 10 * time.Second}, 0)
	e.pod("plain-1", "p1", "main start", "sidecar start", "main completed", "sidecar SIGTERM", "sidecar ended")
	e.stop("p1", 0, corev1.PodSucceeded)
	e.delete("p1", 12)

	e.work(work{name: "failing-2", job: true, completions: 1, failures: 1}, 1)
	e.pod("failing-2", "f1", "main start", "sidecar start", "main failed", "sidecar SIGTERM")
	e.left = append(e.left, e.stop("f1", 1, corev1.PodFailed))
	e.pod("failing-2", "f2", "main start", "sidecar start", "main completed", "sidecar SIGTERM")
	e.stop("f2", 0, corev1.PodSucceeded)
	e.delete("f2", 2)

	e.work(work{name: "retried-3", job: true, completions: 1, failures: 1}, 0)
	e.pod("retried-3", "r1", "main start", "main failed", "sidecar start", "main start", "main completed", "sidecar SIGTERM")
	e.stop("r1", 0, corev1.PodSucceeded)
	e.delete("r1", 2)

	e.work(work{name: "ignored-4", leftAlone: true, failures: 1}, 0)
	e.left = append(e.left, mainEnded(e.pod("ignored-4", "i1", "main start", "sidecar start", "main failed"), 1))

	e.work(work{name: "native-5", job: true, native: true, completions: 1}, 0)
	e.pod("native-5", "n1", "sidecar start", "main start", "main completed", "sidecar SIGTERM")
	for i := range e.writes {
		native(&e.writes[i].pod)
	}
	e.end("n1", 1, corev1.PodSucceeded)
	e.delete("n1", 2)

	e.work(work{name: "ragged-6", job: true, completions: 1}, 0)
	e.pod("ragged-6", "g1", "main start", "sidecar start", "sidecar ended", "main completed")
	e.end("g1", 1, corev1.PodSucceeded)
	e.delete("g1", 2)

	e.work(work{name: "competing-7", job: true, leftAlone: true, completions: 1}, 0)
	e.pod("competing-7", "c1", "main start", "main completed")
	e.left = append(e.left, e.end("c1", 1, corev1.PodSucceeded))
	return e
}

func aSample(stops float64) sample {
	return sample{pod: "reaper-1", born: 1, goroutines: 40, fds: 12, memory: 30 << 20, stops: stops}
}

func (e *example) work(w work, jobFailures int32) {
	e.works = append(e.works, w)
	if w.job {
		e.jobs = append(e.jobs, batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Status: batchv1.JobStatus{
			Succeeded: int32(w.completions), Failed: jobFailures,
			Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}},
		}})
	}
}

// say has the containers of a pod write words: a second before the stop, or, if they
// are SIGTERM, half a second after it.
func (e *example) say(work string, pod types.UID, words ...string) {
	for _, w := range words {
		container, word, _ := strings.Cut(w, " ")
		l := line{work: work, pod: pod, container: container, word: word, at: after(-1)}
		if word == terminated {
			l.at = after(0.5)
		}
		e.lines = append(e.lines, l)
	}
}

// unsay removes words of a container.
func (e *example) unsay(pod types.UID, container string, words ...string) {
	e.lines = slices.DeleteFunc(e.lines, func(l line) bool { return l.pod == pod && l.container == container && slices.Contains(words, l.word) })
}

func (e *example) add(second float64, by, verb, subresource string, pod corev1.Pod) corev1.Pod {
	e.writes = append(e.writes, write{after(second), by, verb, subresource, *pod.DeepCopy()})
	return pod
}

// pod creates a pod that runs and whose containers write words.
func (e *example) pod(work string, uid types.UID, words ...string) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: optedIn, Name: work + "-" + string(uid), UID: uid, Labels: map[string]string{workLabel: work}, Annotations: map[string]string{},
	}}
	if kindOf(work) != competing.name {
		p.Labels[api.Label], p.Annotations[api.TrackedAnnotation] = "main", "main"
	}
	if kindOf(work) == "retried" {
		p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	}
	e.say(work, uid, words...)
	e.add(-3, jobController, "create", "", p)
	p.Status.Phase = corev1.PodRunning
	for _, name := range []string{"main", "sidecar"} {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	}
	return e.add(-2, kubelet, "patch", "status", p)
}

// last is the last state of a pod, and find a write that changes it.
func (e *example) last(pod types.UID) *write { return e.find(pod, "", "") }

func (e *example) find(pod types.UID, by, verb string) *write {
	for i := range e.writes {
		if w := &e.writes[len(e.writes)-1-i]; w.pod.UID == pod && (by == "" || w.by == by) && (verb == "" || w.verb == verb) {
			return w
		}
	}
	panic("no such write")
}

// stop is the reaper's stop of a pod whose main has ended, and its end a second later.
func (e *example) stop(uid types.UID, code int32, phase corev1.PodPhase) corev1.Pod {
	e.add(0, kube.ReaperUser, "patch", "", stopped(mainEnded(e.last(uid).pod, code), phase))
	return e.end(uid, 1, phase)
}

// end is the kubelet's report that no container of the pod runs any more.
func (e *example) end(uid types.UID, second float64, phase corev1.PodPhase) corev1.Pod {
	p := e.last(uid).pod.DeepCopy()
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses} {
		for i := range statuses {
			statuses[i].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0, FinishedAt: metav1.NewTime(after(1))}}
		}
	}
	p.Status.Phase = phase
	return e.add(second, kubelet, "patch", "status", *p)
}

func (e *example) delete(uid types.UID, second float64) {
	e.add(second, kube.ReaperUser, "delete", "", e.last(uid).pod)
}

// without removes writes of a pod.
func (e *example) without(pod types.UID, unwanted func(write) bool) {
	e.writes = slices.DeleteFunc(e.writes, func(w write) bool { return w.pod.UID == pod && unwanted(w) })
}

func deletes(w write) bool { return w.verb == "delete" }

func (e *example) theJob(name string) *batchv1.Job {
	return &e.jobs[slices.IndexFunc(e.jobs, func(j batchv1.Job) bool { return j.Name == name })]
}

// notStarted are pods of a new Job whose main the kubelet could not start.
func (e *example) notStarted(uids ...types.UID) {
	for _, uid := range uids {
		e.pod("plain-8", uid)
		e.last(uid).pod = mainEnded(e.last(uid).pod, 128)
		e.last(uid).pod.Status.ContainerStatuses[0].State.Terminated.Reason = "StartError"
		p := e.last(uid).pod
		e.add(0, kube.ReaperUser, "patch", "", stopped(p, corev1.PodFailed))
		e.left = append(e.left, e.end(uid, 1, corev1.PodFailed))
	}
}

// interrupted has a user delete p1, or gives it a deadline, at that second: main
// completes at second -1.
func (e *example) interrupted(second float64, change func(*corev1.Pod, metav1.Time)) {
	for i := range e.writes {
		if w := &e.writes[i]; w.pod.UID == "p1" && w.verb == "patch" {
			change(&w.pod, metav1.NewTime(after(second)))
		}
	}
}

func deletedAt(p *corev1.Pod, at metav1.Time) {
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = new(metav1.NewTime(at.Add(5*time.Second))), new(int64(5))
}

func deadlineAt(p *corev1.Pod, at metav1.Time) {
	p.Status.StartTime, p.Spec.ActiveDeadlineSeconds = new(metav1.NewTime(at.Add(-time.Minute))), new(int64(60))
}

// runAgain has a user delete p1 between its completion and its end, and its Job run
// the work again.
func (e *example) runAgain(patient bool) {
	e.interrupted(1, deletedAt)
	e.works[0].patient = patient
	e.add(0, "admin", "delete", "", e.find("p1", kube.ReaperUser, "patch").pod)
	e.pod("plain-1", "p2", "main start", "main completed")
	e.stop("p2", 0, corev1.PodSucceeded)
	e.delete("p2", 20)
	e.theJob("plain-1").Status.Failed = 1
}

func mainEnded(p corev1.Pod, code int32) corev1.Pod {
	p = *p.DeepCopy()
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	return p
}

func stopped(p corev1.Pod, phase corev1.PodPhase) corev1.Pod {
	p = *p.DeepCopy()
	p.Annotations[api.StoppedAnnotation] = essential.Record{At: start, Phase: phase, Because: "because"}.String()
	return p
}

// native makes the sidecar of a pod of the Job in mode Native native.
func native(p *corev1.Pod) {
	if p.UID == "n1" {
		p.Spec.InitContainers = []corev1.Container{{Name: "sidecar"}}
		if s := p.Status.ContainerStatuses; len(s) > 1 {
			p.Status.InitContainerStatuses, p.Status.ContainerStatuses = s[1:], s[:1]
		}
	}
}

func TestJudge(t *testing.T) {
	for sentence, tt := range map[string]struct {
		change func(*example)
		want   []string
	}{
		"nothing is wrong": {func(*example) {}, nil},

		"nothing was stopped":               {func(e *example) { *e = example{records{looks: e.looks}} }, []string{"I0 the run: no pod was stopped"}},
		"no metrics were read":              {func(e *example) { e.looks = nil }, []string{"I0 the run: no reaper stopped 15 of the last pods, which show a leak: the most are 0"}},
		"the audit log does not have a pod": {func(e *example) { e.without("i1", func(write) bool { return true }) }, []string{"I0 ignored-4: pod i1 ran, and the audit log does not have it"}},
		"competing pods never had to wait": {func(e *example) {
			e.work(work{name: "competing-8", leftAlone: true, completions: 11}, 0)
			for _, uid := range strings.Fields("c2 c3 c4 c5 c6 c7 c8 c9 d1 d2 d3") {
				e.left = append(e.left, e.pod("competing-8", types.UID(uid), "main start", "main completed"))
			}
		}, []string{"I0 the run: none of 12 competing pods had to wait for a tracked pod"}},
		"no stop shows the step of the clock": {func(e *example) { e.steps = []step{{after(-10), after(10), time.Minute}} },
			[]string{"I0 the run: the clock was stepped, and none of 4 stops during that time shows it"}},
		"the kubelet could start little": {func(e *example) { e.work(work{name: "plain-8"}, 0); e.notStarted("b1", "b2", "b3") },
			[]string{"I0 the run: the kubelet could not start the main of 3 of 11 pods"}},
		"no labelled pod was created while hostile bodies were sent": {func(e *example) { e.hostile.addAll(413) }, []string{"I0 the run: no labelled pod was created while hostile bodies were sent"}},
		"few of the last pods were stopped": {func(e *example) { e.looks[2][0].stops = 23 },
			[]string{"I0 the run: no reaper stopped 15 of the last pods, which show a leak: the most are 14"}},
		"the reaper was restarted while the last pods ran": {func(e *example) { e.looks[2][0].born = 2 },
			[]string{"I0 the run: no reaper stopped 15 of the last pods, which show a leak: the most are 0"}},

		"a completed pod was never stopped, and is left": {func(e *example) {
			e.without("p1", func(w write) bool { return essential.IsStopped(&w.pod) })
			e.unsay("p1", "sidecar", terminated, ended)
			e.left = append(e.left, mainEnded(e.last("p1").pod, 0))
		}, []string{"I1 plain-1-p1: it is left, with the phase Running", "I1 plain-1-p1: its main completed and it was never stopped", "I1 plain-1-p1: its sidecar got no SIGTERM"}},
		"a completed pod whose sidecar the kubelet could not start was never stopped": {func(e *example) { e.unsay("g1", "sidecar", started, ended) }, nil},
		"a stopped pod is left": {func(e *example) { e.without("p1", deletes); e.left = append(e.left, e.last("p1").pod) }, []string{"I1 plain-1-p1: it is left, with the phase Succeeded"}},
		"a stopped pod does not end": {func(e *example) {
			e.without("p1", func(w write) bool { return essential.IsTerminal(&w.pod) })
			e.left = append(e.left, e.last("p1").pod)
		}, []string{"I1 plain-1-p1: it is left, with the phase Running"}},
		"a pod was stopped although the kubelet ends it": {func(e *example) {
			e.add(0, kube.ReaperUser, "patch", "", stopped(e.last("n1").pod, corev1.PodSucceeded))
		}, []string{"I1 native-5-n1: it was stopped, and its sidecar is native"}},
		"a native sidecar got no signal": {func(e *example) { e.unsay("n1", "sidecar", terminated) }, []string{"I1 native-5-n1: its sidecar got no SIGTERM"}},
		"a pod that the kubelet has ended is not deleted": {func(e *example) { e.without("n1", deletes); e.left = append(e.left, e.last("n1").pod) },
			[]string{"I1 native-5-n1: it is left, with the phase Succeeded"}},
		"a pod was deleted before its retention was over":          {func(e *example) { e.last("p1").at = after(10) }, []string{"I1 plain-1-p1: deleted 9s after its end, its retention is 10s"}},
		"a pod was deleted sooner because the clock was set ahead": {func(e *example) { e.last("p1").at = after(5); e.steps = []step{{after(3), after(20), time.Minute}} }, nil},
		"a pod was deleted before its retention was over, and before the clock was set ahead": {func(e *example) {
			e.last("p1").at = after(5)
			e.steps = []step{{after(6), after(20), time.Minute}}
		}, []string{"I1 plain-1-p1: deleted 4s after its end, its retention is 10s"}},
		"or although the clock was only set back": {func(e *example) { e.last("p1").at = after(10); e.steps = []step{{after(3), after(6), -time.Minute}} },
			[]string{"I1 plain-1-p1: deleted 9s after its end, its retention is 10s"}},
		"stops were recorded with a clock that was ahead": {func(e *example) {
			e.steps = []step{{after(-60), after(60), time.Minute}}
			for i := range e.writes {
				if stop, ok := essential.StopOf(&e.writes[i].pod); ok {
					stop.At = after(60)
					e.writes[i].pod.Annotations[api.StoppedAnnotation] = stop.String()
				}
			}
		}, nil},
		"a pod was deleted while its sidecar ran": {func(e *example) { e.last("p1").pod = e.find("p1", kube.ReaperUser, "patch").pod },
			[]string{"I1 plain-1-p1: deleted by the reaper while containers ran: main ended with 0, sidecar runs"}},
		"a pod was deleted without a stop": {func(e *example) {
			e.without("p1", func(w write) bool { return !deletes(w) && essential.IsStopped(&w.pod) })
			delete(e.last("p1").pod.Annotations, api.StoppedAnnotation)
		}, []string{"I1 plain-1-p1: its main completed and it was never stopped"}},
		"a sidecar was killed without a word": {func(e *example) { e.unsay("p1", "sidecar", terminated, ended) }, []string{"I1 plain-1-p1: its sidecar got no SIGTERM"}},
		"a failure for good stopped nothing": {func(e *example) {
			e.without("f1", func(w write) bool { return essential.IsStopped(&w.pod) })
			e.left[0] = mainEnded(e.last("f1").pod, 1)
		}, []string{"I1 failing-2-f1: it is left, with the phase Running", "I1 failing-2-f1: its main failed for good and it was never stopped"}},

		"a stop while main ran": {func(e *example) {
			w := e.find("p1", kube.ReaperUser, "patch")
			w.at, w.pod.Status = after(-2), e.find("p1", jobController, "create").pod.Status
		}, []string{"I2 plain-1-p1: recorded as Succeeded while main had not completed: "}},
		"a record before the completion": {func(e *example) {
			i := slices.IndexFunc(e.lines, func(l line) bool { return l.pod == "r1" && l.word == completed })
			e.lines[i].at = after(1)
		}, []string{"I2 retried-3-r1: recorded as Succeeded while main had not completed: main ended with 0, sidecar runs"}},
		"a stop after a failure that the kubelet would have retried": {func(e *example) {
			w := e.find("r1", kube.ReaperUser, "patch")
			w.pod = stopped(mainEnded(w.pod, 1), corev1.PodFailed)
		}, []string{"I1 retried-3-r1: its main completed and it was stopped as Failed", "I2 retried-3-r1: recorded as Failed while main had not failed for good: main ended with 1, sidecar runs"}},
		"a failure was stopped as a completion": {func(e *example) {
			w := e.find("f1", kube.ReaperUser, "patch")
			w.pod = stopped(w.pod, corev1.PodSucceeded)
			e.last("f1").pod.Status.Phase = corev1.PodSucceeded
		}, []string{
			"I1 failing-2-f1: its main failed for good and it was stopped as Succeeded",
			"I2 failing-2-f1: recorded as Succeeded while main had not completed: main ended with 1, sidecar runs",
			`I8 failing-2-f1: its phase was Succeeded, reason "", and must be Failed: main's last word was "failed"`,
		}},
		"a failed pod was deleted": {func(e *example) { e.left = e.left[1:]; e.delete("f1", 2) },
			[]string{"I2 failing-2-f1: deleted by the reaper with the phase Failed", "I2 failing-2-f1: its main failed and it is gone"}},
		"the reaper wrote a status": {func(e *example) { e.find("p1", kube.ReaperUser, "patch").subresource = "status" },
			[]string{"I2 plain-1-p1: patch of status by the reaper, which has nothing to write there"}},
		"a write of the reaper records nothing": {func(e *example) { e.add(0, kube.ReaperUser, "patch", "", e.find("p1", jobController, "create").pod) },
			[]string{"I2 plain-1-p1: patch by the reaper that records nothing"}},
		"a pod whose failure is ignored was stopped": {func(e *example) {
			e.add(0, kube.ReaperUser, "patch", "", stopped(mainEnded(e.last("i1").pod, 1), corev1.PodFailed))
		}, []string{"I2 ignored-4-i1: patch by the reaper, which has to leave it alone"}},
		"a pod of another user was deleted":           {func(e *example) { e.pod("other", "o1"); e.delete("o1", 0) }, []string{"I2 other-o1: delete by the reaper, and it is not of this run"}},
		"a pod that is left alone is gone":            {func(e *example) { e.left = slices.Delete(e.left, 1, 2) }, []string{"I2 ignored-4-i1: it had to remain and is gone"}},
		"a sidecar got SIGTERM before main had ended": {func(e *example) { e.lines[2], e.lines[3] = e.lines[3], e.lines[2] }, []string{"I2 plain-1-p1: its sidecar got SIGTERM before main had ended"}},
		"a sidecar got SIGTERM between two attempts of main": {func(e *example) {
			i := slices.IndexFunc(e.lines, func(l line) bool { return l.pod == "r1" && l.word == completed })
			e.lines = slices.Insert(e.lines, i, line{"retried-3", "r1", "sidecar", terminated, start})
		}, []string{"I2 retried-3-r1: its sidecar got SIGTERM before main had ended"}},

		"a main ran twice": {func(e *example) { e.say("plain-1", "p1", "main start", "main completed") }, []string{`I3 plain-1: main wrote "completed" 2 times, want 1`}},
		"a main was started again after it had completed": {func(e *example) { e.say("plain-1", "p1", "main start") }, []string{`I3 plain-1: main wrote "start" 2 times, want 1`}},
		"a main got a signal without a cause": {func(e *example) { e.pod("plain-1", "p2", "main start", "main interrupted") },
			[]string{`I3 plain-1: main wrote "interrupted" 1 times, want 0`, "I3 plain-1: the Job counts succeeded 1 and failed 0, want 1 and 1"}},
		"a main was not interrupted on purpose": {func(e *example) { e.works[0].interruptions = 1 }, []string{`I3 plain-1: main wrote "interrupted" 0 times, want 1 to 3`}},
		"a Job is not complete": {func(e *example) { e.theJob("plain-1").Status = batchv1.JobStatus{Active: 1} },
			[]string{"I3 plain-1: the Job counts succeeded 0 and failed 0, want 1 and 0", "I3 plain-1: the Job is not complete: active 1, succeeded 0, failed 0"}},
		"a Job counts a failure": {func(e *example) { e.theJob("plain-1").Status.Failed = 1 },
			[]string{"I3 plain-1: the Job counts succeeded 1 and failed 1, want 1 and 0"}},
		"a Job counts no failure": {func(e *example) { e.theJob("failing-2").Status.Failed = 0 },
			[]string{"I3 failing-2: the Job counts succeeded 1 and failed 0, want 1 and 1"}},
		"a Job is gone": {func(e *example) { e.jobs = e.jobs[1:] }, []string{"I3 plain-1: the Job is gone"}},
		"a user deleted the pod after its completion":      {func(e *example) { e.interrupted(1, deletedAt) }, nil},
		"work ran again, since its pod was deleted before": {func(e *example) { e.runAgain(false) }, nil},
		"work ran again, although its Job waits for the pod's end": {func(e *example) { e.runAgain(true) },
			[]string{`I3 plain-1: main wrote "completed" 2 times, want 1`, "I3 plain-1: the Job counts succeeded 1 and failed 1, want 1 and 0"}},
		"the kubelet could not start a main, and another one ran": {func(e *example) { e.startAgain("main start", "main completed") }, nil},
		"the kubelet could not start a main, and two others ran": {func(e *example) { e.startAgain("main start", "main completed", "main start", "main completed") },
			[]string{`I3 plain-8: main wrote "completed" 2 times, want 1`}},

		"a sidecar is not native": {func(e *example) { e.find("n1", jobController, "create").pod.Spec.InitContainers = nil }, []string{"I4 native-5-n1: its sidecar is not native"}},
		"a pod was admitted untracked": {func(e *example) {
			delete(e.find("p1", jobController, "create").pod.Annotations, api.TrackedAnnotation)
		}, []string{`I4 plain-1-p1: namespace faults, label "main": tracked is "", want "main"`}},
		"a pod is tracked although its namespace has not opted in": {func(e *example) { e.find("i1", jobController, "create").pod.Namespace = elsewhere },
			[]string{`I4 ignored-4-i1: namespace faults-elsewhere, label "main": tracked is "main", want ""`}},

		"a process leaks pods": {func(e *example) {
			e.looks[2][0] = sample{pod: "reaper-1", born: 1, goroutines: 55, fds: 18, memory: 46 << 20, stops: 24}
		}, []string{
			"I5 reaper-1: 18 file descriptors, 12 before it stopped 15 pods", "I5 reaper-1: 46 MiB of memory, 30 before it stopped 15 pods",
			"I5 reaper-1: 55 goroutines, 40 before it stopped 15 pods",
		}},
		"a process leaks during the faults": {func(e *example) { e.looks[1][0].goroutines, e.looks[2][0].goroutines = 121, 121 }, []string{"I5 reaper-1: 121 goroutines, 40 before it stopped 29 pods"}},
		"a process was restarted during the faults": {func(e *example) {
			for i := 1; i < 3; i++ {
				e.looks[i][0].born, e.looks[i][0].goroutines = 2, 400
			}
		}, nil},
		"a process panicked":          {func(e *example) { e.exits["a"] = exit{"webhook-1", 2, "Error"} }, []string{"I6 webhook-1: it panicked"}},
		"a process ran out of memory": {func(e *example) { e.exits["a"] = exit{"reaper-1", 137, "OOMKilled"} }, []string{"I6 reaper-1: it ran out of memory"}},
		"a process was killed, and one lost its Lease": {func(e *example) {
			e.exits["a"], e.exits["b"] = exit{"reaper-1", 137, "Error"}, exit{"reaper-1", 1, "Error"}
		}, nil},
		"the webhook answered a bad body with 500": {func(e *example) { e.bad.addAll(200, 400, 0, 500) }, []string{`I6 the webhook: answered 500 to "{"`}},
		"the webhook had no room for a bad body":   {func(e *example) { e.bad.addAll(503) }, []string{"I6 the webhook: answered 503 to 1 bad bodies without a flood"}},
		"the webhook answered a hostile body with 500, and had no room for others": {func(e *example) {
			e.hostile.addAll(503, 413, 500)
			e.bad.addAll(503)
			e.probes.admitted = 1
		}, []string{`I6 the webhook: answered 500 to "{"`}},
		"a labelled pod was refused": {func(e *example) { e.probes = probes{admitted: 1, refused: []string{"late"}} },
			[]string{"I6 the webhook: a labelled pod was refused while hostile bodies were sent: late"}},

		"a terminal phase while the API has a container that runs": {func(e *example) { e.find("p1", kube.ReaperUser, "patch").pod.Status.Phase = corev1.PodSucceeded },
			[]string{"I7 plain-1-p1: its phase was Succeeded, and main ended with 0, sidecar runs"}},
		"a terminal phase while another container runs": {func(e *example) {
			e.lines = append(e.lines, line{"plain-1", "p1", "sidecar", ended, after(3)})
		}, []string{`I7 plain-1-p1: its phase was Succeeded, and sidecar wrote "ended" 2.0 s later`}},
		"a completion ended as a failure": {func(e *example) {
			e.find("g1", kubelet, "patch").pod.Status.Phase = corev1.PodFailed
			e.theJob("ragged-6").Status.Failed = 1
		}, []string{"I3 ragged-6: the Job counts succeeded 1 and failed 1, want 1 and 0", `I8 ragged-6-g1: its phase was Failed, reason "", and must be Succeeded: main's last word was "completed"`}},
		"a main was killed, and ended as a completion": {func(e *example) { e.unsay("p1", "main", completed) }, []string{
			"I2 plain-1-p1: its sidecar got SIGTERM before main had ended",
			"I2 plain-1-p1: recorded as Succeeded while main had not completed: main ended with 0, sidecar runs",
			`I3 plain-1: main wrote "completed" 0 times, want 1`,
			`I3 plain-1: main wrote "start" 1 times, want 0`,
			"I3 plain-1: the Job counts succeeded 1 and failed 0, want 1 and 1",
			`I8 plain-1-p1: its phase was Succeeded, reason "", and must be Failed: main's last word was "start"`,
		}},
		"a completion before the pod's deadline":                 {func(e *example) { e.interrupted(1, deadlineAt) }, nil},
		"a completion in about the second of the pod's deadline": {func(e *example) { e.interrupted(-1.5, deadlineAt); e.theJob("plain-1").Status.Failed = 1 }, nil},
		"a completion after the pod's deadline": {func(e *example) { e.interrupted(-4, deadlineAt) },
			[]string{"I3 plain-1: the Job counts succeeded 1 and failed 0, want 1 and 1", `I8 plain-1-p1: its phase was Succeeded, reason "", and must be Failed: main's last word was "completed"`}},
		"an eviction": {func(e *example) {
			e.without("g1", deletes)
			e.last("g1").pod.Status.Phase, e.last("g1").pod.Status.Reason = corev1.PodFailed, "Evicted"
			e.theJob("ragged-6").Status.Failed = 1
		}, nil},
		"the kubelet rejected a pod": {func(e *example) {
			e.last("c1").pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfcpu", Message: "the node has too little"}
			e.theJob("competing-7").Status = batchv1.JobStatus{Failed: 1}
			e.unsay("c1", "main", started, completed)
		}, []string{
			`I3 competing-7: main wrote "completed" 0 times, want 1`,
			"I3 competing-7: the Job counts succeeded 0 and failed 1, want 1 and 1",
			"I3 competing-7: the Job is not complete: active 0, succeeded 0, failed 1",
			"I9 competing-7-c1: it was rejected: OutOfcpu, the node has too little",
		}},
	} {
		t.Run(sentence, func(t *testing.T) {
			e := anExample()
			tt.change(e)
			var got []string
			for _, v := range judge(&e.records) {
				got = append(got, v.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func (e *example) startAgain(words ...string) {
	e.work(work{name: "plain-8", job: true, completions: 1}, 1)
	e.notStarted("b1")
	e.pod("plain-8", "b2", words...)
	e.stop("b2", 0, corev1.PodSucceeded)
	e.delete("b2", 2)
}

func (a *answers) addAll(codes ...int) {
	for _, code := range codes {
		a.add(code, []byte("{"))
	}
}
