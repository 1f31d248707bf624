package reaper

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// replaced is a pod of a Deployment that was created then.
func replaced(created time.Time) podBuilder {
	return aPod().policy(corev1.RestartPolicyAlways).ownedByReplicaSet().created(created)
}

// spin stops a pod that was created a second before, again and again, as soon as
// its back-off is over, and returns the back-offs and the time of the last stop.
func spin(b *backOffs, at time.Time, times int) (delays []time.Duration, last time.Time) {
	for range times {
		pod := replaced(at.Add(-time.Second)).Pod
		delay := b.of(pod, at)
		delays = append(delays, delay)
		last = at.Add(delay)
		b.stopped(pod, last)
		at = last.Add(3 * time.Second)
	}
	return delays, last
}

func TestTheBackOffDoublesUpToFiveMinutes(t *testing.T) {
	got, _ := spin(newBackOffs(), now, 9)
	want := []time.Duration{
		0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second,
		5 * time.Minute, 5 * time.Minute, 5 * time.Minute,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("back-offs (-want +got):\n%s", diff)
	}
}

func TestWhoHasABackOff(t *testing.T) {
	for sentence, c := range map[string]struct {
		pod  podBuilder
		want time.Duration
	}{
		"a replacement":                       {replaced(now), minBackOff},
		"a replacement under OnFailure":       {replaced(now).policy(corev1.RestartPolicyOnFailure), 0},
		"a Job's pod":                         {aPod().ownedBy("Job", "nightly").created(now), 0},
		"a pod without an owner":              {aPod().policy(corev1.RestartPolicyAlways).created(now), 0},
		"a pod of another owner":              {replaced(now).controlledBy(metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: "uid-2"}), 0},
		"a pod whose owner is no controller":  {withoutController(replaced(now)), 0},
		"a replacement of a DaemonSet":        {replaced(now).controlledBy(metav1.OwnerReference{APIVersion: "apps/v1", Kind: "DaemonSet", UID: "uid-owner"}), minBackOff},
		"a sibling, created before that stop": {replaced(now.Add(-time.Hour)), 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			b := newBackOffs()
			b.stopped(replaced(now.Add(-time.Hour)).Pod, now.Add(-time.Second))
			for range 2 { // to ask changes nothing
				if got := b.of(c.pod.Pod, now.Add(time.Second)); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			}
		})
	}
}

func withoutController(b podBuilder) podBuilder {
	for i := range b.OwnerReferences {
		b.OwnerReferences[i].Controller = nil
	}
	return b
}

// Ten replicas that complete together are not ten replacements: the back-off
// doubles once for all of them.
func TestSiblingsHaveOneBackOff(t *testing.T) {
	b := newBackOffs()
	at := now
	for round, want := range []time.Duration{0, 10 * time.Second, 20 * time.Second} {
		created := at.Add(-time.Second)
		for range 10 {
			pod := replaced(created).Pod
			if got := b.of(pod, at); got != want {
				t.Fatalf("round %d: got %s, want %s", round, got, want)
			}
			b.stopped(pod, at)
			at = at.Add(10 * time.Millisecond)
		}
		at = at.Add(10 * time.Second)
	}
}

func TestTheBackOffIsForgottenAfterTenMinutes(t *testing.T) {
	b := newBackOffs()
	delays, last := spin(b, now, 3)
	since := delays[2] + 10*time.Minute
	for sentence, c := range map[string]struct {
		at   time.Time
		want time.Duration
	}{
		"before": {last.Add(since), 40 * time.Second},
		"after":  {last.Add(since + time.Nanosecond), 0},
	} {
		if got := b.of(replaced(last.Add(time.Second)).Pod, c.at); got != c.want {
			t.Errorf("%s: got %s, want %s", sentence, got, c.want)
		}
	}
	again, _ := spin(b, last.Add(time.Hour), 2)
	if diff := cmp.Diff([]time.Duration{0, minBackOff}, again); diff != "" {
		t.Errorf("an hour later (-want +got):\n%s", diff)
	}
}

// Owners whose back-off is over take no memory.
func TestBackOffsAreBounded(t *testing.T) {
	b := newBackOffs()
	stop := func(i int, at time.Time) {
		b.stopped(replaced(at).controlledBy(metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: types.UID(fmt.Sprint(i))}).Pod, at)
	}
	for i := range 1000 {
		stop(i, now)
	}
	if len(b.owners) != 1000 {
		t.Errorf("%d owners are remembered, want 1000", len(b.owners))
	}
	stop(1000, now.Add(backOffReset+time.Second))
	if len(b.owners) != 1 {
		t.Errorf("%d owners are remembered later, want 1", len(b.owners))
	}
	for i := range 1000 {
		b.of(replaced(now).controlledBy(metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: types.UID(fmt.Sprint("new", i))}).Pod, now)
	}
	if len(b.owners) != 1 {
		t.Errorf("%d owners are remembered because they were looked up, want 1", len(b.owners))
	}
}

// The reconciler remembers a stop that was carried out, and none that was refused.
func TestASpinningDeploymentIsDelayed(t *testing.T) {
	first := replaced(now.Add(-time.Minute)).restarted("main", 0)
	s := newFixture(t, ordinary, first.Pod)
	s.refusal = errRefused
	if _, err := s.reconcile(t); err == nil {
		t.Fatal("the refusal is lost")
	}
	if got := s.backOffs.of(replaced(now).Pod, now); got != 0 {
		t.Errorf("after a refused stop: %s", got)
	}
	s.refusal = nil
	if _, err := s.reconcile(t); err != nil {
		t.Fatal(err)
	}
	second := replaced(now.Add(time.Second)).restarted("main", 0)
	if d, _ := s.decide(t.Context(), second.Pod); d.Action != Delay || d.Delay != minBackOff {
		t.Errorf("the replacement: %s after %s, want Delay after %s", d.Action, d.Delay, minBackOff)
	}
	third := replaced(now.Add(time.Second)).restarted("main", 0).due(succeeded, now.Add(-minBackOff-time.Second))
	if d, _ := s.decide(t.Context(), third.Pod); d.Action != Stop {
		t.Errorf("after the back-off: %s, want Stop", d.Action)
	}
}
