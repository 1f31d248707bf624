package reaper

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/essential-containers/essential-containers/api"
)

// mail is an outbox with a client that hands every event to arrive.
type mail struct {
	*outbox
	arrive  func(ctx context.Context, event *eventsv1.Event) error
	dropped atomic.Int64
}

func newMail(t *testing.T) *mail {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	m := &mail{}
	c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		Create: func(ctx context.Context, _ client.WithWatch, object client.Object, _ ...client.CreateOption) error {
			return m.arrive(ctx, object.(*eventsv1.Event))
		},
	})
	outbox, err := newOutbox(c, func() { m.dropped.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	m.outbox = outbox
	return m
}

func (m *mail) post(count int) {
	for range count {
		m.Eventf(aPod().Pod, nil, corev1.EventTypeNormal, completedReason, stoppingAction, "%s", "note")
	}
}

func TestEventNamesItsObjects(t *testing.T) {
	m := newMail(t)
	var got *eventsv1.Event
	m.arrive = func(_ context.Context, event *eventsv1.Event) error {
		got = event
		return nil
	}
	about := &corev1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: "jobs", Name: "job", UID: "owner"}
	m.Eventf(about, aPod().Pod, corev1.EventTypeWarning, api.FailedReason, stoppingAction, "exit code %d", 3)
	m.open(t.Context())()
	if got == nil {
		t.Fatal("no event arrived")
	}
	if got.Regarding != *about || got.Related == nil || got.Related.Kind != "Pod" || got.Related.UID != aPod().UID {
		t.Errorf("regarding %+v, related %+v", got.Regarding, got.Related)
	}
	if got.Namespace != "jobs" || !strings.HasPrefix(got.Name, "job.") || got.EventTime.IsZero() {
		t.Errorf("named %s/%s at %s", got.Namespace, got.Name, got.EventTime)
	}
	if got.Type != corev1.EventTypeWarning || got.Reason != api.FailedReason || got.Action != stoppingAction || got.Note != "exit code 3" {
		t.Errorf("says %+v", got)
	}
	if got.ReportingController != name || !strings.HasPrefix(got.ReportingInstance, name+"-") {
		t.Errorf("reported by %s, %s", got.ReportingController, got.ReportingInstance)
	}
}

// Stops share the connection and the API server's attention with events.
func TestFewEventsAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMail(t)
		underWay, arrived := make(chan struct{}, 100), 0
		gate := make(chan struct{})
		m.arrive = func(context.Context, *eventsv1.Event) error {
			underWay <- struct{}{}
			<-gate
			<-underWay
			return nil
		}
		closeBox := m.open(t.Context())
		m.post(100)
		for synctest.Wait(); len(underWay) > 0; synctest.Wait() {
			if len(underWay) > eventSenders {
				t.Fatalf("%d events are under way", len(underWay))
			}
			gate <- struct{}{}
			arrived++
		}
		closeBox()
		if arrived != 100 || m.dropped.Load() != 0 {
			t.Errorf("%d events arrived, %d were dropped", arrived, m.dropped.Load())
		}
	})
}

func TestEventsWaitForTheirTurn(t *testing.T) {
	for name, c := range map[string]struct {
		work time.Duration // one pod after the other, for so long
		each time.Duration // of them
		want time.Duration // after the event
	}{
		"when nothing is to be done":        {0, 0, 0},
		"as long as pods are worked on":     {2 * time.Second, pause / 2, 2*time.Second + pause},
		"however long the API server takes": {2 * time.Second, time.Second, 2*time.Second + pause},
		"but not forever":                   {time.Hour, pause / 2, maxWait},
		"nor for a pod that hangs":          {time.Hour, time.Hour, maxWait},
		"a pod of its own is done first":    {pause / 2, pause / 2, pause/2 + pause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMail(t)
				posted := time.Now()
				waited := time.Duration(-1)
				m.arrive = func(context.Context, *eventsv1.Event) error {
					waited = time.Since(posted)
					return nil
				}
				post := sync.OnceFunc(func() { m.post(1) })
				work := m.during(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
					post() // as of the first of many pods
					time.Sleep(c.each)
					return reconcile.Result{}, nil
				}))
				closeBox := m.open(t.Context())
				time.Sleep(time.Minute)
				posted = time.Now()
				for time.Since(posted) < c.work {
					if _, err := work.Reconcile(t.Context(), reconcile.Request{}); err != nil {
						t.Fatal(err)
					}
				}
				post()
				time.Sleep(time.Minute)
				closeBox()
				if waited != c.want {
					t.Errorf("waited %s, want %s", waited, c.want)
				}
			})
		})
	}
}

