package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

const (
	kubelet       = "system:node:node1"
	jobController = "system:serviceaccount:kube-system:job-controller"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// scene builds the records of a run in which nothing went wrong, to be spoilt.
type scene struct{ records }

// aScene has one work of every fate: a Job, one whose first pod fails, one that
// is retried by the kubelet, a pod that is left alone, and a Job in mode Native.
func aScene() *scene {
	s := &scene{}
	s.samples = []sample{{at: start, pod: "reaper-1", born: 1, goroutines: 40, fds: 12, memory: 30 << 20}}

	s.aWork(work{name: "plain-1", job: true, completions: 1, retention: 10 * time.Second}, 0)
	s.says("plain-1", "p1", "main start", "sidecar start", "main completed", "sidecar SIGTERM")
	s.runs("plain-1", "p1")
	s.stops(ended("plain-1", "p1", 0), corev1.PodSucceeded)
	s.deletes(11*time.Second, ended("plain-1", "p1", 0))

	s.aWork(work{name: "failing-2", job: true, fate: failsFirst, completions: 1, failures: 1}, 1)
	s.says("failing-2", "f1", "main start", "sidecar start", "main failed", "sidecar SIGTERM")
	s.runs("failing-2", "f1")
	s.stops(ended("failing-2", "f1", 1), corev1.PodFailed)
	s.left = append(s.left, s.writes[len(s.writes)-1].pod)
	s.says("failing-2", "f2", "main start", "sidecar start", "main completed", "sidecar SIGTERM")
	s.runs("failing-2", "f2")
	s.stops(ended("failing-2", "f2", 0), corev1.PodSucceeded)
	s.deletes(time.Second, ended("failing-2", "f2", 0))

	s.aWork(work{name: "retried-3", job: true, completions: 1, failures: 1}, 0)
	s.says("retried-3", "r1", "main start", "main failed", "sidecar start", "main start", "main completed", "sidecar SIGTERM")
	s.runs("retried-3", "r1")
	s.stops(ended("retried-3", "r1", 0), corev1.PodSucceeded)
	s.deletes(time.Second, ended("retried-3", "r1", 0))

	s.aWork(work{name: "ignored-4", fate: untouched, failures: 1}, 0)
	s.says("ignored-4", "i1", "main start", "sidecar start", "main failed")
	s.runs("ignored-4", "i1")
	s.left = append(s.left, ended("ignored-4", "i1", 1))

	s.aWork(work{name: "native-5", job: true, native: true, completions: 1}, 0)
	s.says("native-5", "n1", "sidecar start", "main start", "main completed", "sidecar SIGTERM")
	s.writes = append(s.writes,
		write{start, jobController, "create", "", native(aPod("native-5", "n1"))},
		write{start, kubelet, "patch", "status", succeeded("native-5", "n1")},
		write{start, kube.ReaperUser, "delete", "", succeeded("native-5", "n1")})
	return s
}

func (s *scene) aWork(w work, jobFailures int32) {
	s.works = append(s.works, w)
	if w.job {
		s.jobs = append(s.jobs, batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: w.name}, Status: batchv1.JobStatus{
			Succeeded: int32(w.completions), Failed: jobFailures,
			Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}},
		}})
	}
}

func (s *scene) says(work string, pod types.UID, words ...string) {
	for _, w := range words {
		l := line{work: work, pod: pod}
		if _, err := fmt.Sscan(w, &l.container, &l.word); err != nil {
			panic(err)
		}
		s.lines = append(s.lines, l)
	}
}

func (s *scene) runs(work string, pod types.UID) {
	s.writes = append(s.writes, write{start, jobController, "create", "", aPod(work, pod)},
		write{start, kubelet, "patch", "status", running(work, pod)})
}

// stops is the reaper's stop of a pod, and the kubelet's answer.
func (s *scene) stops(pod corev1.Pod, phase corev1.PodPhase) {
	s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "status", stopped(pod, phase)})
	s.writes = append(s.writes, write{start.Add(time.Second), kubelet, "patch", "status", quiet(stopped(pod, phase))})
}

