package reaper

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// fixture is a reconciler on a client that records writes instead of doing them.
type fixture struct {
	reconciler
	writes  []write
	refusal error // what every write answers
	events  *events.FakeRecorder
}

type write struct {
	what string
	uid  types.UID
	body map[string]any
}

func newFixture(t *testing.T, r rules, pods ...client.Object) *fixture {
	t.Helper()
	s := &fixture{events: events.NewFakeRecorder(10)}
	base := fake.NewClientBuilder().WithObjects(pods...).WithStatusSubresource(&corev1.Pod{}).Build()
	recording := interceptor.NewClient(base, interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
			data, err := patch.Data(nil)
			if err != nil {
				return err
			}
			var body map[string]any
			if err := json.Unmarshal(data, &body); err != nil {
				return err
			}
			s.writes = append(s.writes, write{what: "patch " + object.GetName() + " " + string(patch.Type()), body: body})
			return s.refusal
		},
		Delete: func(_ context.Context, _ client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			var o client.DeleteOptions
			o.ApplyOptions(options)
			w := write{what: "delete " + object.GetName()}
			if o.Preconditions != nil && o.Preconditions.UID != nil {
				w.uid = *o.Preconditions.UID
			}
			s.writes = append(s.writes, w)
			return s.refusal
		},
	})
	notices := newNotices()
	s.reconciler = reconciler{
		decider: deciderAt(now, r, true),
		client:  recording,
		report:  newReporter(s.events, newMetrics(prometheus.NewRegistry(), notices), notices),
	}
	return s
}

// deciderAt decides at this time, in namespaces that all opted in, or none.
func deciderAt(at time.Time, r rules, optedIn bool) decider {
	return decider{
		rules: r, clock: clocktesting.NewFakePassiveClock(at), backOffs: newBackOffs(),
		optedIn: func(context.Context, string) bool { return optedIn },
	}
}

func (s *fixture) reconcile(t *testing.T) (reconcile.Result, error) {
	t.Helper()
	return s.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(aPod())})
}

// nextEvent is empty if there is no further event.
func (s *fixture) nextEvent() string {
	select {
	case event := <-s.events.Events:
		return event
	default:
		return ""
	}
}

