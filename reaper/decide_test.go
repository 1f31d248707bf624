package reaper

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

const (
	completed       = `Essential container "main" completed with exit code 0`
	failed          = `Essential container "main" failed with exit code 1`
	stillRuns       = "containers still run past their grace period"
	isRunning       = "its phase is Running again"
	completionKey   = "essential-containers/completion"
	onFailureKey    = "essential-containers/on-failure"
	stopDelayKey    = "essential-containers/stop-delay"
	retentionKey    = "essential-containers/retention"
	succeeded       = corev1.PodSucceeded
	failedPhase     = corev1.PodFailed
	policyComplaint = "The operator's default is in force instead: metadata.annotations[essential-containers/completion]: Invalid value: \"Some\": must be Any or All"
)

// operators are the rules of an operator who leaves everything as it is, and of
// some who do not.
var (
	ordinary = rules{strategy: Complete, defaults: essential.DefaultPolicies()}
	plain    = rules{strategy: DeleteOnly, defaults: essential.DefaultPolicies()}
	adopting = rules{strategy: Complete, defaults: essential.DefaultPolicies(), adopt: true}
	strict   = rules{strategy: Complete, defaults: essential.Policies{
		Completion: essential.CompletionAll, OnFailure: essential.OnFailureStop, StopDelay: time.Minute, Retention: time.Hour}}
)

