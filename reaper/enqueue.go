package reaper

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// In a burst every pod is stopped before the first is deleted: a Job waits for the
// stop, but nothing waits for the deletion.
const (
	stopPriority  = 10
	otherPriority = 0
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// enqueuer handles watch events of pods. It adds a pod to the queue only if there is
// an action or a warning, and for the time at which it is due. Most watch events
// cause neither.
type enqueuer struct {
	decider
	notices *notices
}

var _ handler.TypedEventHandler[*corev1.Pod, reconcile.Request] = enqueuer{}

// Create is called for every pod once, Update for each change of it.
func (e enqueuer) Create(ctx context.Context, ev event.TypedCreateEvent[*corev1.Pod], q queue) {
	e.enqueue(ctx, ev.Object, q)
}

// Update looks at the new pod only: the decision for the old one has been carried out
// or is out of date.
func (e enqueuer) Update(ctx context.Context, ev event.TypedUpdateEvent[*corev1.Pod], q queue) {
	e.enqueue(ctx, ev.ObjectNew, q)
}

// Delete requeues only a pod with a warning, so that the warning is forgotten.
func (e enqueuer) Delete(_ context.Context, ev event.TypedDeleteEvent[*corev1.Pod], q queue) {
	if key := client.ObjectKeyFromObject(ev.Object); e.notices.isWatched(key) {
		add(q, key, otherPriority, 0)
	}
}

// Generic events have no source here.
func (e enqueuer) Generic(context.Context, event.TypedGenericEvent[*corev1.Pod], queue) {}

func (e enqueuer) enqueue(ctx context.Context, pod *corev1.Pod, q queue) {
	d, now := e.decide(ctx, pod)
	key := client.ObjectKeyFromObject(pod)
	if d.Warning != (Warning{}) {
		e.notices.watch(key)
	}
	switch {
	case d.Action == Stop || d.Action == Delay:
		add(q, key, stopPriority, 0)
	case d.Action != Leave || e.notices.isWatched(key):
		add(q, key, otherPriority, 0)
	case !d.At.IsZero():
		add(q, key, otherPriority, d.wait(now))
	}
}

func add(q queue, pod types.NamespacedName, priority int, after time.Duration) {
	q.(priorityqueue.PriorityQueue[reconcile.Request]).AddWithOpts(
		priorityqueue.AddOpts{Priority: &priority, After: after}, reconcile.Request{NamespacedName: pod})
}

// namespaces returns a handler that decides again on all labelled pods of a namespace
// when it opts in or out.
func (e enqueuer) namespaces(reader client.Reader) handler.TypedEventHandler[*metav1.PartialObjectMetadata, reconcile.Request] {
	look := func(ctx context.Context, namespace string, q queue) {
		var pods corev1.PodList
		if err := reader.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			log.FromContext(ctx).Error(err, "Listing the pods of a namespace that opted in or out", "namespace", namespace)
			return
		}
		for i := range pods.Items {
			e.enqueue(ctx, &pods.Items[i], q)
		}
	}
	return handler.TypedFuncs[*metav1.PartialObjectMetadata, reconcile.Request]{
		CreateFunc: func(ctx context.Context, ev event.TypedCreateEvent[*metav1.PartialObjectMetadata], q queue) {
			look(ctx, ev.Object.Name, q)
		},
		DeleteFunc: func(ctx context.Context, ev event.TypedDeleteEvent[*metav1.PartialObjectMetadata], q queue) {
			look(ctx, ev.Object.Name, q)
		},
	}
}