func (s *scene) deletes(after time.Duration, pod corev1.Pod) {
	s.writes = append(s.writes, write{start.Add(after), kube.ReaperUser, "delete", "", quiet(stopped(pod, corev1.PodSucceeded))})
}

// aheadAllTheTime has the reaper stop and delete with a clock that is ahead.
func (s *scene) aheadAllTheTime(ahead time.Duration) {
	s.steps = []step{{start.Add(-time.Minute), start.Add(time.Minute), ahead}}
	for i := range s.writes {
		if pod := &s.writes[i].pod; essential.Stopped(pod) {
			pod.Annotations[essential.StoppedAnnotation] = start.Add(ahead).Format(time.RFC3339Nano)
			pod.Status.Conditions[0].LastTransitionTime = metav1.NewTime(start.Add(ahead))
		}
	}
}

// write finds one, to spoil it.
func (s *scene) write(pod types.UID, by, verb string) *write {
	for i := range s.writes {
		if w := &s.writes[i]; w.pod.UID == pod && w.by == by && w.verb == verb {
			return w
		}
	}
	panic("no such write")
}

// without removes all writes of this sort.
func (s *scene) without(pod types.UID, unwanted func(write) bool) {
	s.writes = slices.DeleteFunc(s.writes, func(w write) bool { return w.pod.UID == pod && unwanted(w) })
}

// breaksOff is a pod whose main the kubelet could not start.
func (s *scene) breaksOff(work string, uid types.UID) corev1.Pod {
	p := ended(work, uid, 128)
	p.Status.ContainerStatuses[0].State.Terminated.Reason = "StartError"
	s.writes = append(s.writes, write{start, kubelet, "patch", "status", p})
	s.left = append(s.left, p)
	return p
}

func aPod(work string, uid types.UID) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: optedIn, Name: work + "-" + string(uid), UID: uid,
		Labels:      map[string]string{workLabel: work, essential.Label: "main"},
		Annotations: map[string]string{essential.TrackedAnnotation: "main"},
	}}
}

func running(work string, uid types.UID) corev1.Pod {
	p := aPod(work, uid)
	p.Status.Phase = corev1.PodRunning
	for _, name := range []string{"main", "sidecar"} {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
	return p
}

// ended is a pod whose main has ended beside its sidecar.
func ended(work string, uid types.UID, code int32) corev1.Pod {
	p := running(work, uid)
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	return p
}

func stopped(p corev1.Pod, phase corev1.PodPhase) corev1.Pod {
	p = *p.DeepCopy()
	p.Annotations[essential.StoppedAnnotation] = start.Format(time.RFC3339Nano)
	p.Status.Phase = phase
	p.Status.Conditions = []corev1.PodCondition{{Type: essential.StoppedCondition, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(start)}}
	return p
}

// quiet is a pod of which nothing runs any more.
func quiet(p corev1.Pod) corev1.Pod {
	p = *p.DeepCopy()
	p.Status.ContainerStatuses[1].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 143}}
	return p
}

// native has admission make the sidecar of a pod native.
func native(p corev1.Pod) corev1.Pod {
	p.Spec.InitContainers = []corev1.Container{{Name: "sidecar"}}
	if len(p.Status.ContainerStatuses) > 1 {
		p.Status.InitContainerStatuses, p.Status.ContainerStatuses = p.Status.ContainerStatuses[1:], p.Status.ContainerStatuses[:1]
	}
	return p
}

// succeeded is a pod that the kubelet has ended.
func succeeded(work string, uid types.UID) corev1.Pod {
	p := native(quiet(ended(work, uid, 0)))
	p.Status.Phase = corev1.PodSucceeded
	return p
}

