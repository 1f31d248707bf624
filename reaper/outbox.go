package reaper

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	eventutil "k8s.io/client-go/tools/record/util"
	"k8s.io/client-go/tools/reference"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// maxEvents is how many events can wait: two for each of 10,000 pods that complete
	// at once, some 30 MiB.
	maxEvents = 20_000
	// eventSenders is how many events are sent at a time.
	eventSenders = 2
	// pause is how long the reaper must have been idle before it sends an event. An event
	// that has waited for maxWait, or that finds the queue half full, is sent anyway. An
	// event costs the API server about as much as a stop, and Jobs wait for stops.
	pause   = 10 * time.Millisecond
	maxWait = time.Minute
	// lastMoment is how long the process sends the remaining events when it ends. Lost
	// events can be read from the pods' annotations.
	lastMoment = 3 * time.Second
)

// eventRetries outlast a restart of the API server. (A Cap would end them.)
var eventRetries = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Steps: 8} // the last after a minute

// outbox is the event recorder. client-go's recorder sends every event at once, from a
// goroutine of its own: in a burst, pods would wait for their stop behind the events
// about other pods. The outbox sends events when no pod is being reconciled.
type outbox struct {
	client   client.Client
	instance string
	queue    chan *letter
	waiting  atomic.Int64              // events in the queue, being sent, or waiting for a retry
	working  atomic.Int64              // pods that are being reconciled
	worked   atomic.Pointer[time.Time] // when the last reconcile ended; with the monotonic clock
	dropped  func()
}

var _ events.EventRecorder = (*outbox)(nil)

// letter is an event in the outbox.
type letter struct {
	*eventsv1.Event
	retries wait.Backoff // the remaining ones
}

// newOutbox returns an outbox that queues events until it is opened. It calls dropped
// for every event that it does not send.
func newOutbox(c client.Client, dropped func()) (*outbox, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("finding this process's name for events: %w", err)
	}
	o := &outbox{
		client: c, instance: name + "-" + hostname, dropped: dropped,
		queue: make(chan *letter, maxEvents),
	}
	o.worked.Store(&time.Time{})
	return o, nil
}

// Eventf puts an event into the queue; it never waits.
func (o *outbox) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	event, err := o.event(regarding, related)
	if err != nil {
		log.Log.Error(err, "Naming the object of an event", "reason", reason)
		return
	}
	event.Type, event.Reason, event.Action, event.Note = eventType, reason, action, fmt.Sprintf(note, args...)
	if o.waiting.Add(1) > maxEvents {
		o.waiting.Add(-1)
		o.dropped()
		return
	}
	o.queue <- &letter{event, eventRetries} // never blocks: it has room for maxEvents
}

func (o *outbox) event(regarding, related runtime.Object) (*eventsv1.Event, error) {
	about, err := reference.GetReference(o.client.Scheme(), regarding)
	if err != nil {
		return nil, err
	}
	now := metav1.NowMicro()
	event := &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: about.Namespace, Name: eventutil.GenerateEventName(about.Name, now.UnixNano())},
		EventTime:           now,
		ReportingController: name,
		ReportingInstance:   o.instance,
		Regarding:           *about,
	}
	if related != nil {
		event.Related, err = reference.GetReference(o.client.Scheme(), related)
	}
	return event, err
}

// open sends events until closeBox is called. closeBox returns when all events are
// sent, or after lastMoment.
func (o *outbox) open(ctx context.Context) (closeBox func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	closing := make(chan struct{})
	var senders sync.WaitGroup
	for range eventSenders {
		senders.Go(func() {
			for {
				select {
				case l := <-o.queue:
					o.awaitTurn(l, closing)
					o.send(ctx, l)
				case <-closing:
					o.empty(ctx)
					return
				}
			}
		})
	}
	return func() {
		close(closing)
		timer := time.AfterFunc(lastMoment, cancel)
		senders.Wait()
		timer.Stop()
		cancel()
	}
}

// during wraps a reconciler so that events wait while it runs.
func (o *outbox) during(next reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		o.working.Add(1)
		defer func() {
			o.worked.Store(new(time.Now()))
			o.working.Add(-1)
		}()
		return next.Reconcile(ctx, request)
	})
}

// awaitTurn returns when the event may be sent, or when the outbox is closed.
func (o *outbox) awaitTurn(l *letter, closing <-chan struct{}) {
	for {
		now := time.Now()
		remaining := pause // at least
		if o.working.Load() == 0 {
			remaining = o.worked.Load().Add(pause).Sub(now)
		}
		remaining = min(remaining, l.EventTime.Add(maxWait).Sub(now))
		if remaining <= 0 || len(o.queue) >= maxEvents/2 {
			return
		}
		select {
		case <-time.After(remaining):
		case <-closing:
			return
		}
	}
}

// empty sends what is in the queue.
func (o *outbox) empty(ctx context.Context) {
	for {
		select {
		case l := <-o.queue:
			o.send(ctx, l)
		default:
			return
		}
	}
}

// send sends an event once. A failed event returns to the queue later, so that a
// failure in one namespace does not delay the events of other namespaces.
func (o *outbox) send(ctx context.Context, l *letter) {
	err := o.client.Create(ctx, l.Event)
	switch {
	case err == nil, apierrors.IsAlreadyExists(err): // the answer to an earlier try was lost
		o.waiting.Add(-1)
	case isPermanent(err), l.retries.Steps <= 1, ctx.Err() != nil:
		o.waiting.Add(-1)
		o.dropped()
		log.FromContext(ctx).V(1).Info("Event was not sent", "reason", l.Reason, "cause", err.Error())
	default:
		time.AfterFunc(l.retries.Step(), func() { o.queue <- l })
	}
}

// isPermanent reports whether the API server refuses an event for good, in a
// namespace that is being deleted for instance.
func isPermanent(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError &&
		code != http.StatusTooManyRequests && code != http.StatusRequestTimeout
}
