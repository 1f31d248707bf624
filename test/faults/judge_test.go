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

	"github.com/essential-containers/essential-containers/api"
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
// is retried by the kubelet, a pod that is left alone, a Job in mode Native, one
// whose sidecar ends by itself, and one that competes.
func aScene() *scene {
	s := &scene{}
	s.samples = []sample{{at: start, pod: "reaper-1", born: 1, goroutines: 40, fds: 12, memory: 30 << 20}}

	s.aWork(work{name: "plain-1", job: true, completions: 1, retention: 10 * time.Second}, 0)
	s.says("plain-1", "p1", "main start", "sidecar start", "main completed", "sidecar SIGTERM", "sidecar ended")
	s.runs("plain-1", "p1")
	s.stops(endedMain("plain-1", "p1", 0), corev1.PodSucceeded)
	s.deletes(12*time.Second, endedMain("plain-1", "p1", 0))

	s.aWork(work{name: "failing-2", job: true, completions: 1, failures: 1}, 1)
	s.says("failing-2", "f1", "main start", "sidecar start", "main failed", "sidecar SIGTERM")
	s.runs("failing-2", "f1")
	s.stops(endedMain("failing-2", "f1", 1), corev1.PodFailed)
	s.left = append(s.left, s.writes[len(s.writes)-1].pod)
	s.says("failing-2", "f2", "main start", "sidecar start", "main completed", "sidecar SIGTERM")
	s.runs("failing-2", "f2")
	s.stops(endedMain("failing-2", "f2", 0), corev1.PodSucceeded)
	s.deletes(2*time.Second, endedMain("failing-2", "f2", 0))

	s.aWork(work{name: "retried-3", job: true, completions: 1, failures: 1}, 0)
	s.says("retried-3", "r1", "main start", "main failed", "sidecar start", "main start", "main completed", "sidecar SIGTERM")
	s.runs("retried-3", "r1")
	s.stops(endedMain("retried-3", "r1", 0), corev1.PodSucceeded)
	s.deletes(2*time.Second, endedMain("retried-3", "r1", 0))

	s.aWork(work{name: "ignored-4", fate: untouched, failures: 1}, 0)
	s.says("ignored-4", "i1", "main start", "sidecar start", "main failed")
	s.runs("ignored-4", "i1")
	s.left = append(s.left, endedMain("ignored-4", "i1", 1))

	s.aWork(work{name: "native-5", job: true, native: true, completions: 1}, 0)
	s.says("native-5", "n1", "sidecar start", "main start", "main completed", "sidecar SIGTERM")
	s.writes = append(s.writes,
		write{start, jobController, "create", "", native(aPod("native-5", "n1"))},
		write{start.Add(time.Second), kubelet, "patch", "status", native(quiet(endedMain("native-5", "n1", 0), corev1.PodSucceeded))},
		write{start.Add(2 * time.Second), kube.ReaperUser, "delete", "", native(quiet(endedMain("native-5", "n1", 0), corev1.PodSucceeded))})

	s.aWork(work{name: "ragged-6", job: true, completions: 1}, 0)
	s.says("ragged-6", "g1", "main start", "sidecar start", "sidecar ended", "main completed")
	s.runs("ragged-6", "g1")
	s.writes = append(s.writes, write{start.Add(time.Second), kubelet, "patch", "status", quiet(endedMain("ragged-6", "g1", 0), corev1.PodSucceeded)})
	s.deletes(2*time.Second, endedMain("ragged-6", "g1", 0))

	s.aWork(work{name: "competing-7", job: true, fate: untouched, completions: 1}, 0)
	s.says("competing-7", "c1", "main start", "main completed")
	s.writes = append(s.writes,
		write{start, jobController, "create", "", untracked(aPod("competing-7", "c1"))},
		write{start.Add(time.Second), kubelet, "patch", "status", untracked(quiet(endedMain("competing-7", "c1", 0), corev1.PodSucceeded))})
	s.left = append(s.left, s.writes[len(s.writes)-1].pod)
	return s
}

