package reaper

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// decisions is the design's table, sentence by sentence.
var decisions = map[string]struct {
	pod      podBuilder
	strategy Strategy
	want     Decision
}{
	"a pod that is not tracked is left":     {pod: aPod().untracked().exited("main", 0, "Completed")},
	"a pod that is being deleted is left":   {pod: aPod().deleting().exited("main", 0, "Completed")},
	"a mirror pod is left":                  {pod: aPod().mirror().exited("main", 0, "Completed")},
	"a failed pod is left":                  {pod: aPod().exited("main", 0, "Completed").phase(corev1.PodFailed)},
	"a stopped pod that failed is left":     {pod: aPod().stopped(now, now).phase(corev1.PodFailed)},
	"while main runs, wait":                 {pod: aPod()},
	"when only a sidecar ended, wait":       {pod: aPod().exited("proxy", 0, "Completed")},
	"when main failed, wait":                {pod: aPod().exited("main", 1, "Completed")},
	"when main failed and was retried too":  {pod: aPod().restarted("main", 137)},
	"the exit code decides, not the reason": {pod: aPod().exited("main", 0, "Error"), want: Decision{Action: Stop, Because: `Essential container "main" completed with exit code 0`}},
	"main completed": {
		pod:  aPod().exited("main", 0, "Completed"),
		want: Decision{Action: Stop, Because: `Essential container "main" completed with exit code 0`},
	},
	"main completed and was restarted at once": {
		pod:  aPod().restarted("main", 0),
		want: Decision{Action: Stop, Because: `Essential container "main" completed with exit code 0`},
	},
	"main completed, then failed after its restart": {
		pod:  aPod().restarted("main", 0).exited("main", 1, "Error"),
		want: Decision{Action: Stop, Because: `Essential container "main" completed with exit code 0`},
	},
	"of several, one completion is enough": {
		pod:  aPod().tracking("worker,main").exited("main", 0, "Completed"),
		want: Decision{Action: Stop, Because: `Essential container "main" completed with exit code 0`},
	},
	"a pod that is still pending": {
		pod:  aPod().exited("main", 0, "Completed").phase(corev1.PodPending),
		want: Decision{Action: Stop, Because: `Essential container "main" completed with exit code 0`},
	},
	"plain deletion of a completed pod": {
		pod: aPod().exited("main", 0, "Completed"), strategy: DeleteOnly,
		want: Decision{Action: Delete, Because: `Essential container "main" completed with exit code 0`},
	},
	"plain deletion while main runs, wait": {pod: aPod(), strategy: DeleteOnly},
	"all containers ended by themselves": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(corev1.PodSucceeded),
		want: Decision{Action: Delete},
	},
	"stopped, and the kubelet has not taken notice": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now, now),
		want: Decision{At: now.Add(30*time.Second + reportSlack)},
	},
	"stopped, and the sidecar still ends": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now, now).acknowledged(),
		want: Decision{At: now.Add(30*time.Second + reportSlack)},
	},
	"stopped, and a native sidecar still ends": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").nativeSidecar("mesh").stopped(now, now).acknowledged(),
		want: Decision{At: now.Add(30*time.Second + reportSlack)},
	},
	"the grace period has a default": {
		pod:  aPod().grace(nil).exited("main", 0, "Completed").stopped(now, now),
		want: Decision{At: now.Add(30*time.Second + reportSlack)},
	},
	"stopped, and all has ended": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").stopped(now, now).acknowledged(),
		want: Decision{Action: Delete},
	},
	"stopped, nothing runs, but the kubelet has not taken notice": {
		pod:  aPod().exited("main", 0, "Completed").crashLooping("proxy").stopped(now, now),
		want: Decision{At: now.Add(reportSlack)},
	},
	"stopped, nothing runs, and the kubelet never took notice": {
		pod:  aPod().exited("main", 0, "Completed").crashLooping("proxy").stopped(now.Add(-reportSlack), now.Add(-reportSlack)),
		want: Decision{Action: Delete},
	},
	"stopped, and a container outlives its grace period": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-time.Minute), now.Add(-time.Minute)).acknowledged(),
		want: Decision{Action: StopAgain, Warn: true, Because: "containers still run past their grace period"},
	},
	"stopped just now, and the phase was written over": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now, now).phase(corev1.PodRunning),
		want: Decision{At: now.Add(minRepeat)},
	},
	"stopped a moment ago, and the phase was written over": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-minRepeat), now.Add(-minRepeat)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Because: "its phase is Running again"},
	},
	"the pauses between stops double": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-8*time.Second), now).phase(corev1.PodRunning),
		want: Decision{At: now.Add(8 * time.Second)},
	},
	"up to a bound": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-24*time.Hour), now).phase(corev1.PodRunning),
		want: Decision{At: now.Add(maxRepeat)},
	},
	"a phase that does not stay is worth a warning after a while": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-30*time.Second), now.Add(-15*time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Warn: true, Because: "its phase is Running again"},
	},
	"once stopped, a pod stays due, whatever main does then": {
		pod:  aPod().exited("main", 1, "Error").restarted("main", 1).stopped(now.Add(-time.Second), now.Add(-time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Because: "its phase is Running again"},
	},
	"a terminal phase that somebody else wrote is the kubelet's to carry out": {
		pod: aPod().exited("main", 0, "Completed").phase(corev1.PodSucceeded),
	},
	"a stop whose time cannot be read counts as long past": {
		pod:  withStopped(aPod().exited("main", 0, "Completed").phase(corev1.PodRunning), "yesterday"),
		want: Decision{Action: StopAgain, Warn: true, Because: "its phase is Running again"},
	},
}

func withStopped(b podBuilder, text string) podBuilder {
	b.Annotations["essential-containers/stopped"] = text
	return b
}

func TestDecide(t *testing.T) {
	for sentence, c := range decisions {
		t.Run(sentence, func(t *testing.T) {
			strategy := c.strategy
			if strategy == "" {
				strategy = Complete
			}
			if diff := cmp.Diff(c.want, decide(c.pod.Pod, strategy, now)); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

// What decide reads must survive the cache.
func TestDecideReadsNothingThatTheCacheTrims(t *testing.T) {
	for sentence, c := range decisions {
		for _, strategy := range []Strategy{Complete, DeleteOnly} {
			trimmed, err := trim(c.pod.DeepCopy())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decide(c.pod.Pod, strategy, now), decide(trimmed.(*corev1.Pod), strategy, now)); diff != "" {
				t.Errorf("%s: decision on the whole pod (-) and on the trimmed one (+):\n%s", sentence, diff)
			}
		}
	}
}

func TestTheZeroDecisionIsNoAction(t *testing.T) {
	if (Decision{}).Action != Leave {
		t.Error("the zero decision acts")
	}
}

// A decision that waits must come to an action at the time that it names.
func TestDecideKeepsItsAppointments(t *testing.T) {
	for sentence, c := range decisions {
		d := decide(c.pod.Pod, Complete, now)
		if d.At.IsZero() {
			continue
		}
		if early := decide(c.pod.Pod, Complete, d.At.Add(-time.Nanosecond)); early.Action != Leave {
			t.Errorf("%s: %s before %s", sentence, early.Action, d.At)
		}
		if due := decide(c.pod.Pod, Complete, d.At); due.Action == Leave {
			t.Errorf("%s: nothing at %s", sentence, d.At)
		}
	}
}
