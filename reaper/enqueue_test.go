package reaper

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
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
		pod      podBuilder
		rules    *rules // default: ordinary
		optedOut bool   // the namespace did not opt in
		want     []added
	}{
		"a pod that is not due does not enter the queue":  {pod: aPod()},
		"nor one that is not tracked":                     {pod: aPod().untracked().exited("main", 0, "Completed"), optedOut: true},
		"a pod that ends by itself neither":               {pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed")},
		"a warning has time":                              {pod: aPod().annotated(completionKey, "Some"), want: []added{{Priority: otherPriority}}},
		"so has an adoption":                              {pod: aPod().untracked(), rules: &adopting, want: []added{{Priority: otherPriority}}},
		"a delay is put on record at once":                {pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s"), want: []added{{Priority: stopPriority}}},
		"a retained pod enters it when it is over":        {pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(corev1.PodSucceeded).annotated(retentionKey, "2m"), want: []added{{Priority: otherPriority, After: 2 * time.Minute}}},
		"but is looked at before: the clock may be set":   {pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(corev1.PodSucceeded).annotated(retentionKey, "10m"), want: []added{{Priority: otherPriority, After: lookAgain}}},
		"a warning does not wait for that":                {pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(corev1.PodSucceeded).annotated(retentionKey, "10m").annotated(completionKey, "Some"), want: []added{{Priority: otherPriority}}},
		"a stop goes before deletions":                    {pod: aPod().exited("main", 0, "Completed"), want: []added{{Priority: stopPriority}}},
		"a deletion goes behind stops":                    {pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(corev1.PodSucceeded), want: []added{{Priority: otherPriority}}},
		"a stopped pod enters it when its end is overdue": {pod: aPod().exited("main", 0, "Completed").stopped(succeeded, now), want: []added{{Priority: otherPriority, After: 30*time.Second + reportSlack}}},
	} {
		t.Run(sentence, func(t *testing.T) {
			handler := enqueuer{decider: deciderAt(now, c.pod.with(c.rules), !c.optedOut), notices: newNotices()}
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

// Whatever may end a warning goes through the queue, which handles a pod once
// at a time: no warning follows its own end.
func TestPodsWithAWarningAreLookedAtAgain(t *testing.T) {
	bad, good := aPod().annotated(completionKey, "Some"), aPod()
	e := enqueuer{decider: deciderAt(now, ordinary, true), notices: newNotices()}
	for _, step := range []struct {
		sentence string
		happens  func(q queue)
		want     int
	}{
		{"a good pod is deleted", func(q queue) {
			e.Delete(t.Context(), event.TypedDeleteEvent[*corev1.Pod]{Object: good.Pod}, q)
		}, 0},
		{"a bad one comes", func(q queue) { e.enqueue(t.Context(), bad.Pod, q) }, 1},
		{"it is well again", func(q queue) { e.enqueue(t.Context(), good.Pod, q) }, 1},
		{"it is deleted", func(q queue) {
			e.Delete(t.Context(), event.TypedDeleteEvent[*corev1.Pod]{Object: good.Pod}, q)
		}, 1},
	} {
		var q recordingQueue
		step.happens(&q)
		if len(q.added) != step.want {
			t.Errorf("%s: %d entries in the queue, want %d", step.sentence, len(q.added), step.want)
		}
	}
}

func TestANamespaceThatOptsInHasItsPodsLookedAt(t *testing.T) {
	there, elsewhere := aPod().untracked(), aPod().untracked()
	elsewhere.Namespace = "other"
	reader := fake.NewClientBuilder().WithObjects(there.Pod, elsewhere.Pod).Build()
	handler := enqueuer{decider: deciderAt(now, adopting, true), notices: newNotices()}.namespaces(reader)
	namespace := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "jobs"}}
	var q recordingQueue
	handler.Create(t.Context(), event.TypedCreateEvent[*metav1.PartialObjectMetadata]{Object: namespace}, &q)
	if len(q.added) != 1 {
		t.Errorf("%d pods were put into the queue, want that of the namespace", len(q.added))
	}
}

func TestANamespaceThatOptsOutHasItsWarningsLookedAt(t *testing.T) {
	pod := aPod().untracked()
	reader := fake.NewClientBuilder().WithObjects(pod.Pod).Build()
	e := enqueuer{decider: deciderAt(now, ordinary, false), notices: newNotices()}
	e.notices.watch(client.ObjectKeyFromObject(pod))
	namespace := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "jobs"}}
	var q recordingQueue
	e.namespaces(reader).Delete(t.Context(), event.TypedDeleteEvent[*metav1.PartialObjectMetadata]{Object: namespace}, &q)
	if len(q.added) != 1 {
		t.Errorf("%d entries in the queue, want 1", len(q.added))
	}
}