// theJob is the one of a work of the scene.
func (s *scene) theJob(name string) *batchv1.Job {
	return &s.jobs[slices.IndexFunc(s.jobs, func(j batchv1.Job) bool { return j.Name == name })]
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

// says has containers write words: a second before the stop, or, when they get
// SIGTERM, half a second after it.
func (s *scene) says(work string, pod types.UID, words ...string) {
	for _, w := range words {
		l := line{work: work, pod: pod, at: start.Add(-time.Second)}
		if _, err := fmt.Sscan(w, &l.container, &l.word); err != nil {
			panic(err)
		}
		if l.word == terminated {
			l.at = start.Add(time.Second / 2)
		}
		s.lines = append(s.lines, l)
	}
}

// unsays removes the words of a container.
func (s *scene) unsays(pod types.UID, container string, words ...string) {
	s.lines = slices.DeleteFunc(s.lines, func(l line) bool {
		return l.pod == pod && l.container == container && slices.Contains(words, l.word)
	})
}

func (s *scene) runs(work string, pod types.UID) {
	s.writes = append(s.writes, write{start.Add(-3 * time.Second), jobController, "create", "", aPod(work, pod)},
		write{start.Add(-2 * time.Second), kubelet, "patch", "status", running(work, pod)})
}

// stops is the reaper's stop of a pod, and its end a second later.
func (s *scene) stops(pod corev1.Pod, phase corev1.PodPhase) {
	s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "", stopped(pod, phase)},
		write{start.Add(time.Second), kubelet, "patch", "status", quiet(stopped(pod, phase), phase)})
}

func (s *scene) deletes(after time.Duration, pod corev1.Pod) {
	s.writes = append(s.writes, write{start.Add(after), kube.ReaperUser, "delete", "", quiet(stopped(pod, corev1.PodSucceeded), corev1.PodSucceeded)})
}

// aheadAllTheTime has the reaper record its stops with a clock that is ahead.
func (s *scene) aheadAllTheTime(ahead time.Duration) {
	s.steps = []step{{start.Add(-time.Minute), start.Add(time.Minute), ahead}}
	for i := range s.writes {
		if stop, ok := essential.StopOf(&s.writes[i].pod); ok {
			stop.At = start.Add(ahead)
			s.writes[i].pod.Annotations[api.StoppedAnnotation] = stop.String()
		}
	}
}

// runsAgain has a user delete p1 between its completion and its end, and its Job
// run the work again.
func (s *scene) runsAgain(patient bool) {
	s.isCutShort(start.Add(time.Second), deletedAt)
	s.works[0].patient = patient
	s.writes = append(s.writes, write{start, "admin", "delete", "", stopped(endedMain("plain-1", "p1", 0), corev1.PodSucceeded)})
	s.says("plain-1", "p2", "main start", "main completed")
	s.runs("plain-1", "p2")
	s.stops(endedMain("plain-1", "p2", 0), corev1.PodSucceeded)
	s.theJob("plain-1").Status.Failed = 1
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

// end finds the kubelet's last write of a pod.
func (s *scene) end(pod types.UID) *write {
	for i := len(s.writes) - 1; i >= 0; i-- {
		if w := &s.writes[i]; w.pod.UID == pod && w.by == kubelet {
			return w
		}
	}
	panic("no such write")
}

// without removes all writes of this sort.
func (s *scene) without(pod types.UID, unwanted func(write) bool) {
	s.writes = slices.DeleteFunc(s.writes, func(w write) bool { return w.pod.UID == pod && unwanted(w) })
}

// breaksOff is a pod of a new Job whose main the kubelet could not start, and
// which the reaper has stopped for that.
func (s *scene) breaksOff(uid types.UID) {
	p := endedMain("plain-8", uid, 128)
	p.Status.ContainerStatuses[0].State.Terminated.Reason = "StartError"
	s.runs("plain-8", uid)
	s.stops(p, corev1.PodFailed)
	s.left = append(s.left, s.end(uid).pod)
}

// isCutShort has a user delete p1 before its end, or gives it a deadline: main
// completes a second later or earlier, or does not.
func (s *scene) isCutShort(at time.Time, spoil func(*corev1.Pod, metav1.Time)) {
	for i := range s.writes {
		if w := &s.writes[i]; w.pod.UID == "p1" && w.verb == "patch" {
			spoil(&w.pod, metav1.NewTime(at))
		}
	}
}

func deletedAt(p *corev1.Pod, at metav1.Time) {
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = new(metav1.NewTime(at.Add(5*time.Second))), new(int64(5))
}

func deadlineAt(p *corev1.Pod, at metav1.Time) {
	p.Status.StartTime, p.Spec.ActiveDeadlineSeconds = new(metav1.NewTime(at.Add(-time.Minute))), new(int64(60))
}

func aPod(work string, uid types.UID) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: optedIn, Name: work + "-" + string(uid), UID: uid,
		Labels:      map[string]string{workLabel: work, api.Label: "main"},
		Annotations: map[string]string{api.TrackedAnnotation: "main"},
	}}
	if kindOf(work) == "retried" {
		p.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	}
	return p
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

