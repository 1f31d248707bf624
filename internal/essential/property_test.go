package essential_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/oracle"
)

// outcome is the product's answer.
func outcome(t *rapid.T, f *oracle.Facts) essential.Outcome {
	pod := f.Pod(corev1.PodFailed)
	policies, errs := essential.DefaultPolicies().Override(nil, pod.Annotations)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return essential.OutcomeOf(pod, policies)
}

// Whatever happened to a pod, its outcome is the one of the design's tables.
func TestTheOutcomeIsTheOracles(t *testing.T) {
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		got, want := outcome(t, f), f.Outcome()
		explained := got.Because == "" && len(want.By) == 0 || slices.Contains(want.By, got.Because)
		if string(got.Phase) != want.Phase || got.FailureIgnored != want.FailureIgnored || !explained {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// The oracle's answer must not depend on a mistake that it shares with the code.
func TestNoPodSucceedsInWhichNothingCompleted(t *testing.T) {
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		f.Stopped, f.Delayed, f.OldVersion = "", "", ""
		exited := func(c oracle.Container) bool {
			return c.Essential && !c.Unreported && (c.State == oracle.Exited && c.Exit.Code == 0 || c.Before != nil && c.Before.Code == 0)
		}
		if !slices.ContainsFunc(f.Containers, exited) && outcome(t, f).Phase == corev1.PodSucceeded {
			t.Fatal("Succeeded")
		}
	})
}

// Once an outcome is recorded, no container status changes it.
func TestWhatIsRecordedRemains(t *testing.T) {
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		if f.Stopped == "" && f.Delayed == "" {
			f.Delayed = rapid.SampledFrom([]string{"Succeeded", "Failed"}).Draw(t, "recorded")
		}
		before := outcome(t, f)
		for i, c := range f.Containers {
			f.Containers[i] = oracle.DrawState(t, c)
		}
		if after := outcome(t, f); after != before {
			t.Fatalf("%+v becomes %+v", before, after)
		}
	})
}

// Without a record too, what happens later changes nothing: the reaper may be late.
func TestWhatHappensLaterChangesNothing(t *testing.T) {
	const later = oracle.Last + 1
	oracle.Check(t, func(t *rapid.T) {
		f := oracle.Draw(t)
		f.Disrupted, f.Reason = "", ""
		unknown := func(c oracle.Container) bool { return c.State == oracle.Exited && c.Exit.At == oracle.Unknown }
		before := outcome(t, f)
		if before.Phase == "" || slices.ContainsFunc(f.Containers, unknown) {
			t.Skip("nothing is decided, or in an unknown order")
		}
		for i := range f.Containers {
			if c := &f.Containers[i]; c.State != oracle.Exited {
				c.State, c.Exit = oracle.Exited, oracle.Exit{Code: rapid.SampledFrom([]int32{0, 1}).Draw(t, "later exit"), At: later}
			}
		}
		if f.Deleted == nil && rapid.Bool().Draw(t, "deleted later") {
			f.Deleted = new(later)
		}
		if f.Deadline == nil && rapid.Bool().Draw(t, "deadline later") {
			f.Deadline = new(later)
		}
		if after := outcome(t, f); after != before {
			t.Fatalf("%+v becomes %+v", before, after)
		}
	})
}
