package reaper

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// recordingQueue notes what is added.
type recordingQueue struct {
	priorityqueue.PriorityQueue[reconcile.Request]
	added []added
}

type added struct {
	Priority int
	After    time.Duration
}

func (q *recordingQueue) AddWithOpts(o priorityqueue.AddOpts, requests ...reconcile.Request) {
	for range requests {
		q.added = append(q.added, added{*o.Priority, o.After})
	}
}

func TestEnqueue(t *testing.T) {
	for sentence, c := range map[string]struct {
		pod  podBuilder
		want []added
	}{
		"a pod that is not due does not enter the queue":          {pod: aPod()},
		"nor one that is not tracked":                             {pod: aPod().untracked().exited("main", 0, "Completed")},
		"a stop goes before deletions":                            {pod: aPod().exited("main", 0, "Completed"), want: []added{{Priority: stopPriority}}},
		"a deletion goes behind stops":                            {pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(corev1.PodSucceeded), want: []added{{Priority: otherPriority}}},
		"a stop that is to be verified enters it at its deadline": {pod: aPod().exited("main", 0, "Completed").stopped(now, now), want: []added{{Priority: otherPriority, After: 30*time.Second + reportSlack}}},
	} {
		t.Run(sentence, func(t *testing.T) {
			handler := enqueuer{clock: clocktesting.NewFakePassiveClock(now), strategy: Complete}.handler()
			var onCreate, onUpdate recordingQueue
			handler.Create(t.Context(), event.TypedCreateEvent[*corev1.Pod]{Object: c.pod.Pod}, &onCreate)
			handler.Update(t.Context(), event.TypedUpdateEvent[*corev1.Pod]{ObjectOld: aPod().Pod, ObjectNew: c.pod.Pod}, &onUpdate)
			for _, q := range []recordingQueue{onCreate, onUpdate} {
				if diff := cmp.Diff(c.want, q.added); diff != "" {
					t.Errorf("queue (-want +got):\n%s", diff)
				}
			}
		})
	}
	if stopPriority <= otherPriority {
		t.Error("stops do not go first")
	}
}