func TestJudge(t *testing.T) {
	for sentence, tt := range map[string]struct {
		spoil func(*scene)
		want  []string
	}{
		"nothing is wrong": {spoil: func(*scene) {}},

		"a run in which nothing was stopped": {
			spoil: func(s *scene) { *s = scene{records{samples: s.samples}} },
			want:  []string{"I0 the run: no pod was stopped"},
		},
		"a run without metrics": {
			spoil: func(s *scene) { s.samples = nil },
			want:  []string{"I0 the run: no metrics were read"},
		},
		"a pod that the audit log does not know": {
			spoil: func(s *scene) { s.without("i1", func(write) bool { return true }) },
			want:  []string{"I0 ignored-4: pod i1 ran, and the audit log does not know it"},
		},

		"a completed pod that was never stopped, and is left": {
			spoil: func(s *scene) {
				s.without("p1", func(w write) bool { return w.verb == "delete" || essential.Stopped(&w.pod) })
				s.lines = slices.DeleteFunc(s.lines, func(l line) bool { return l.pod == "p1" && l.word == terminated })
				s.left = append(s.left, ended("plain-1", "p1", 0))
			},
			want: []string{
				"I1 plain-1-p1: its main completed and it was never stopped",
				"I1 plain-1-p1: it is left, with the phase Running",
				"I1 plain-1-p1: its sidecar got no SIGTERM",
			},
		},
		"a stopped pod that is left": {
			spoil: func(s *scene) {
				s.without("p1", func(w write) bool { return w.verb == "delete" })
				s.left = append(s.left, quiet(stopped(ended("plain-1", "p1", 0), corev1.PodSucceeded)))
			},
			want: []string{"I1 plain-1-p1: it is left, with the phase Succeeded"},
		},
		"a pod that was stopped although the kubelet ends it": {
			spoil: func(s *scene) {
				s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "status", native(stopped(ended("native-5", "n1", 0), corev1.PodSucceeded))})
			},
			want: []string{"I1 native-5-n1: it was stopped, and its sidecar is native"},
		},
		"a native sidecar that was not told to end": {
			spoil: func(s *scene) {
				s.lines = slices.DeleteFunc(s.lines, func(l line) bool { return l.pod == "n1" && l.word == terminated })
			},
			want: []string{"I1 native-5-n1: its sidecar got no SIGTERM"},
		},
		"a pod that went before the kubelet had ended it": {
			spoil: func(s *scene) { s.write("n1", kube.ReaperUser, "delete").pod.Status.Phase = corev1.PodRunning },
			want:  []string{"I1 native-5-n1: deleted by the reaper before the kubelet had ended it: phase Running"},
		},
		"a pod that the kubelet has ended and nobody deletes": {
			spoil: func(s *scene) {
				s.without("n1", func(w write) bool { return w.verb == "delete" })
				s.left = append(s.left, succeeded("native-5", "n1"))
			},
			want: []string{"I1 native-5-n1: it is left, with the phase Succeeded"},
		},
		"a sidecar that was to be native": {
			spoil: func(s *scene) { s.write("n1", jobController, "create").pod.Spec.InitContainers = nil },
			want:  []string{"I4 native-5-n1: its sidecar is not native"},
		},
		"a pod that went before its retention was over": {
			spoil: func(s *scene) { s.write("p1", kube.ReaperUser, "delete").at = start.Add(9 * time.Second) },
			want:  []string{"I1 plain-1-p1: deleted 9s after it was stopped, its retention is 10s"},
		},
		"a pod that went sooner because the clock was set ahead meanwhile": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "delete").at = start.Add(5 * time.Second)
				s.steps = []step{{start.Add(3 * time.Second), start.Add(20 * time.Second), time.Minute}}
			},
		},
		"a pod that went before its retention was over, and before the clock was set ahead": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "delete").at = start.Add(5 * time.Second)
				s.steps = []step{{start.Add(6 * time.Second), start.Add(20 * time.Second), time.Minute}}
			},
			want: []string{"I1 plain-1-p1: deleted 5s after it was stopped, its retention is 10s"},
		},
		"or although it was only set back": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "delete").at = start.Add(9 * time.Second)
				s.steps = []step{{start.Add(3 * time.Second), start.Add(6 * time.Second), -time.Minute}}
			},
			want: []string{"I1 plain-1-p1: deleted 9s after it was stopped, its retention is 10s"},
		},
		"a pod that came and went with a clock that was ahead": {
			spoil: func(s *scene) { s.aheadAllTheTime(time.Minute) },
		},
		"and went before its retention was over by that clock": {
			spoil: func(s *scene) {
				s.aheadAllTheTime(time.Minute)
				s.write("p1", kube.ReaperUser, "delete").at = start.Add(9 * time.Second)
			},
			want: []string{"I1 plain-1-p1: deleted 9s after it was stopped, its retention is 10s"},
		},
		"a clock that was stepped, and no stop shows it": {
			spoil: func(s *scene) {
				s.steps = []step{{start.Add(-10 * time.Second), start.Add(10 * time.Second), time.Minute}}
			},
			want: []string{"I0 the run: the clock was stepped, and none of 4 stops meanwhile shows it"},
		},
		"a pod deleted while its sidecar ran": {
			spoil: func(s *scene) {
				w := s.write("p1", kube.ReaperUser, "delete")
				w.pod = stopped(ended("plain-1", "p1", 0), corev1.PodSucceeded)
			},
			want: []string{"I1 plain-1-p1: deleted by the reaper while containers ran: main ended with 0, sidecar runs"},
		},
		"a pod deleted without a record of its stop": {
			spoil: func(s *scene) { s.write("p1", kube.ReaperUser, "delete").pod.Status.Conditions = nil },
			want:  []string{"I1 plain-1-p1: deleted by the reaper without a record of the stop"},
		},
		"a pod deleted without a stop": {
			spoil: func(s *scene) {
				s.without("p1", func(w write) bool { return w.verb != "delete" && essential.Stopped(&w.pod) })
				w := s.write("p1", kube.ReaperUser, "delete")
				w.pod = ended("plain-1", "p1", 0)
			},
			want: []string{
				"I1 plain-1-p1: its main completed and it was never stopped",
				"I1 plain-1-p1: deleted by the reaper without having been stopped",
			},
		},
		"a sidecar that was killed without a word": {
			spoil: func(s *scene) {
				s.lines = slices.DeleteFunc(s.lines, func(l line) bool { return l.pod == "p1" && l.word == terminated })
			},
			want: []string{"I1 plain-1-p1: its sidecar got no SIGTERM"},
		},
		"a failure for good that stopped nothing": {
			spoil: func(s *scene) {
				s.without("f1", func(w write) bool { return essential.Stopped(&w.pod) })
				s.left[0] = ended("failing-2", "f1", 1)
			},
			want: []string{
				"I1 failing-2-f1: its main failed for good and it was never stopped",
				"I1 failing-2-f1: it is left, with the phase Running",
			},
		},

		"a stop while main ran": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "patch").pod = stopped(running("plain-1", "p1"), corev1.PodSucceeded)
			},
			want: []string{"I2 plain-1-p1: patch of status by the reaper while main had not ended: main runs, sidecar runs"},
		},
		"a deletion while main ran": {
			spoil: func(s *scene) { s.write("p1", kube.ReaperUser, "delete").pod = running("plain-1", "p1") },
			want:  []string{"I2 plain-1-p1: delete by the reaper while main had not ended: main runs, sidecar runs"},
		},
		"a stop after a failure that the kubelet would have tried again": {
			spoil: func(s *scene) {
				s.write("r1", kube.ReaperUser, "patch").pod = stopped(ended("retried-3", "r1", 1), corev1.PodFailed)
			},
			want: []string{
				"I1 retried-3-r1: its main completed and it was stopped as Failed",
				"I2 retried-3-r1: patch of status by the reaper after main had failed with 1, which stops nothing here",
			},
		},
		"a failure that was stopped as a success": {
			spoil: func(s *scene) {
				s.write("f1", kube.ReaperUser, "patch").pod = stopped(ended("failing-2", "f1", 1), corev1.PodSucceeded)
			},
			want: []string{
				"I1 failing-2-f1: its main failed for good and it was stopped as Succeeded",
				"I2 failing-2-f1: patch of status by the reaper, phase Succeeded, after main had failed with 1",
			},
		},
		"a failed pod that was deleted": {
			spoil: func(s *scene) {
				s.left = s.left[1:]
				s.writes = append(s.writes, write{start, kube.ReaperUser, "delete", "", quiet(stopped(ended("failing-2", "f1", 1), corev1.PodFailed))})
			},
			want: []string{
				"I2 failing-2-f1: its main failed and it was deleted (" + kube.ReaperUser + ")",
				"I2 failing-2-f1: delete by the reaper, phase Failed, after main had failed with 1",
			},
		},
		"a pod whose failure is to be ignored, stopped": {
			spoil: func(s *scene) {
				p := stopped(ended("ignored-4", "i1", 1), corev1.PodFailed)
				s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "status", p})
				s.left[1] = p
			},
			want: []string{
				"I1 ignored-4-i1: it is left, with the phase Failed",
				"I2 ignored-4-i1: patch of status by the reaper, and it was to be left alone",
			},
		},
		"a pod of somebody else, deleted": {
			spoil: func(s *scene) {
				s.writes = append(s.writes, write{start, kube.ReaperUser, "delete", "", ended("other", "o1", 0)})
			},
			want: []string{"I2 other-o1: delete by the reaper, and nobody here created it"},
		},
		"a pod that was to be left alone, gone": {
			spoil: func(s *scene) { s.left = s.left[:1] },
			want:  []string{"I2 ignored-4-i1: it was to stay and is gone (by nobody that the audit log knows)"},
		},
		"a sidecar that was told before main had ended": {
			spoil: func(s *scene) { s.lines[2], s.lines[3] = s.lines[3], s.lines[2] },
			want:  []string{"I2 plain-1-p1: its sidecar got SIGTERM before main had ended (deleted by: " + kube.ReaperUser + ")"},
		},
		"a sidecar that was told between two tries of main": {
			spoil: func(s *scene) { s.says("retried-3", "r1", "sidecar SIGTERM"); moveLastBefore(s, "r1", completed) },
			want:  []string{"I2 retried-3-r1: its sidecar got SIGTERM before main had ended (deleted by: " + kube.ReaperUser + ")"},
		},

		"a main that ran twice": {
			spoil: func(s *scene) { s.says("plain-1", "p1", "main start", "main completed") },
			want: []string{
				`I3 plain-1: main said "start" 2 times, want 1`,
				`I3 plain-1: main said "completed" 2 times, want 1`,
			},
		},
		"a main that was interrupted and ran again": {
			spoil: func(s *scene) { s.says("retried-3", "r1", "main start") },
			want:  []string{`I3 retried-3: main said "start" 3 times, want 2`},
		},
		"a Job that is unfinished": {
			spoil: func(s *scene) {
				s.jobs[0].Status = batchv1.JobStatus{Active: 1}
			},
			want: []string{
				"I3 plain-1: the Job is unfinished: active 1, succeeded 0, failed 0",
				"I3 plain-1: the Job counts succeeded 0 and failed 0, want 1 and 0",
			},
		},
		"a Job that counts a failure": {
			spoil: func(s *scene) { s.jobs[0].Status.Failed = 1 },
			want:  []string{"I3 plain-1: the Job counts succeeded 1 and failed 1, want 1 and 0"},
		},
		"a Job that is gone": {
			spoil: func(s *scene) { s.jobs = s.jobs[1:] },
			want:  []string{"I3 plain-1: the Job is gone"},
		},

		"a pod that was admitted untracked": {
			spoil: func(s *scene) {
				delete(s.write("p1", jobController, "create").pod.Annotations, essential.TrackedAnnotation)
			},
			want: []string{`I4 plain-1-p1: namespace faults, label "main": tracked is "", want "main"`},
		},
		"a pod that is tracked although its namespace has not opted in": {
			spoil: func(s *scene) { s.write("i1", jobController, "create").pod.Namespace = elsewhere },
			want:  []string{`I4 ignored-4-i1: namespace faults-elsewhere, label "main": tracked is "main", want ""`},
		},

		"a pod whose containers the kubelet could not start is not judged by its end": {
			spoil: func(s *scene) {
				s.aWork(work{name: "plain-6", job: true, completions: 1}, 0)
				s.breaksOff("plain-6", "b1")
				s.jobs[4].Status = batchv1.JobStatus{Active: 1}
			},
		},
		"but by what the reaper does to it": {
			spoil: func(s *scene) {
				s.aWork(work{name: "plain-6", job: true, completions: 1}, 0)
				p := s.breaksOff("plain-6", "b1")
				s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "status", stopped(p, corev1.PodFailed)})
			},
			want: []string{"I2 plain-6-b1: patch of status by the reaper after main had failed with 128, which stops nothing here"},
		},
		"and by whether its main ran too often": {
			spoil: func(s *scene) {
				s.aWork(work{name: "plain-6", job: true, completions: 1}, 0)
				s.breaksOff("plain-6", "b1")
				s.says("plain-6", "b1", "main start", "main start")
			},
			want: []string{`I3 plain-6: main said "start" 2 times, want 1`},
		},
		"a run in which the kubelet could start little": {
			spoil: func(s *scene) {
				s.aWork(work{name: "plain-6", job: true, completions: 1}, 0)
				s.breaksOff("plain-6", "b1")
				s.breaksOff("plain-6", "b2")
				s.breaksOff("plain-6", "b3")
			},
			want: []string{"I0 the run: 3 of 9 pods had a container that the kubelet could not start"},
		},

		"a process that leaks": {
			spoil: func(s *scene) {
				s.samples = append(s.samples, sample{at: start.Add(time.Minute), pod: "reaper-1", born: 1, goroutines: 121, fds: 23, memory: 71 << 20})
			},
			want: []string{
				"I5 reaper-1: 121 goroutines, 40 1m0s before",
				"I5 reaper-1: 23 file descriptors, 12 1m0s before",
				"I5 reaper-1: 71 MiB of memory, 30 1m0s before",
			},
		},
		"a process that panicked": {
			spoil: func(s *scene) { s.exits = append(s.exits, exit{"webhook-1", 2, "Error"}) },
			want:  []string{"I6 webhook-1: it panicked"},
		},
		"a process that ran out of memory": {
			spoil: func(s *scene) { s.exits = append(s.exits, exit{"reaper-1", 137, "OOMKilled"}) },
			want:  []string{"I6 reaper-1: it ran out of memory"},
		},
		"a process that was killed, and one that gave its Lease up": {
			spoil: func(s *scene) {
				s.exits = append(s.exits, exit{"reaper-1", 137, "Error"}, exit{"reaper-1", 1, "Error"})
			},
		},
		"a body to which the webhook answered with its own fault": {
			spoil: func(s *scene) {
				s.bad = answers{classes: map[int]int{}}
				for code, body := range map[int]string{200: "good", 400: "bad", 0: "nobody there", 500: "{"} {
					s.bad.add(code, []byte(body))
				}
			},
			want: []string{`I6 the webhook: answered 500 to "{"`},
		},
		"a process that was restarted has a beginning of its own": {
			spoil: func(s *scene) {
				s.samples = append(s.samples, sample{at: start.Add(time.Hour), pod: "reaper-1", born: 2, goroutines: 400, fds: 120, memory: 300 << 20})
			},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := aScene()
			tt.spoil(s)
			var got []string
			for _, v := range judge(s.records) {
				got = append(got, v.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

// moveLastBefore puts the last line before the first of a pod with this word.
func moveLastBefore(s *scene, pod types.UID, word string) {
	last := s.lines[len(s.lines)-1]
	s.lines = s.lines[:len(s.lines)-1]
	i := slices.IndexFunc(s.lines, func(l line) bool { return l.pod == pod && l.word == word })
	s.lines = slices.Insert(s.lines, i, last)
}
