package reaper

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// In a burst every pod is stopped before the first is deleted: somebody waits
// for a stop, nobody for a deletion.
const (
	stopPriority  = 10
	otherPriority = 0
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// enqueuer puts a pod into the queue only if something is to be done with it,
// at the time at which it is. Most events of most pods end here.
type enqueuer struct {
	clock    clock.PassiveClock
	strategy Strategy
}

func (e enqueuer) handler() handler.TypedEventHandler[*corev1.Pod, reconcile.Request] {
	return handler.TypedFuncs[*corev1.Pod, reconcile.Request]{
		CreateFunc: func(_ context.Context, ev event.TypedCreateEvent[*corev1.Pod], q queue) { e.enqueue(ev.Object, q) },
		UpdateFunc: func(_ context.Context, ev event.TypedUpdateEvent[*corev1.Pod], q queue) { e.enqueue(ev.ObjectNew, q) },
	}
}

func (e enqueuer) enqueue(pod *corev1.Pod, q queue) {
	now := e.clock.Now()
	d := decide(pod, e.strategy, now)
	if d.Action == Leave && d.At.IsZero() {
		return
	}
	priority, after := otherPriority, time.Duration(0)
	switch d.Action {
	case Stop:
		priority = stopPriority
	case Leave:
		after = d.At.Sub(now)
	}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(pod)}
	q.(priorityqueue.PriorityQueue[reconcile.Request]).AddWithOpts(priorityqueue.AddOpts{Priority: &priority, After: after}, request)
}