func TestPatches(t *testing.T) {
	// patch is the whole body of a write: nothing else may be in it.
	patch := func(annotation, value string, spec map[string]any) []write {
		body := map[string]any{"metadata": map[string]any{
			"uid": "uid-1", "resourceVersion": "999", "annotations": map[string]any{annotation: value},
		}}
		if spec != nil {
			body["spec"] = spec
		}
		return []write{{what: "patch nightly-x7k2p application/merge-patch+json", body: body}}
	}
	stopped := func(phase, because string) []write {
		return patch("essential-containers/stopped", "2030-01-02T03:04:05Z "+phase+": "+because, map[string]any{"activeDeadlineSeconds": 1.0})
	}
	for sentence, c := range map[string]struct {
		pod     podBuilder
		rules   rules
		backOff time.Duration
		want    []write
		event   string
	}{
		"a stop is one patch of the deadline and an annotation": {
			pod: aPod().exited("main", 0, "Completed"), rules: ordinary,
			want:  stopped("Succeeded", completed),
			event: "Normal EssentialContainerCompleted " + completed + "; stopping the pod's other containers, the pod is deleted once they have ended",
		},
		"the stop of a failure is the same": {
			pod: aPod().exited("main", 137, "OOMKilled"), rules: ordinary,
			want:  stopped("Failed", `Essential container "main" failed with exit code 137 (OOMKilled)`),
			event: `Warning EssentialContainerFailed Essential container "main" failed with exit code 137 (OOMKilled); stopping the pod's other containers, the pod is kept as failed`,
		},
		"a pod with a deadline of its own gets a lower one": {
			pod: aPod().exited("main", 0, "Completed").deadline(3600), rules: ordinary,
			want:  stopped("Succeeded", completed),
			event: "Normal EssentialContainerCompleted " + completed + "; stopping the pod's other containers, the pod is deleted once they have ended",
		},
		"the event names the retention": {
			pod: aPod().exited("main", 0, "Completed").annotated(retentionKey, "10m"), rules: ordinary,
			want:  stopped("Succeeded", completed),
			event: "Normal EssentialContainerCompleted " + completed + "; stopping the pod's other containers, the pod is deleted 10m0s after they have ended",
		},
		"the event says that the pod is kept": {
			pod: aPod().exited("main", 0, "Completed").annotated(helmHook, "test"), rules: ordinary,
			want:  stopped("Succeeded", completed),
			event: "Normal EssentialContainerCompleted " + completed + "; stopping the pod's other containers, the pod is kept",
		},
		"the stop after a delay repeats the record": {
			pod: aPod().annotated(stopDelayKey, "30s").due(succeeded, now.Add(-time.Minute)), rules: ordinary,
			want:  stopped("Succeeded", recorded),
			event: "Normal EssentialContainerCompleted " + recorded + "; stopping the pod's other containers, the pod is deleted once they have ended",
		},
		"a stop on the record of an old version writes the new one": {
			pod: aPod().stoppedByOld(succeeded, now).phase(corev1.PodRunning), rules: ordinary,
			want:  stopped("Succeeded", recorded),
			event: "Normal EssentialContainerCompleted " + recorded + "; stopping the pod's other containers, the pod is deleted once they have ended",
		},
		"a delay is an annotation": {
			pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s"), rules: ordinary,
			want:  patch("essential-containers/due", "2030-01-02T03:04:05Z Succeeded: "+completed, nil),
			event: "Normal StopDelayed " + completed + "; stopping the pod's other containers in 30s",
		},
		"the event of a back-off says why": {
			pod: aPod().policy(corev1.RestartPolicyAlways).ownedByReplicaSet().created(now.Add(-time.Second)).restarted("main", 0), rules: ordinary, backOff: minBackOff,
			want:  patch("essential-containers/due", "2030-01-02T03:04:05Z Succeeded: "+completed, nil),
			event: "Normal StopDelayed " + completed + "; stopping the pod's other containers in 10s, because its owner's pods complete too often (back-off)",
		},
		"an adoption is an annotation": {
			pod: aPod().untracked().labelled("proxy_main"), rules: adopting,
			want:  patch("essential-containers/tracked", "proxy,main", nil),
			event: "Normal Adopted The pod missed admission and is tracked from now on: proxy,main",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			c.pod.ResourceVersion = "999"
			s := newFixture(t, c.rules, c.pod.Pod)
			if c.backOff > 0 {
				s.backOffs.owners[replacingOwner(c.pod.Pod)] = backOff{last: now.Add(-time.Minute), delay: c.backOff / 2}
			}
			if _, err := s.reconcile(t); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.writes, cmp.AllowUnexported(write{})); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if event := s.nextEvent(); event != c.event {
				t.Errorf("got event  %s\nwant event %s", event, c.event)
			}
			if owner := metav1.GetControllerOf(c.pod); owner != nil {
				s.nextEvent() // the owner's
			}
			if len(s.events.Events) > 0 {
				t.Errorf("a second event: %s", s.nextEvent())
			}
		})
	}
}

// The API server would answer with the pod as it is after the patch: the cached
// one must not change under other readers.
func TestAWriteLeavesTheCachedPodAsItIs(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(aPod().exited("main", 0, "Completed").Pod).Build()
	var cached corev1.Pod
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(aPod()), &cached); err != nil {
		t.Fatal(err)
	}
	pod, before := &cached, cached.DeepCopy()
	decider := deciderAt(now, ordinary, true)
	d, at := decider.decide(t.Context(), pod)
	if err := apply(t.Context(), c, pod, d, at); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, pod); diff != "" {
		t.Errorf("the pod (-before +after):\n%s", diff)
	}
	var written corev1.Pod
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), &written); err != nil {
		t.Fatal(err)
	}
	if seconds := written.Spec.ActiveDeadlineSeconds; seconds == nil || *seconds != 1 || !essential.IsStopped(&written) {
		t.Errorf("the patch gives %+v, %v", written.Spec, written.Annotations)
	}
	if next, _ := decider.decide(t.Context(), &written); next.Action != Leave || next.At != now.Add(30*time.Second+reportSlack) {
		t.Errorf("the next decision is %+v", next)
	}
}