// decisions is the design's table, sentence by sentence.
var decisions = map[string]struct {
	pod   podBuilder
	rules *rules // default: ordinary
	out   bool   // the namespace did not opt in
	want  Decision
}{
	// Who is decided upon.
	"a pod that is being deleted is left": {pod: aPod().deleting().exited("main", 0, "Completed")},
	"a mirror pod is left":                {pod: aPod().mirror().exited("main", 0, "Completed")},
	"a failed pod is left":                {pod: aPod().exited("main", 0, "Completed").phase(failedPhase)},
	"a pod that ran out of its deadline is left, though main ended well": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").phase(failedPhase)},
	"a tracked pod is reaped, though its namespace has opted out since": {
		pod: aPod().exited("main", 0, "Completed"), out: true, want: Decision{Action: Stop, Phase: succeeded, Because: completed}},

	// When it is due.
	"while main runs, wait":                {pod: aPod()},
	"when only a sidecar ended, wait":      {pod: aPod().exited("proxy", 0, "Completed")},
	"when main failed and was retried too": {pod: aPod().restarted("main", 137)},
	"when main failed and will be retried": {pod: aPod().policy(corev1.RestartPolicyOnFailure).exited("main", 1, "Error").annotated(onFailureKey, "Stop")},
	"when main failed for good, tell, and wait": {
		pod:  aPod().exited("main", 1, "Completed"),
		want: Decision{Warning: Warning{failedReason, `Essential container "main" failed with exit code 1 (Completed) and is not restarted; the pod's other containers go on (essential-containers/on-failure: Ignore)`}}},
	"when main failed for good, and that stops": {
		pod:  aPod().exited("main", 1, "Error").annotated(onFailureKey, "Stop"),
		want: Decision{Action: Stop, Phase: failedPhase, Because: failed}},
	"the operator's default counts where the pod says nothing": {
		pod: aPod().exited("main", 1, "Error"), rules: &rules{strategy: Complete, defaults: essential.Policies{OnFailure: essential.OnFailureStop}},
		want: Decision{Action: Stop, Phase: failedPhase, Because: failed}},
	"the exit code decides, not the reason": {pod: aPod().exited("main", 0, "Error"), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"main completed":                        {pod: aPod().exited("main", 0, "Completed"), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"main completed and was restarted at once": {
		pod: aPod().policy(corev1.RestartPolicyAlways).restarted("main", 0), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"main completed, then failed after its restart": {
		pod: aPod().restarted("main", 0).exited("main", 1, "Error"), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"of several, one completion is enough": {
		pod: aPod().tracking("worker,main").exited("main", 0, "Completed"), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"of several, one completion is not all": {
		pod: aPod().tracking("proxy,main").annotated(completionKey, "All").exited("main", 0, "Completed")},
	"all of several": {
		pod:  aPod().tracking("worker,main").annotated(completionKey, "All").exited("main", 0, "Completed").restarted("worker", 0),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"a pod that is still pending": {
		pod: aPod().exited("main", 0, "Completed").phase(corev1.PodPending), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"a bad policy is told, and the operator's is in force": {
		pod:  aPod().exited("main", 0, "Completed").annotated(completionKey, "Some"),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed, Warning: Warning{invalidPolicyReason, policyComplaint}}},
	"a bad policy is told before the pod is due": {
		pod: aPod().annotated(completionKey, "Some"), want: Decision{Warning: Warning{invalidPolicyReason, policyComplaint}}},

	// The kubelet ends a pod by itself whose regular containers have all ended.
	"all regular containers have ended": {pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed")},
	"only native sidecars are left":     {pod: aPod().exited("main", 0, "Completed").exited("proxy", 1, "Error").nativeSidecar("mesh")},
	"all have ended, but are restarted": {
		pod:  aPod().policy(corev1.RestartPolicyAlways).exited("main", 0, "Completed").exited("proxy", 0, "Completed"),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"a sidecar waits for its restart": {
		pod:  aPod().policy(corev1.RestartPolicyOnFailure).exited("main", 0, "Completed").crashLooping("proxy"),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},

	// Delay.
	"a stop-delay is put on record": {
		pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s"), want: Decision{Action: Delay, Phase: succeeded, Because: completed}},
	"a stop-delay of a failure too": {
		pod:  aPod().exited("main", 1, "Error").annotated(stopDelayKey, "30s").annotated(onFailureKey, "Stop"),
		want: Decision{Action: Delay, Phase: failedPhase, Because: failed}},
	"the delay runs from its record": {
		pod:  aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").recorded(corev1.ConditionFalse, completedReason, now.Add(-10*time.Second)),
		want: Decision{At: now.Add(21 * time.Second)}}, // the record has whole seconds
	"the delay is over": {
		pod:  aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").recorded(corev1.ConditionFalse, completedReason, now.Add(-31*time.Second)),
		want: Decision{Action: Stop, Phase: succeeded, Because: "What was recorded"}},
	"whatever main does in the delay, the record stands": {
		pod:  aPod().restarted("main", 1).annotated(stopDelayKey, "30s").recorded(corev1.ConditionFalse, completedReason, now.Add(-31*time.Second)),
		want: Decision{Action: Stop, Phase: succeeded, Because: "What was recorded"}},
	"a failure on record stays one": {
		pod:  aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").recorded(corev1.ConditionFalse, failedReason, now.Add(-31*time.Second)),
		want: Decision{Action: Stop, Phase: failedPhase, Because: "What was recorded"}},
	"a delay that is taken away ends at once": {
		pod:  aPod().exited("main", 0, "Completed").recorded(corev1.ConditionFalse, completedReason, now),
		want: Decision{Action: Stop, Phase: succeeded, Because: "What was recorded"}},
	"the containers may end in the delay": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").annotated(stopDelayKey, "30s").recorded(corev1.ConditionFalse, completedReason, now)},

	// After the stop.
	"all containers ended by themselves": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(succeeded), want: Decision{Action: Delete, Phase: succeeded, Because: completed}},
	"all ended by themselves, the retention counts from then": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").phase(succeeded).annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(10 * time.Minute)}},
	"the retention counts from the last end, the sidecar's": {
		pod:  aPod().exited("main", 0, "Completed").finished("main", now.Add(-time.Minute)).exited("proxy", 0, "Completed").phase(succeeded).annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(10 * time.Minute)}},
	"or main's": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").finished("proxy", now.Add(-time.Minute)).phase(succeeded).annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(10 * time.Minute)}},
	"a succeeded pod in which main did not complete is somebody else's": {
		pod: aPod().exited("main", 1, "Error").exited("proxy", 0, "Completed").phase(succeeded)},
	"even if a failure for good stops": {
		pod: aPod().exited("main", 1, "Error").exited("proxy", 0, "Completed").phase(succeeded).annotated(onFailureKey, "Stop")},
	"stopped, and the kubelet has not taken notice": {
		pod: aPod().exited("main", 0, "Completed").stopped(now, now), want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"stopped, and the sidecar still ends": {
		pod: aPod().exited("main", 0, "Completed").stopped(now, now).acknowledged(), want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"stopped, and a native sidecar still ends": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").nativeSidecar("mesh").stopped(now, now).acknowledged(),
		want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"the grace period has a default": {
		pod: aPod().grace(nil).exited("main", 0, "Completed").stopped(now, now), want: Decision{At: now.Add(40 * time.Second)}}, // as documented
	"a pod has its own": {
		pod: aPod().grace(new(int64(60))).exited("main", 0, "Completed").stopped(now, now), want: Decision{At: now.Add(time.Minute + reportSlack)}},
	"stopped, and all has ended": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").stopped(now, now).acknowledged(), want: Decision{Action: Delete}},
	"stopped, all has ended, and it is retained": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").stopped(now.Add(-time.Minute), now).acknowledged().annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(9 * time.Minute)}},
	"its retention is over": {
		pod:  aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").stopped(now.Add(-10*time.Minute), now.Add(-10*time.Minute)).acknowledged().annotated(retentionKey, "10m"),
		want: Decision{Action: Delete}},
	"its retention is over, but not its grace period": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-time.Second), now.Add(-time.Second)).acknowledged().annotated(retentionKey, "1s"),
		want: Decision{At: now.Add(29*time.Second + reportSlack)}},
	"it is retained for ever": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").stopped(now.Add(-9000*time.Hour), now.Add(-9000*time.Hour)).acknowledged().annotated(retentionKey, "Forever")},
	"a bad retention leaves the operator's": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").stopped(now, now).acknowledged().annotated(retentionKey, "10"), rules: &strict,
		want: Decision{At: now.Add(time.Hour), Warning: Warning{invalidPolicyReason,
			`The operator's default is in force instead: metadata.annotations[essential-containers/retention]: Invalid value: "10": must be a duration such as 90s, 10m or 1h30m, or Forever`}}},
	"stopped as failed, and the sidecar still ends": {
		pod: aPod().exited("main", 1, "Error").stoppedAsFailed(now, now), want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"stopped as failed, and all has ended: never deleted": {
		pod: aPod().exited("main", 1, "Error").exited("proxy", 143, "Error").stoppedAsFailed(now.Add(-9000*time.Hour), now.Add(-9000*time.Hour)).acknowledged()},
	"stopped as failed, and the phase was written over": {
		pod:  aPod().exited("main", 1, "Error").stoppedAsFailed(now.Add(-minRepeat), now.Add(-minRepeat)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Phase: failedPhase, Because: isRunning}},
	"stopped as failed, and a container outlives its grace period": {
		pod:  aPod().exited("main", 1, "Error").stoppedAsFailed(now.Add(-time.Minute), now.Add(-time.Minute)),
		want: Decision{Action: StopAgain, Phase: failedPhase, Because: stillRuns, Warning: withoutEffect(stillRuns)}},
	"stopped, nothing runs, but the kubelet has not taken notice": {
		pod: aPod().exited("main", 0, "Completed").crashLooping("proxy").stopped(now, now), want: Decision{At: now.Add(reportSlack)}},
	"stopped again, nothing runs, but the kubelet has not taken notice of that": {
		pod: aPod().exited("main", 0, "Completed").crashLooping("proxy").stopped(now.Add(-5*time.Second), now), want: Decision{At: now.Add(reportSlack)}},
	"stopped, nothing runs, and the kubelet never took notice": {
		pod:  aPod().exited("main", 0, "Completed").crashLooping("proxy").stopped(now.Add(-reportSlack), now.Add(-reportSlack)),
		want: Decision{Action: Delete}},
	"stopped, and a container outlives its grace period": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-time.Minute), now.Add(-time.Minute)).acknowledged(),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: stillRuns, Warning: withoutEffect(stillRuns)}},
	"stopped again, and a container still outlives it": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-time.Minute), now).acknowledged(),
		want: Decision{At: now.Add(time.Minute), Warning: withoutEffect(stillRuns)}},
	"stopped again after its phase was written over, it has the whole grace period once more": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-35*time.Second), now.Add(-10*time.Second)).acknowledged(),
		want: Decision{At: now.Add(20*time.Second + reportSlack)}},
	"a stop without effect is worse than a bad policy": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-time.Minute), now.Add(-time.Minute)).acknowledged().annotated(completionKey, "Some"),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: stillRuns, Warning: withoutEffect(stillRuns)}},
	"stopped just now, and the phase was written over": {
		pod: aPod().exited("main", 0, "Completed").stopped(now, now).phase(corev1.PodRunning), want: Decision{At: now.Add(100 * time.Millisecond)}}, // as documented
	"stopped a moment ago, and the phase was written over": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-minRepeat), now.Add(-minRepeat)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: isRunning}},
	"the pauses between stops double": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-8*time.Second), now).phase(corev1.PodRunning),
		want: Decision{At: now.Add(8 * time.Second)}},
	"up to a bound": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-24*time.Hour), now).phase(corev1.PodRunning),
		want: Decision{At: now.Add(5 * time.Minute), Warning: withoutEffect(isRunning)}}, // as documented
	"a phase that does not stay is worth a warning after a while": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-30*time.Second), now.Add(-15*time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: isRunning, Warning: withoutEffect(isRunning)}},
	"that is ten seconds": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-10*time.Second), now.Add(-5*time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: isRunning, Warning: withoutEffect(isRunning)}},
	"not less": {
		pod:  aPod().exited("main", 0, "Completed").stopped(now.Add(-9*time.Second), now.Add(-5*time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: isRunning}},
	"once stopped, a pod stays due, whatever main does then": {
		pod:  aPod().exited("main", 1, "Error").restarted("main", 1).stopped(now.Add(-time.Second), now.Add(-time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: isRunning}},
	"a terminal phase that somebody else wrote is the kubelet's to carry out": {
		pod: aPod().exited("main", 0, "Completed").phase(succeeded)},
	"a stop whose time cannot be read counts as long past": {
		pod:  aPod().exited("main", 0, "Completed").annotated("essential-containers/stopped", "yesterday"),
		want: Decision{Action: StopAgain, Phase: succeeded, Because: isRunning, Warning: withoutEffect(isRunning)}},
	"a stop whose condition is lost was the first": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error").acknowledged().phase(succeeded).annotated(retentionKey, "10m").
			annotated("essential-containers/stopped", now.Add(-time.Minute+time.Millisecond).Format(time.RFC3339Nano)),
		want: Decision{At: now.Add(9 * time.Minute)}}, // in whole seconds

	// Plain deletion.
	"plain deletion of a completed pod": {
		pod: aPod().exited("main", 0, "Completed"), rules: &plain, want: Decision{Action: Delete, Phase: succeeded, Because: completed}},
	"plain deletion of a failed one": {
		pod: aPod().exited("main", 1, "Error").annotated(onFailureKey, "Stop"), rules: &plain, want: Decision{Action: Delete, Phase: failedPhase, Because: failed}},
	"plain deletion while main runs, wait": {pod: aPod(), rules: &plain},
	"plain deletion has its delay too": {
		pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s"), rules: &plain, want: Decision{Action: Delay, Phase: succeeded, Because: completed}},
	"plain deletion after the delay": {
		pod:   aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").recorded(corev1.ConditionFalse, completedReason, now.Add(-time.Minute)),
		rules: &plain, want: Decision{Action: Delete, Phase: succeeded, Because: "What was recorded"}},
	"what was stopped before the operator chose plain deletion is finished as it began": {
		pod: aPod().exited("main", 0, "Completed").stopped(now, now), rules: &plain, want: Decision{At: now.Add(30*time.Second + reportSlack)}},

	// Pods that missed admission.
	"a pod that is not tracked is told": {pod: aPod().untracked().exited("main", 0, "Completed"), want: Decision{Warning: untracked}},
	"or adopted":                        {pod: aPod().untracked(), rules: &adopting, want: Decision{Action: Adopt, Tracked: "main"}},
	"with all its names":                {pod: aPod().untracked().labelled("proxy_main"), rules: &adopting, want: Decision{Action: Adopt, Tracked: "proxy,main"}},
	"or told that its label is wrong": {
		pod: aPod().untracked().labelled("mian"), rules: &adopting,
		want: Decision{Warning: Warning{invalidLabelReason, `The label has no effect: metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`}}},
	"an init container is none": {
		pod: aPod().untracked().labelled("setup"), rules: &adopting,
		want: Decision{Warning: Warning{invalidLabelReason, `The label has no effect: metadata.labels[essential-containers]: Invalid value: "setup": is an init container; only a regular container can be essential; the pod has "main", "proxy"`}}},
	"where the namespace did not opt in, nothing": {pod: aPod().untracked(), rules: &adopting, out: true},
	"when it has ended already, nothing":          {pod: aPod().untracked().phase(succeeded), rules: &adopting},
	"when it has failed already, nothing":         {pod: aPod().untracked().phase(failedPhase), rules: &adopting},
	"when it is being deleted, nothing":           {pod: aPod().untracked().deleting(), rules: &adopting},
}

// with are the rules of a case.
func (b podBuilder) with(r *rules) rules {
	if r == nil {
		return ordinary
	}
	return *r
}

func TestDecide(t *testing.T) {
	for sentence, c := range decisions {
		t.Run(sentence, func(t *testing.T) {
			got := decide(c.pod.Pod, !c.out, c.pod.with(c.rules), now)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Decision{}, "Policies")); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADecisionCarriesThePodsPolicies(t *testing.T) {
	want := essential.Policies{Completion: essential.CompletionAll, OnFailure: essential.OnFailureStop, StopDelay: time.Minute, Retention: time.Second}
	if got := decide(aPod().annotated(retentionKey, "1s").Pod, true, strict, now).Policies; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What decide reads must survive the cache.
func TestDecideReadsNothingThatTheCacheTrims(t *testing.T) {
	for sentence, c := range decisions {
		for _, r := range []rules{ordinary, plain, adopting, strict} {
			trimmed, err := new(trimmer).pod(c.pod.DeepCopy())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decide(c.pod.Pod, !c.out, r, now), decide(trimmed.(*corev1.Pod), !c.out, r, now)); diff != "" {
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

// A decision that waits must come to an action, or to another time, at the time
// that it names.
func TestDecideKeepsItsAppointments(t *testing.T) {
	for sentence, c := range decisions {
		r := c.pod.with(c.rules)
		d := decide(c.pod.Pod, !c.out, r, now)
		if d.At.IsZero() {
			continue
		}
		if early := decide(c.pod.Pod, !c.out, r, d.At.Add(-time.Nanosecond)); early.Action != Leave {
			t.Errorf("%s: %s before %s", sentence, early.Action, d.At)
		}
		if due := decide(c.pod.Pod, !c.out, r, d.At); due.Action == Leave {
			t.Errorf("%s: nothing at %s", sentence, d.At)
		}
	}
}

func TestWhetherAPodIsDueDoesNotDependOnTheClock(t *testing.T) {
	for sentence, at := range map[string]time.Time{"a day behind": now.Add(-24 * time.Hour), "a day ahead": now.Add(24 * time.Hour)} {
		if d := decide(aPod().exited("main", 0, "Completed").Pod, true, ordinary, at); d.Action != Stop {
			t.Errorf("%s: %s", sentence, d.Action)
		}
	}
}
