package reaper

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// stage is a reconciler on a client that records writes instead of doing them.
type stage struct {
	reconciler
	writes  []write
	refusal error // what every write answers
	told    *events.FakeRecorder
}

type write struct {
	what string
	uid  types.UID
	body map[string]any
}

func newStage(t *testing.T, strategy Strategy, pods ...client.Object) *stage {
	t.Helper()
	s := &stage{told: events.NewFakeRecorder(10)}
	base := fake.NewClientBuilder().WithObjects(pods...).WithStatusSubresource(&corev1.Pod{}).Build()
	recording := interceptor.NewClient(base, interceptor.Funcs{
		SubResourcePatch: func(_ context.Context, _ client.Client, subresource string, _ client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
			data, err := patch.Data(nil)
			if err != nil {
				return err
			}
			var body map[string]any
			if err := json.Unmarshal(data, &body); err != nil {
				return err
			}
			s.writes = append(s.writes, write{what: "patch " + subresource + " " + string(patch.Type()), body: body})
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
	s.reconciler = reconciler{
		client: recording, clock: clocktesting.NewFakePassiveClock(now), strategy: strategy,
		report: &reporter{events: s.told, metrics: newMetrics(prometheus.NewRegistry())},
	}
	return s
}

func (s *stage) reconcile(t *testing.T) (reconcile.Result, error) {
	t.Helper()
	return s.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(aPod())})
}

func TestStopIsOnePatchOfStatusAndAnnotation(t *testing.T) {
	pod := aPod().exited("main", 0, "Completed")
	s := newStage(t, Complete, pod.Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	want := []write{{
		what: "patch status application/strategic-merge-patch+json",
		body: map[string]any{
			"metadata": map[string]any{
				"uid": "uid-1", "resourceVersion": pod.ResourceVersion,
				"annotations": map[string]any{"essential-containers/stopped": "2030-01-02T03:04:05Z"},
			},
			"status": map[string]any{
				"phase": "Succeeded",
				"conditions": []any{map[string]any{
					"type": "essential-containers/Stopped", "status": "True", "reason": "EssentialContainerCompleted",
					"message": `Essential container "main" completed with exit code 0`, "lastTransitionTime": "2030-01-02T03:04:05Z",
				}},
			},
		},
	}}
	if diff := cmp.Diff(want, s.writes, cmp.AllowUnexported(write{})); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if event := <-s.told.Events; !strings.Contains(event, "Normal EssentialContainerCompleted") {
		t.Errorf("got event %q", event)
	}
}

func TestARepeatedStopChangesTheAnnotationAndKeepsTheTransition(t *testing.T) {
	first := now.Add(-time.Hour)
	pod := aPod().exited("main", 0, "Completed").stopped(first, first).phase(corev1.PodRunning)
	s := newStage(t, Complete, pod.Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if len(s.writes) != 1 {
		t.Fatalf("got writes %v", s.writes)
	}
	condition := s.writes[0].body["status"].(map[string]any)["conditions"].([]any)[0].(map[string]any)
	if _, moved := condition["lastTransitionTime"]; moved {
		t.Errorf("the transition time moves: %v", condition)
	}
	annotations := s.writes[0].body["metadata"].(map[string]any)["annotations"].(map[string]any)
	if annotations["essential-containers/stopped"] != "2030-01-02T03:04:05Z" {
		t.Errorf("annotations %v", annotations)
	}
	if event := <-s.told.Events; !strings.Contains(event, "Warning StopRepeated") {
		t.Errorf("got event %q", event)
	}
}

func TestDeletionIsBoundToTheUID(t *testing.T) {
	pod := aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").stopped(now, now).acknowledged().uid("uid-7")
	s := newStage(t, Complete, pod.Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	want := []write{{what: "delete nightly-x7k2p", uid: "uid-7"}}
	if diff := cmp.Diff(want, s.writes, cmp.AllowUnexported(write{})); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if len(s.told.Events) > 0 {
		t.Errorf("a second event for one reaped pod: %s", <-s.told.Events)
	}
}

func TestPlainDeletionTellsWhy(t *testing.T) {
	s := newStage(t, DeleteOnly, aPod().exited("main", 0, "Completed").Pod)
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	if len(s.writes) != 1 || !strings.HasPrefix(s.writes[0].what, "delete") {
		t.Errorf("writes %v", s.writes)
	}
	if event := <-s.told.Events; !strings.Contains(event, "EssentialContainerCompletedDeleted") {
		t.Errorf("got event %q", event)
	}
}

func TestNothingIsWrittenAndToldOfAPodThatIsNotDue(t *testing.T) {
	for sentence, pods := range map[string][]client.Object{
		"main runs":       {aPod().Pod},
		"the pod is gone": nil,
	} {
		s := newStage(t, Complete, pods...)
		result, err := s.reconcile(t)
		if err != nil || result != (reconcile.Result{}) || len(s.writes) > 0 || len(s.told.Events) > 0 {
			t.Errorf("%s: result %v, error %v, writes %v, %d events", sentence, result, err, s.writes, len(s.told.Events))
		}
	}
}

func TestReconcileComesBackAtTheDeadline(t *testing.T) {
	s := newStage(t, Complete, aPod().exited("main", 0, "Completed").stopped(now, now).acknowledged().Pod)
	result, err := s.reconcile(t)
	if want := 30*time.Second + reportSlack; err != nil || result.RequeueAfter != want {
		t.Errorf("result %v, error %v, want to come back after %s", result, err, want)
	}
}

func TestRefusedWrites(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for sentence, c := range map[string]struct {
		refusal error
		failed  float64
	}{
		"a pod that is gone is done":               {refusal: apierrors.NewNotFound(pods, "x")},
		"a pod that has changed is looked at anew": {refusal: apierrors.NewConflict(pods, "x", errors.New("changed"))},
		"anything else is tried again":             {refusal: apierrors.NewServiceUnavailable("down"), failed: 1},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := newStage(t, Complete, aPod().exited("main", 0, "Completed").Pod)
			s.refusal = c.refusal
			_, err := s.reconcile(t)
			if (err != nil) != (c.failed > 0) {
				t.Errorf("got error %v", err)
			}
			if got := testutil.ToFloat64(s.report.metrics.failed.WithLabelValues("Stop")); got != c.failed {
				t.Errorf("%v failed writes counted, want %v", got, c.failed)
			}
			if got := testutil.ToFloat64(s.report.metrics.stopped); got != 0 || len(s.told.Events) > 0 {
				t.Errorf("a stop that did not happen was reported: %v, %d events", got, len(s.told.Events))
			}
		})
	}
}