// Records of decisions have one time zone, whatever the machine's.
func TestTheTimeOfARecordIsInUTC(t *testing.T) {
	s := newFixture(t, ordinary, aPod().exited("main", 0, "Completed").Pod)
	s.clock = clocktesting.NewFakePassiveClock(now.Add(999 * time.Millisecond).In(time.FixedZone("east", 3600)))
	if _, err := s.reconcile(t); err != nil || len(s.writes) != 1 {
		t.Fatalf("error %v, writes %v", err, s.writes)
	}
	want := map[string]any{"essential-containers/stopped": "2030-01-02T03:04:05Z Succeeded: " + completed}
	if diff := cmp.Diff(want, s.writes[0].body["metadata"].(map[string]any)["annotations"]); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestDeletionIsBoundToTheUID(t *testing.T) {
	pod := bothEnded().stopped(succeeded, now).phase(succeeded).uid("uid-7")
	s := newFixture(t, ordinary, pod.Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	want := []write{{what: "delete nightly-x7k2p", uid: "uid-7"}}
	if diff := cmp.Diff(want, s.writes, cmp.AllowUnexported(write{})); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if len(s.events.Events) > 0 {
		t.Errorf("a second event for one reaped pod: %s", s.nextEvent())
	}
}

func TestADeletionWithoutAStopHasAnEvent(t *testing.T) {
	s := newFixture(t, ordinary, bothEnded().phase(succeeded).Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if len(s.writes) != 1 || !strings.HasPrefix(s.writes[0].what, "delete") {
		t.Errorf("writes %v", s.writes)
	}
	if event := s.nextEvent(); event != "Normal EssentialContainerCompleted "+completed+"; deleting the pod" {
		t.Errorf("got event %q", event)
	}
}

func TestNothingIsWrittenAndToldOfAPodThatIsNotDue(t *testing.T) {
	for sentence, pods := range map[string][]client.Object{
		"main runs":       {aPod().Pod},
		"the pod is gone": nil,
	} {
		s := newFixture(t, ordinary, pods...)
		result, err := s.reconcile(t)
		if err != nil || result != (reconcile.Result{}) || len(s.writes) > 0 || len(s.events.Events) > 0 {
			t.Errorf("%s: result %v, error %v, writes %v, %d events", sentence, result, err, s.writes, len(s.events.Events))
		}
	}
}

func TestReconcileComesBackAtTheDeadline(t *testing.T) {
	s := newFixture(t, ordinary, aPod().exited("main", 0, "Completed").stopped(succeeded, now).Pod)
	result, err := s.reconcile(t)
	if want := 30*time.Second + reportSlack; err != nil || result.RequeueAfter != want {
		t.Errorf("result %v, error %v, want to come back after %s", result, err, want)
	}
}

// A clock that is a day behind makes a short delay a long one, until it is set.
func TestReconcileLooksAgainInCaseTheClockIsSet(t *testing.T) {
	pod := aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").due(succeeded, now)
	s := newFixture(t, ordinary, pod.Pod)
	clock := clocktesting.NewFakePassiveClock(now.Add(-24 * time.Hour))
	s.clock = clock
	if result, err := s.reconcile(t); err != nil || result.RequeueAfter != lookAgain || len(s.writes) > 0 {
		t.Errorf("a day behind: result %v, error %v, writes %v", result, err, s.writes)
	}
	clock.SetTime(now.Add(lookAgain))
	if result, err := s.reconcile(t); err != nil || result != (reconcile.Result{}) || len(s.writes) != 1 {
		t.Errorf("set right: result %v, error %v, writes %v", result, err, s.writes)
	}
}

var errRefused = apierrors.NewServiceUnavailable("down")

func TestRefusedWrites(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for sentence, c := range map[string]struct {
		refusal error
		failed  float64
	}{
		"a pod that is gone is done":                {refusal: apierrors.NewNotFound(pods, "x")},
		"a pod that has changed is looked at again": {refusal: apierrors.NewConflict(pods, "x", errors.New("changed"))},
		"anything else is tried again":              {refusal: errRefused, failed: 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := newFixture(t, ordinary, aPod().exited("main", 0, "Completed").Pod)
			s.refusal = c.refusal
			_, err := s.reconcile(t)
			if (err != nil) != (c.failed > 0) {
				t.Errorf("got error %v", err)
			}
			if got := testutil.ToFloat64(s.report.metrics.failed.WithLabelValues("Stop")); got != c.failed {
				t.Errorf("%v failed writes counted, want %v", got, c.failed)
			}
			if got := testutil.ToFloat64(s.report.metrics.stopped.WithLabelValues("Succeeded")); got != 0 || len(s.events.Events) > 0 {
				t.Errorf("a stop that did not happen was reported: %v, %d events", got, len(s.events.Events))
			}
		})
	}
}

// Who reads the pod's events can do something about a quota that refuses its stop.
func TestARefusedStopIsToldOnce(t *testing.T) {
	s := newFixture(t, ordinary, aPod().exited("main", 0, "Completed").Pod)
	s.refusal = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "x", errors.New("exceeded quota: small"))
	for range 2 {
		if _, err := s.reconcile(t); err == nil {
			t.Error("the stop is not tried again")
		}
	}
	if event := s.nextEvent(); !strings.HasPrefix(event, "Warning StopRefused ") || !strings.Contains(event, "exceeded quota: small") {
		t.Errorf("got event %q", event)
	}
	if event := s.nextEvent(); event != "" {
		t.Errorf("emitted again: %s", event)
	}
}

// Each action is counted and reported when it was carried out, and counted as
// failed, under its name, when it was refused.
func TestActionsAreCountedAndTold(t *testing.T) {
	stopped := func(phase string) func(*metrics) prometheus.Counter {
		return func(m *metrics) prometheus.Counter { return m.stopped.WithLabelValues(phase) }
	}
	deleted := func(m *metrics) prometheus.Counter { return m.deleted }
	adopted := func(m *metrics) prometheus.Counter { return m.adopted }
	for sentence, c := range map[string]struct {
		pod    podBuilder
		rules  rules
		action string
		count  func(*metrics) prometheus.Counter // of those carried out, if they are counted
		event  string                            // how it begins; empty: none
	}{
		"an adoption":             {aPod().untracked(), adopting, "Adopt", adopted, "Normal Adopted Tracking "},
		"a delay":                 {aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s"), ordinary, "Delay", nil, "Normal StopDelayed Stopping "},
		"a delay of a failure":    {aPod().exited("main", 1, "Error").annotated(stopDelayKey, "30s"), ordinary, "Delay", nil, "Warning StopDelayed Stopping "},
		"a stop":                  {aPod().exited("main", 0, "Completed"), ordinary, "Stop", stopped("Succeeded"), "Normal EssentialContainerCompleted Stopping "},
		"a stop of a failure":     {aPod().exited("main", 1, "Error"), ordinary, "Stop", stopped("Failed"), "Warning EssentialContainerFailed Stopping "},
		"a deletion":              {bothEnded().stopped(succeeded, now).phase(succeeded), ordinary, "Delete", deleted, ""},
		"a deletion without stop": {bothEnded().phase(succeeded), ordinary, "Delete", deleted, "Normal EssentialContainerCompleted Deleting "},
	} {
		for outcome, refusal := range map[string]error{"done": nil, "refused": errRefused} {
			t.Run(sentence+", "+outcome, func(t *testing.T) {
				s := newFixture(t, c.rules, c.pod.Pod)
				s.refusal, s.events.Verbose = refusal, true
				if _, err := s.reconcile(t); !errors.Is(err, refusal) {
					t.Fatal(err)
				}
				done, failed, event := 1.0, 0.0, c.event
				if refusal != nil {
					done, failed, event = 0, 1, ""
				}
				if c.count != nil {
					if got := testutil.ToFloat64(c.count(s.report.metrics)); got != done {
						t.Errorf("%v are counted, want %v", got, done)
					}
				}
				if got := testutil.ToFloat64(s.report.metrics.failed.WithLabelValues(c.action)); got != failed {
					t.Errorf("%v are counted as failed, want %v", got, failed)
				}
				if got := s.nextEvent(); (got == "") != (event == "") || !strings.HasPrefix(got, event) {
					t.Errorf("got event %q, want %q", got, event)
				}
			})
		}
	}
}

// listener notes what events are about.
type listener struct {
	events.FakeRecorder
	heard []about
}

type about struct{ Regarding, Related runtime.Object }

func (l *listener) Eventf(regarding, related runtime.Object, _, _, _, _ string, _ ...any) {
	l.heard = append(l.heard, about{regarding, related})
}

func TestEventsAreToldOfTheOwnerToo(t *testing.T) {
	pod := aPod().exited("main", 0, "Completed").ownedBy("Job", "nightly")
	s := newFixture(t, ordinary, pod.Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	story := "Normal EssentialContainerCompleted " + completed + "; stopping the pod's other containers, the pod is deleted once they have ended"
	if event := s.nextEvent(); event != story {
		t.Errorf("event of the pod: %s", event)
	}
	if event, want := s.nextEvent(), strings.Replace(story, "Essential container ", "Pod nightly-x7k2p: Essential container ", 1); event != want {
		t.Errorf("event of the owner: %s", event)
	}

	var l listener
	s.report.events = &l
	s.report.emit(pod.Pod, corev1.EventTypeNormal, "R", "A", "note")
	want := []about{
		{pod.Pod, nil},
		{&corev1.ObjectReference{APIVersion: "batch/v1", Kind: "Job", Namespace: "jobs", Name: "nightly", UID: "uid-owner"}, pod.Pod},
	}
	if diff := cmp.Diff(want, l.heard); diff != "" {
		t.Errorf("events are about (-want +got):\n%s", diff)
	}
}

// change makes the pod that the reconciler sees another one; nil deletes it.
func (s *fixture) change(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	objects := []client.Object{}
	if pod != nil {
		objects = append(objects, pod)
	}
	s.client = fake.NewClientBuilder().WithObjects(objects...).Build()
}

// However many pods an owner has, it gets no more than a handful of events. The pods
// have their own, and other owners theirs.
func TestEventsOfOneOwnerAreBounded(t *testing.T) {
	s := newFixture(t, ordinary)
	var l listener
	s.report.events = &l
	count := func(kind string) (n int) {
		for _, a := range l.heard {
			if _, isPod := a.Regarding.(*corev1.Pod); isPod == (kind == "Pod") {
				n++
			}
		}
		return n
	}
	owned := aPod().ownedBy("Job", "nightly")
	for range 3 * ownerEvents {
		s.report.emit(owned.Pod, corev1.EventTypeNormal, "R", "A", "note")
	}
	if pods, owners := count("Pod"), count("Job"); pods != 3*ownerEvents || owners < ownerEvents || owners > ownerEvents+5 {
		t.Errorf("%d events about pods and %d about their owner", pods, owners)
	}
	before := count("Job")
	other := aPod().controlledBy(metav1.OwnerReference{Kind: "Job", Name: "other", UID: "another"})
	s.report.emit(other.Pod, corev1.EventTypeNormal, "R", "A", "note")
	if count("Job") != before+1 {
		t.Error("another owner gets no event")
	}
}

func TestAWarningIsEmittedOnceForAsLongAsItsCauseLasts(t *testing.T) {
	bad := func() podBuilder { return aPod().annotated(completionKey, "Some") }
	s := newFixture(t, ordinary)
	for _, step := range []struct {
		sentence string
		pod      *corev1.Pod
		events   int
	}{
		{"it is bad", bad().Pod, 1},
		{"it still is", bad().Pod, 0},
		{"it is bad in another way", bad().annotated(onFailureKey, "Some").Pod, 1},
		{"it is well", aPod().Pod, 0},
		{"it is bad again", bad().Pod, 1},
		{"it is gone", nil, 0},
		{"it is there again", bad().Pod, 1},
		{"another one of its name is bad too", bad().uid("uid-2").Pod, 1},
	} {
		s.change(t, step.pod)
		if _, err := s.reconcile(t); err != nil {
			t.Fatal(err)
		}
		if got := len(s.events.Events); got != step.events {
			t.Errorf("%s: %d events, want %d", step.sentence, got, step.events)
		}
		for len(s.events.Events) > 0 {
			if event := <-s.events.Events; !strings.HasPrefix(event, "Warning InvalidPolicy ") {
				t.Errorf("%s: got event %s", step.sentence, event)
			}
		}
	}
}

func TestAChangedLabelIsToldOnce(t *testing.T) {
	s := newFixture(t, ordinary)
	for range 2 {
		s.change(t, aPod().labelled("proxy").Pod)
		if _, err := s.reconcile(t); err != nil {
			t.Fatal(err)
		}
	}
	if event := s.nextEvent(); !strings.HasPrefix(event, "Warning LabelChanged ") || len(s.events.Events) > 0 || len(s.writes) > 0 {
		t.Errorf("got event %s and %d more, writes %v", event, len(s.events.Events), s.writes)
	}
}

func TestOverduePodsAreCounted(t *testing.T) {
	s := newFixture(t, ordinary, aPod().stopped(succeeded, now.Add(-time.Hour)).Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := s.report.notices.count(overdueReason); got != 1 {
		t.Errorf("%d overdue pods are counted", got)
	}
	if event := s.nextEvent(); !strings.HasPrefix(event, "Warning StopOverdue ") || len(s.writes) > 0 {
		t.Errorf("got event %s, writes %v", event, s.writes)
	}
}

func TestUntrackedPodsAreCounted(t *testing.T) {
	s := newFixture(t, ordinary, aPod().untracked().Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if got := s.report.notices.count(untrackedReason); got != 1 {
		t.Errorf("%d untracked pods are counted", got)
	}
	if event := s.nextEvent(); !strings.HasPrefix(event, "Warning Untracked ") {
		t.Errorf("got event %s", event)
	}
}

func TestALongNoteFitsIntoAnEvent(t *testing.T) {
	const allowed = 1024 // by the API, in bytes
	note := shorten(strings.Repeat("é", allowed))
	if len(note) > allowed || !utf8.ValidString(note) || !strings.HasSuffix(note, "é...") {
		t.Errorf("%d bytes, ends with %q", len(note), note[len(note)-5:])
	}
	s := newFixture(t, ordinary)
	for given, want := range map[string]string{ // about the pod, and about its owner
		"100%":                         "100%|Pod nightly-x7k2p: 100%",
		strings.Repeat("x", allowed):   strings.Repeat("x", allowed) + "|Pod nightly-x7k2p: " + strings.Repeat("x", allowed-22) + "...",
		strings.Repeat("x", allowed+1): strings.Repeat("x", allowed-3) + "...|Pod nightly-x7k2p: " + strings.Repeat("x", allowed-22) + "...",
	} {
		s.report.emit(aPod().ownedBy("Job", "nightly").Pod, "Normal", "R", "A", given)
		got := strings.TrimPrefix(s.nextEvent(), "Normal R ") + "|" + strings.TrimPrefix(s.nextEvent(), "Normal R ")
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What the cache of namespaces is asked.
func TestOnlyUntrackedPodsNeedToHaveOptedIn(t *testing.T) {
	for sentence, c := range map[string]struct {
		pod  podBuilder
		want []string
	}{
		"tracked":     {aPod(), nil},
		"not tracked": {aPod().untracked(), []string{"jobs"}},
	} {
		var asked []string
		d := deciderAt(now, ordinary, true)
		d.optedIn = func(_ context.Context, namespace string) bool {
			asked = append(asked, namespace)
			return true
		}
		d.decide(t.Context(), c.pod.Pod)
		if diff := cmp.Diff(c.want, asked); diff != "" {
			t.Errorf("%s: namespaces (-want +got):\n%s", sentence, diff)
		}
	}
}