// None is dropped only because it has waited.
func TestEventsDoNotWaitOnceHalfTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMail(t)
		m.arrive = func(context.Context, *eventsv1.Event) error { return nil }
		post := sync.OnceFunc(func() { m.post(maxEvents) })
		work := m.during(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
			post()
			time.Sleep(pause / 2)
			return reconcile.Result{}, nil
		}))
		closeBox := m.open(t.Context())
		defer closeBox()
		for range 10 {
			if _, err := work.Reconcile(t.Context(), reconcile.Request{}); err != nil {
				t.Fatal(err)
			}
		}
		// Those that the senders have taken already wait with the others.
		if left := len(m.queue); left >= maxEvents/2 || left < maxEvents/2-eventSenders {
			t.Errorf("%d events are left", left)
		}
	})
}

func TestEventsThatAreRefused(t *testing.T) {
	events := schema.GroupResource{Resource: "events"}
	for name, c := range map[string]struct {
		refusal error
		tries   int
		lost    int64
		times   int // of the refusal; then it is taken
	}{
		"for a while":                       {apierrors.NewServiceUnavailable("starting"), 4, 0, 3},
		"since there are too many":          {apierrors.NewTooManyRequests("later", 1), 4, 0, 3},
		"whatever is tried":                 {apierrors.NewInternalError(context.DeadlineExceeded), eventRetries.Steps, 1, 1000},
		"by a connection that breaks":       {context.DeadlineExceeded, 3, 0, 2},
		"in a namespace that is going":      {apierrors.NewForbidden(events, "e", nil), 1, 1, 1000},
		"because an earlier try was served": {apierrors.NewAlreadyExists(events, "e"), 1, 0, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMail(t)
				tries := 0
				m.arrive = func(context.Context, *eventsv1.Event) error {
					if tries++; tries <= c.times {
						return c.refusal
					}
					return nil
				}
				closeBox := m.open(t.Context())
				m.post(1)
				time.Sleep(5 * time.Minute) // of the bubble's clock
				closeBox()
				if tries != c.tries || m.dropped.Load() != c.lost {
					t.Errorf("tried %d times, want %d; dropped %d, want %d", tries, c.tries, m.dropped.Load(), c.lost)
				}
			})
		})
	}
}

// What the API server refuses in one namespace delays no other.
func TestEventsThatFailHoldUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMail(t)
		begin, arrived := time.Now(), time.Duration(-1)
		m.arrive = func(_ context.Context, event *eventsv1.Event) error {
			if event.Note == "note" {
				return apierrors.NewInternalError(context.DeadlineExceeded)
			}
			arrived = time.Since(begin)
			return nil
		}
		closeBox := m.open(t.Context())
		defer closeBox()
		m.post(100)
		m.Eventf(aPod().Pod, nil, corev1.EventTypeNormal, completedReason, stoppingAction, "%s", "good")
		time.Sleep(5 * time.Minute)
		if arrived != 0 || m.dropped.Load() != 100 {
			t.Errorf("it arrived after %v; %d others were dropped", arrived, m.dropped.Load())
		}
	})
}

func TestEventsBeyondTheQueueAreCounted(t *testing.T) {
	m := newMail(t)
	m.arrive = func(context.Context, *eventsv1.Event) error { return nil }
	m.post(maxEvents + 3) // the outbox is closed
	if m.dropped.Load() != 3 {
		t.Errorf("%d events were dropped", m.dropped.Load())
	}
}

// Events that failed and are sent again later count too.
func TestEventsThatFailAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMail(t)
		m.arrive = func(context.Context, *eventsv1.Event) error {
			return apierrors.NewInternalError(context.DeadlineExceeded)
		}
		closeBox := m.open(t.Context())
		defer closeBox()
		m.post(maxEvents)
		time.Sleep(time.Second) // all have failed at least once
		m.post(3)
		if m.dropped.Load() != 3 {
			t.Errorf("%d events were dropped at once", m.dropped.Load())
		}
		time.Sleep(5 * time.Minute)
		if m.dropped.Load() != maxEvents+3 || m.waiting.Load() != 0 {
			t.Errorf("%d events were dropped, %d wait", m.dropped.Load(), m.waiting.Load())
		}
	})
}

func TestClosingSendsWhatIsLeft(t *testing.T) {
	m := newMail(t)
	arrived := make(chan struct{}, 50)
	m.arrive = func(ctx context.Context, _ *eventsv1.Event) error {
		arrived <- struct{}{}
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the process got SIGTERM
	m.post(50)
	m.open(ctx)()
	if len(arrived) != 50 || m.dropped.Load() != 0 {
		t.Errorf("%d events arrived, %d were dropped", len(arrived), m.dropped.Load())
	}
}

func TestClosingDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMail(t)
		m.arrive = func(ctx context.Context, _ *eventsv1.Event) error {
			<-ctx.Done() // an API server that does not answer
			return ctx.Err()
		}
		m.post(10)
		start := time.Now()
		m.open(t.Context())()
		if waited := time.Since(start); waited != lastMoment {
			t.Errorf("waited %s", waited)
		}
	})
}
