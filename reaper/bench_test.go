package reaper

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
)

// waiting are pods as most are, most of the time: there is nothing to do.
var waiting = map[string]podBuilder{
	"running":      aPod(),
	"two names":    aPod().tracking("main,worker"),
	"all policies": aPod().annotated(completionKey, "All").annotated(onFailureKey, "Stop").annotated(stopDelayKey, "30s").annotated(retentionKey, "10m"),
	"untracked":    aPod().untracked(),
}

func TestAPodThatWaitsCostsNoMemory(t *testing.T) {
	for name, pod := range waiting {
		trimmed, err := new(trimmer).pod(pod.Pod)
		if err != nil {
			t.Fatal(err)
		}
		pod.Pod = trimmed.(*corev1.Pod)
		e := enqueuer{decider: deciderAt(now, ordinary, false), notices: newNotices()}
		update := event.TypedUpdateEvent[*corev1.Pod]{ObjectOld: pod.Pod, ObjectNew: pod.Pod}
		var q recordingQueue
		if allocations := testing.AllocsPerRun(100, func() { e.Update(t.Context(), update, &q) }); allocations > 0 {
			t.Errorf("%s: an event of it allocates %v times", name, allocations)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, pod := range map[string]podBuilder{
		"waiting":        aPod(),
		"waiting for it": waiting["all policies"],
		"due":            aPod().exited("main", 0, "Completed"),
		"stopped":        bothEnded().stopped(succeeded, now),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decide(pod.Pod, true, 0, ordinary, now)
			}
		})
	}
}

func BenchmarkEvent(b *testing.B) {
	handler := enqueuer{decider: deciderAt(now, ordinary, true), notices: newNotices()}
	update := event.TypedUpdateEvent[*corev1.Pod]{ObjectOld: aPod().Pod, ObjectNew: aPod().Pod}
	var q recordingQueue
	b.ReportAllocs()
	for b.Loop() {
		handler.Update(b.Context(), update, &q)
	}
}

func BenchmarkTrim(b *testing.B) {
	pod := aPod().exited("main", 0, "Completed").ownedBy("Job", "nightly").Pod
	var trimmer trimmer // remembers what it has seen, as it does in the cache
	b.ReportAllocs()
	for b.Loop() {
		if _, err := trimmer.pod(pod); err != nil {
			b.Fatal(err)
		}
	}
}