// endedMain is a pod whose main has ended and whose sidecar runs.
func endedMain(work string, uid types.UID, code int32) corev1.Pod {
	p := running(work, uid)
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
	return p
}

func stopped(p corev1.Pod, phase corev1.PodPhase) corev1.Pod {
	p = *p.DeepCopy()
	p.Annotations[api.StoppedAnnotation] = essential.Record{At: start, Phase: phase, Because: "because"}.String()
	return p
}

// quiet is a pod of which nothing runs any more, a second after the stop.
func quiet(p corev1.Pod, phase corev1.PodPhase) corev1.Pod {
	p = *p.DeepCopy()
	p.Status.ContainerStatuses[1].State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 143, FinishedAt: metav1.NewTime(start.Add(time.Second))}}
	p.Status.Phase = phase
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

func untracked(p corev1.Pod) corev1.Pod {
	delete(p.Annotations, api.TrackedAnnotation)
	delete(p.Labels, api.Label)
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

		"competing pods that never had to wait": {
			spoil: func(s *scene) {
				s.aWork(work{name: "competing-8", fate: untouched, completions: 5}, 0)
				for _, uid := range []types.UID{"c2", "c3", "c4", "c5", "c6"} {
					s.says("competing-8", uid, "main start", "main completed")
					s.writes = append(s.writes, write{start, jobController, "create", "", untracked(aPod("competing-8", uid))})
					s.left = append(s.left, s.write(uid, jobController, "create").pod)
				}
			},
			want: []string{"I0 the run: none of 6 competing pods had to wait for a tracked pod"},
		},
		"a clock that was stepped, and no stop shows it": {
			spoil: func(s *scene) {
				s.steps = []step{{start.Add(-10 * time.Second), start.Add(10 * time.Second), time.Minute}}
			},
			want: []string{"I0 the run: the clock was stepped, and none of 4 stops during that time shows it"},
		},
		"a run in which the kubelet could start little": {
			spoil: func(s *scene) {
				s.aWork(work{name: "plain-8", completions: 0}, 0)
				s.breaksOff("b1")
				s.breaksOff("b2")
				s.breaksOff("b3")
			},
			want: []string{"I0 the run: the kubelet could not start the main of 3 of 11 pods"},
		},

		"a completed pod that was never stopped, and is left": {
			spoil: func(s *scene) {
				s.without("p1", func(w write) bool { return essential.IsStopped(&w.pod) })
				s.unsays("p1", "sidecar", terminated, ended)
				s.left = append(s.left, endedMain("plain-1", "p1", 0))
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
				s.left = append(s.left, s.end("p1").pod)
			},
			want: []string{"I1 plain-1-p1: it is left, with the phase Succeeded"},
		},
		"a stopped pod that never ends": {
			spoil: func(s *scene) {
				s.without("p1", func(w write) bool { return w.verb == "delete" || essential.IsTerminal(&w.pod) })
				s.left = append(s.left, stopped(endedMain("plain-1", "p1", 0), corev1.PodSucceeded))
			},
			want: []string{"I1 plain-1-p1: it is left, with the phase Running"},
		},
		"a pod that was stopped although the kubelet ends it": {
			spoil: func(s *scene) {
				s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "", native(stopped(endedMain("native-5", "n1", 0), corev1.PodSucceeded))})
			},
			want: []string{"I1 native-5-n1: it was stopped, and its sidecar is native"},
		},
		"a native sidecar that got no signal": {
			spoil: func(s *scene) { s.unsays("n1", "sidecar", terminated) },
			want:  []string{"I1 native-5-n1: its sidecar got no SIGTERM"},
		},
		"a pod that the kubelet has ended and that is not deleted": {
			spoil: func(s *scene) {
				s.without("n1", func(w write) bool { return w.verb == "delete" })
				s.left = append(s.left, s.end("n1").pod)
			},
			want: []string{"I1 native-5-n1: it is left, with the phase Succeeded"},
		},
		"a pod that was deleted before its retention was over": {
			spoil: func(s *scene) { s.write("p1", kube.ReaperUser, "delete").at = start.Add(10 * time.Second) },
			want:  []string{"I1 plain-1-p1: deleted 9s after its end, its retention is 10s"},
		},
		"a pod that was deleted sooner because the clock was set ahead": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "delete").at = start.Add(5 * time.Second)
				s.steps = []step{{start.Add(3 * time.Second), start.Add(20 * time.Second), time.Minute}}
			},
		},
		"a pod that was deleted before its retention was over, and before the clock was set ahead": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "delete").at = start.Add(5 * time.Second)
				s.steps = []step{{start.Add(6 * time.Second), start.Add(20 * time.Second), time.Minute}}
			},
			want: []string{"I1 plain-1-p1: deleted 4s after its end, its retention is 10s"},
		},
		"or although it was only set back": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "delete").at = start.Add(10 * time.Second)
				s.steps = []step{{start.Add(3 * time.Second), start.Add(6 * time.Second), -time.Minute}}
			},
			want: []string{"I1 plain-1-p1: deleted 9s after its end, its retention is 10s"},
		},
		"stops that were recorded with a clock that was ahead": {
			spoil: func(s *scene) { s.aheadAllTheTime(time.Minute) },
		},
		"a pod that was deleted while its sidecar ran": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "delete").pod = stopped(endedMain("plain-1", "p1", 0), corev1.PodSucceeded)
			},
			want: []string{"I1 plain-1-p1: deleted by the reaper while containers ran: main ended with 0, sidecar runs"},
		},
		"a pod that was deleted without a stop": {
			spoil: func(s *scene) {
				s.without("p1", func(w write) bool { return w.verb != "delete" && essential.IsStopped(&w.pod) })
				delete(s.write("p1", kube.ReaperUser, "delete").pod.Annotations, api.StoppedAnnotation)
			},
			want: []string{"I1 plain-1-p1: its main completed and it was never stopped"},
		},
		"a sidecar that was killed without a word": {
			spoil: func(s *scene) { s.unsays("p1", "sidecar", terminated, ended) },
			want:  []string{"I1 plain-1-p1: its sidecar got no SIGTERM"},
		},
		"a failure for good that stopped nothing": {
			spoil: func(s *scene) {
				s.without("f1", func(w write) bool { return essential.IsStopped(&w.pod) })
				s.left[0] = endedMain("failing-2", "f1", 1)
			},
			want: []string{
				"I1 failing-2-f1: its main failed for good and it was never stopped",
				"I1 failing-2-f1: it is left, with the phase Running",
			},
		},

		"a stop while main ran": {
			spoil: func(s *scene) {
				w := s.write("p1", kube.ReaperUser, "patch")
				w.at, w.pod = start.Add(-2*time.Second), stopped(running("plain-1", "p1"), corev1.PodSucceeded)
			},
			want: []string{"I2 plain-1-p1: recorded as Succeeded while main had not completed: main runs, sidecar runs"},
		},
		"a record of a completion that follows the kubelet's own kill": {
			spoil: func(s *scene) {
				for i := range s.lines {
					if l := &s.lines[i]; l.pod == "r1" && l.word == completed {
						l.at = start.Add(time.Second)
					}
				}
			},
			want: []string{
				"I2 retried-3-r1: recorded as Succeeded while main had not completed: main ended with 0, sidecar runs",
			},
		},
		"a stop after a failure that the kubelet would have tried again": {
			spoil: func(s *scene) {
				s.write("r1", kube.ReaperUser, "patch").pod = stopped(endedMain("retried-3", "r1", 1), corev1.PodFailed)
			},
			want: []string{
				"I1 retried-3-r1: its main completed and it was stopped as Failed",
				"I2 retried-3-r1: recorded as Failed while main had not failed for good: main ended with 1, sidecar runs",
			},
		},
		"a failure that was stopped as a completion": {
			spoil: func(s *scene) {
				s.write("f1", kube.ReaperUser, "patch").pod = stopped(endedMain("failing-2", "f1", 1), corev1.PodSucceeded)
				s.end("f1").pod.Status.Phase = corev1.PodSucceeded
			},
			want: []string{
				"I1 failing-2-f1: its main failed for good and it was stopped as Succeeded",
				"I2 failing-2-f1: recorded as Succeeded while main had not completed: main ended with 1, sidecar runs",
				`I8 failing-2-f1: its phase was Succeeded, reason "", and must be Failed: main's last word was "failed"`,
			},
		},
		"a failed pod that was deleted": {
			spoil: func(s *scene) {
				s.left = s.left[1:]
				s.writes = append(s.writes, write{start.Add(2 * time.Second), kube.ReaperUser, "delete", "", s.end("f1").pod})
			},
			want: []string{
				"I2 failing-2-f1: its main failed and it was deleted (" + kube.ReaperUser + ")",
				"I2 failing-2-f1: deleted by the reaper with the phase Failed",
			},
		},
		"a status that the reaper wrote": {
			spoil: func(s *scene) { s.write("p1", kube.ReaperUser, "patch").subresource = "status" },
			want:  []string{"I2 plain-1-p1: patch of status by the reaper, which has nothing to write there"},
		},
		"a write of the reaper that says nothing": {
			spoil: func(s *scene) {
				s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "", endedMain("plain-1", "p1", 0)})
			},
			want: []string{"I2 plain-1-p1: patch by the reaper that records nothing"},
		},
		"a pod whose failure is to be ignored, stopped": {
			spoil: func(s *scene) {
				p := stopped(endedMain("ignored-4", "i1", 1), corev1.PodFailed)
				s.writes = append(s.writes, write{start, kube.ReaperUser, "patch", "", p})
			},
			want: []string{"I2 ignored-4-i1: patch by the reaper, and it was to be left alone"},
		},
		"a pod of another user, deleted": {
			spoil: func(s *scene) {
				s.writes = append(s.writes, write{start, kube.ReaperUser, "delete", "", endedMain("other", "o1", 0)})
			},
			want: []string{"I2 other-o1: delete by the reaper, and it is not of this run"},
		},
		"a pod that was to be left alone, gone": {
			spoil: func(s *scene) { s.left = slices.Delete(s.left, 1, 2) },
			want:  []string{"I2 ignored-4-i1: it was to stay and is gone (the audit log does not know by whom)"},
		},
		"a sidecar that got SIGTERM before main had ended": {
			spoil: func(s *scene) { s.lines[2], s.lines[3] = s.lines[3], s.lines[2] },
			want:  []string{"I2 plain-1-p1: its sidecar got SIGTERM before main had ended (deletions: " + kube.ReaperUser + ")"},
		},
		"a sidecar that got SIGTERM between two tries of main": {
			spoil: func(s *scene) { s.says("retried-3", "r1", "sidecar SIGTERM"); moveLastBefore(s, "r1", completed) },
			want:  []string{"I2 retried-3-r1: its sidecar got SIGTERM before main had ended (deletions: " + kube.ReaperUser + ")"},
		},

		"a main that ran twice": {
			spoil: func(s *scene) { s.says("plain-1", "p1", "main start", "main completed") },
			want:  []string{`I3 plain-1: main said "completed" 2 times, want 1`},
		},
		"a main that was started again after it had completed": {
			spoil: func(s *scene) { s.says("plain-1", "p1", "main start") },
			want:  []string{`I3 plain-1: main said "start" 2 times, want 1`},
		},
		"a main that got a signal that was not ordered": {
			spoil: func(s *scene) { s.says("plain-1", "p2", "main start", "main interrupted"); s.runs("plain-1", "p2") },
			want: []string{
				`I3 plain-1: main said "interrupted" 1 times, want 0`,
				"I3 plain-1: the Job counts succeeded 1 and failed 0, want 1 and 1",
			},
		},
		"a main that was to be interrupted, and was not": {
			spoil: func(s *scene) { s.works[0].interruptions = 1 },
			want:  []string{`I3 plain-1: main said "interrupted" 0 times, want 1 to 3`},
		},
		"a Job that is not complete": {
			spoil: func(s *scene) { s.theJob("plain-1").Status = batchv1.JobStatus{Active: 1} },
			want: []string{
				"I3 plain-1: the Job is not complete: active 1, succeeded 0, failed 0",
				"I3 plain-1: the Job counts succeeded 0 and failed 0, want 1 and 0",
			},
		},
		"a Job that counts a failure": {
			spoil: func(s *scene) { s.theJob("plain-1").Status.Failed = 1 },
			want:  []string{"I3 plain-1: the Job counts succeeded 1 and failed 1, want 1 and 0"},
		},
		"a Job that counts no failure": {
			spoil: func(s *scene) { s.theJob("failing-2").Status.Failed = 0 },
			want:  []string{"I3 failing-2: the Job counts succeeded 1 and failed 0, want 1 and 1"},
		},
		"a Job that is gone": {
			spoil: func(s *scene) { s.jobs = s.jobs[1:] },
			want:  []string{"I3 plain-1: the Job is gone"},
		},
		"a completion after which a user deleted the pod, and that was not forgotten": {
			spoil: func(s *scene) { s.isCutShort(start.Add(time.Second), deletedAt) },
		},
		"work that ran again, since its pod was deleted before it had ended": {
			spoil: func(s *scene) { s.runsAgain(false) },
		},
		"work that ran again, although its Job waits for the end of a deleted pod": {
			spoil: func(s *scene) { s.runsAgain(true) },
			want: []string{
				`I3 plain-1: main said "completed" 2 times, want 1`,
				"I3 plain-1: the Job counts succeeded 1 and failed 1, want 1 and 0",
			},
		},
		"a main that the kubelet could not start, and another one": {
			spoil: func(s *scene) {
				s.aWork(work{name: "plain-8", job: true, completions: 1}, 1)
				s.breaksOff("b1")
				s.says("plain-8", "b2", "main start", "main completed")
				s.runs("plain-8", "b2")
				s.stops(endedMain("plain-8", "b2", 0), corev1.PodSucceeded)
			},
		},
		"a main that the kubelet could not start, and two others": {
			spoil: func(s *scene) {
				s.aWork(work{name: "plain-8", job: true, completions: 1}, 1)
				s.breaksOff("b1")
				s.says("plain-8", "b2", "main start", "main completed", "main start", "main completed")
				s.runs("plain-8", "b2")
				s.stops(endedMain("plain-8", "b2", 0), corev1.PodSucceeded)
			},
			want: []string{`I3 plain-8: main said "completed" 2 times, want 1`},
		},

		"a sidecar that was to be native": {
			spoil: func(s *scene) { s.write("n1", jobController, "create").pod.Spec.InitContainers = nil },
			want:  []string{"I4 native-5-n1: its sidecar is not native"},
		},
		"a pod that was admitted untracked": {
			spoil: func(s *scene) {
				delete(s.write("p1", jobController, "create").pod.Annotations, api.TrackedAnnotation)
			},
			want: []string{`I4 plain-1-p1: namespace faults, label "main": tracked is "", want "main"`},
		},
		"a pod that is tracked although its namespace has not opted in": {
			spoil: func(s *scene) { s.write("i1", jobController, "create").pod.Namespace = elsewhere },
			want:  []string{`I4 ignored-4-i1: namespace faults-elsewhere, label "main": tracked is "main", want ""`},
		},

		"a terminal phase while the API knows of a container that runs": {
			spoil: func(s *scene) {
				s.write("p1", kube.ReaperUser, "patch").pod.Status.Phase = corev1.PodSucceeded
			},
			want: []string{"I7 plain-1-p1: its phase was Succeeded, and main ended with 0, sidecar runs"},
		},
		"a terminal phase while a container runs of which the API knows nothing": {
			spoil: func(s *scene) {
				s.says("plain-1", "p1", "sidecar ended")
				s.lines[len(s.lines)-1].at = start.Add(3 * time.Second)
			},
			want: []string{`I7 plain-1-p1: its phase was Succeeded, and sidecar said "ended" 2.0 s later`},
		},
		"a completion that ended as a failure": {
			spoil: func(s *scene) {
				s.end("g1").pod.Status.Phase = corev1.PodFailed
				s.theJob("ragged-6").Status.Failed = 1
			},
			want: []string{
				"I3 ragged-6: the Job counts succeeded 1 and failed 1, want 1 and 0",
				`I8 ragged-6-g1: its phase was Failed, reason "", and must be Succeeded: main's last word was "completed"`,
			},
		},
		"a main that was killed, and ended as a completion": {
			spoil: func(s *scene) { s.unsays("p1", "main", completed) },
			want: []string{
				"I2 plain-1-p1: its sidecar got SIGTERM before main had ended (deletions: " + kube.ReaperUser + ")",
				"I2 plain-1-p1: recorded as Succeeded while main had not completed: main ended with 0, sidecar runs",
				`I3 plain-1: main said "completed" 0 times, want 1`,
				`I3 plain-1: main said "start" 1 times, want 0`,
				"I3 plain-1: the Job counts succeeded 1 and failed 0, want 1 and 1",
				`I8 plain-1-p1: its phase was Succeeded, reason "", and must be Failed: main's last word was "start"`,
			},
		},
		"a completion before the pod's deadline": {
			spoil: func(s *scene) { s.isCutShort(start.Add(time.Second), deadlineAt) },
		},
		"a completion in about the second of the pod's deadline": {
			spoil: func(s *scene) {
				s.isCutShort(start.Add(-1500*time.Millisecond), deadlineAt)
				s.theJob("plain-1").Status.Failed = 1
			},
		},
		"a completion after the pod's deadline": {
			spoil: func(s *scene) { s.isCutShort(start.Add(-3*time.Second), deadlineAt) },
			want: []string{
				"I3 plain-1: the Job counts succeeded 1 and failed 0, want 1 and 1",
				`I8 plain-1-p1: its phase was Succeeded, reason "", and must be Failed: main's last word was "completed"`,
			},
		},
		"an eviction": {
			spoil: func(s *scene) {
				end := &s.end("g1").pod
				end.Status.Phase, end.Status.Reason = corev1.PodFailed, "Evicted"
				s.without("g1", func(w write) bool { return w.verb == "delete" })
				s.theJob("ragged-6").Status.Failed = 1
			},
		},
		"a pod that the kubelet rejected": {
			spoil: func(s *scene) {
				end := &s.end("c1").pod
				end.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfcpu", Message: "the node has too little"}
				s.theJob("competing-7").Status = batchv1.JobStatus{Failed: 1}
				s.unsays("c1", "main", started, completed)
			},
			want: []string{
				`I3 competing-7: main said "completed" 0 times, want 1`,
				"I3 competing-7: the Job is not complete: active 0, succeeded 0, failed 1",
				"I3 competing-7: the Job counts succeeded 0 and failed 1, want 1 and 1",
				"I9 competing-7-c1: it was rejected: OutOfcpu, the node has too little",
			},
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
		"a hostile body to which the webhook answered with its own fault, and one that it did not read": {
			spoil: func(s *scene) {
				s.flood = flood{answers: answers{classes: map[int]int{}}, admitted: 1}
				s.flood.add(503, []byte("busy"))
				s.flood.add(413, []byte("too large"))
				s.flood.add(500, []byte("{"))
			},
			want: []string{`I6 the webhook: answered 500 to "{"`},
		},
		"a labelled pod that was refused meanwhile": {
			spoil: func(s *scene) { s.flood = flood{answers: answers{tried: 9}, admitted: 1, refused: []string{"late"}} },
			want:  []string{"I6 the webhook: a labelled pod was refused while hostile bodies were sent: late"},
		},
		"hostile bodies, and nobody looked at labelled pods": {
			spoil: func(s *scene) { s.flood = flood{answers: answers{tried: 9}} },
			want:  []string{"I0 the run: no labelled pod was created while hostile bodies were sent"},
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
