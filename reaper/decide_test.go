package reaper

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

const (
	completed       = `Essential container "main" completed with exit code 0`
	failed          = `Essential container "main" failed with exit code 1`
	recorded        = "What was recorded"
	completionKey   = "essential-containers/completion"
	onFailureKey    = "essential-containers/on-failure"
	stopDelayKey    = "essential-containers/stop-delay"
	retentionKey    = "essential-containers/retention"
	succeeded       = corev1.PodSucceeded
	failedPhase     = corev1.PodFailed
	policyComplaint = "The most cautious value counts until this can be read: metadata.annotations[essential-containers/completion]: Invalid value: \"Some\": must be Any or All"
)

// operators are the rules of an operator who leaves everything as it is, and of
// some who do not.
var (
	ordinary = rules{defaults: essential.DefaultPolicies()}
	adopting = rules{defaults: essential.DefaultPolicies(), adopt: true}
	lenient  = rules{defaults: essential.Policies{Completion: api.CompletionAny, OnFailure: api.OnFailureIgnore}}
	strict   = rules{defaults: essential.Policies{
		Completion: api.CompletionAll, OnFailure: api.OnFailureStop, StopDelay: time.Minute, Retention: time.Hour}}
)

// bothEnded is a pod whose containers have ended: main with 0, the sidecar with
// 143 because it was stopped.
func bothEnded() podBuilder {
	return aPod().exited("main", 0, "Completed").exited("proxy", 143, "Error")
}

// decisions is the design's table, sentence by sentence.
var decisions = map[string]struct {
	pod      podBuilder
	rules    *rules // default: ordinary
	optedOut bool   // the namespace did not opt in
	backOff  time.Duration
	want     Decision
}{
	// Who is decided upon.
	"a pod that is being deleted is left": {pod: aPod().deleting().exited("main", 0, "Completed")},
	"a mirror pod is left":                {pod: aPod().mirror().exited("main", 0, "Completed")},
	"a failed pod is left":                {pod: aPod().exited("main", 0, "Completed").phase(failedPhase)},
	"a pod whose deadline passed is left, although main exited with code 0": {
		pod: bothEnded().phase(failedPhase)},
	"a tracked pod is reaped, although its namespace has opted out since": {
		pod: aPod().exited("main", 0, "Completed"), optedOut: true, want: Decision{Action: Stop, Phase: succeeded, Because: completed}},

	"a label that was changed has no effect, which is said": {
		pod: aPod().labelled("proxy").exited("proxy", 0, "Completed"), want: Decision{Warning: labelChanged("main")}},
	"nor has it when the pod is due": {
		pod: aPod().labelled("proxy").exited("main", 0, "Completed"), want: Decision{Action: Stop, Phase: succeeded, Because: completed, Warning: labelChanged("main")}},
	"nor is it said of a pod that has ended": {pod: aPod().labelled("proxy").phase(failedPhase)},

	// When it is due.
	"while main runs, wait":       {pod: aPod()},
	"only a sidecar ended":        {pod: aPod().exited("proxy", 0, "Completed")},
	"main failed and was retried": {pod: aPod().policy(corev1.RestartPolicyOnFailure).restarted("main", 137)},
	"main failed and will be retried": {
		pod: aPod().policy(corev1.RestartPolicyOnFailure).exited("main", 1, "Error")},
	"main failed for good, which is ignored": {
		pod:  aPod().exited("main", 1, "Completed").annotated(onFailureKey, "Ignore"),
		want: Decision{Warning: Warning{api.FailedReason, `Essential container "main" failed with exit code 1 (Completed) and is not restarted; the pod's other containers keep running (essential-containers/on-failure: Ignore)`}}},
	"main failed for good, which stops": {
		pod:  aPod().exited("main", 1, "Error"),
		want: Decision{Action: Stop, Phase: failedPhase, Because: failed}},
	"the operator's default counts where the pod has no policy": {
		pod: aPod().exited("main", 1, "Error"), rules: &lenient, want: Decision{Warning: failureIgnored(essential.Outcome{Because: failed})}},
	"the exit code decides, not the reason": {pod: aPod().exited("main", 0, "Error"), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"main completed":                        {pod: aPod().exited("main", 0, "Completed"), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"Always: main completed and was restarted at once": {
		pod: aPod().policy(corev1.RestartPolicyAlways).restarted("main", 0), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"OnFailure: the kubelet killed main, which exited with code 0, and restarted it": {
		pod: aPod().policy(corev1.RestartPolicyOnFailure).restarted("main", 0)},
	"of several, one completion is enough": {
		pod: aPod().tracking("worker,main").exited("main", 0, "Completed"), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"of several, one completion is not all": {
		pod: aPod().tracking("proxy,main").annotated(completionKey, "All").exited("main", 0, "Completed")},
	"all of several": {
		pod:  aPod().tracking("worker,main").annotated(completionKey, "All").exited("main", 0, "Completed").exited("worker", 0, "Completed").finished("worker", now.Add(-time.Second)),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"a pod that is still pending": {
		pod: aPod().exited("main", 0, "Completed").phase(corev1.PodPending), want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"an invalid completion counts as All": {
		pod:  aPod().tracking("main,worker").exited("main", 0, "Completed").annotated(completionKey, "Some"),
		want: Decision{Warning: Warning{invalidPolicyReason, policyComplaint}}},
	"an invalid completion of one name makes no difference": {
		pod:  aPod().exited("main", 0, "Completed").annotated(completionKey, "Some"),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed, Warning: Warning{invalidPolicyReason, policyComplaint}}},
	"with an invalid stop-delay the pod is not stopped": {
		pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "1w"),
		want: Decision{Warning: Warning{invalidPolicyReason,
			`The most cautious value counts until this can be read: metadata.annotations[essential-containers/stop-delay]: Invalid value: "1w": must be a duration such as 90s, 1h30m or 2d`}}},
	"an invalid policy gives a warning before the pod is due": {
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
	"a stop-delay is recorded": {
		pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s"), want: Decision{Action: Delay, Phase: succeeded, Because: completed, Delay: 30 * time.Second}},
	"a stop-delay of a failure is recorded": {
		pod:  aPod().exited("main", 1, "Error").annotated(stopDelayKey, "30s"),
		want: Decision{Action: Delay, Phase: failedPhase, Because: failed, Delay: 30 * time.Second}},
	"the back-off of the pod's owner is recorded": {
		pod: aPod().exited("main", 0, "Completed"), backOff: 10 * time.Second, want: Decision{Action: Delay, Phase: succeeded, Because: completed, Delay: 10 * time.Second}},
	"the longer of stop-delay and back-off counts, the back-off": {
		pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "5s"), backOff: 10 * time.Second, want: Decision{Action: Delay, Phase: succeeded, Because: completed, Delay: 10 * time.Second}},
	"the longer of stop-delay and back-off counts, the stop-delay": {
		pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s"), backOff: 10 * time.Second, want: Decision{Action: Delay, Phase: succeeded, Because: completed, Delay: 30 * time.Second}},
	"the delay is counted from its record": {
		pod:  aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").due(succeeded, now.Add(-10*time.Second)),
		want: Decision{At: now.Add(21 * time.Second)}}, // the record has whole seconds
	"the back-off is counted from its record": {
		pod: aPod().exited("main", 0, "Completed").due(succeeded, now.Add(-10*time.Second)), backOff: 40 * time.Second,
		want: Decision{At: now.Add(31 * time.Second)}},
	"the delay is over": {
		pod:  aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").due(succeeded, now.Add(-31*time.Second)),
		want: Decision{Action: Stop, Phase: succeeded, Because: recorded, Delay: 30 * time.Second}},
	"the back-off is over": {
		pod: aPod().exited("main", 0, "Completed").due(succeeded, now.Add(-11*time.Second)), backOff: 10 * time.Second,
		want: Decision{Action: Stop, Phase: succeeded, Because: recorded, Delay: 10 * time.Second}},
	"whatever main does in the delay, the record remains": {
		pod:  aPod().exited("main", 1, "Error").annotated(stopDelayKey, "30s").due(succeeded, now.Add(-31*time.Second)),
		want: Decision{Action: Stop, Phase: succeeded, Because: recorded, Delay: 30 * time.Second}},
	"a failure that was recorded remains one": {
		pod:  aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").due(failedPhase, now.Add(-31*time.Second)),
		want: Decision{Action: Stop, Phase: failedPhase, Because: recorded, Delay: 30 * time.Second}},
	"a delay that is removed ends at once": {
		pod:  aPod().exited("main", 0, "Completed").due(succeeded, now),
		want: Decision{Action: Stop, Phase: succeeded, Because: recorded}},
	"the containers may end in the delay": {
		pod: aPod().exited("main", 0, "Completed").exited("proxy", 0, "Completed").annotated(stopDelayKey, "30s").due(succeeded, now)},

	// After the stop.
	"stopped, and the sidecar still ends": {
		pod: aPod().exited("main", 0, "Completed").stopped(succeeded, now), want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"stopped, and nothing runs any more": {
		pod: bothEnded().stopped(succeeded, now), want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"stopped, and main runs again": {
		pod: aPod().policy(corev1.RestartPolicyAlways).restarted("main", 1).stopped(succeeded, now), want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"stopped, and a native sidecar still ends": {
		pod:  bothEnded().nativeSidecar("mesh").stopped(succeeded, now),
		want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"the grace period has a default": {
		pod: aPod().grace(nil).stopped(succeeded, now), want: Decision{At: now.Add(50 * time.Second)}},
	"a pod has a grace period of its own": {
		pod: aPod().grace(new(int64(60))).stopped(succeeded, now), want: Decision{At: now.Add(80 * time.Second)}},
	"stopped, and overdue": {
		pod:  aPod().exited("main", 0, "Completed").stopped(succeeded, now.Add(-50*time.Second)),
		want: Decision{Warning: overdue}},
	"stopped as failed, and overdue": {
		pod: aPod().exited("main", 1, "Error").stopped(failedPhase, now.Add(-time.Hour)), want: Decision{Warning: overdue}},
	"overdue is worse than an invalid policy": {
		pod: aPod().stopped(succeeded, now.Add(-time.Hour)).annotated(completionKey, "Some"), want: Decision{Warning: overdue}},
	"stopped before its delay was over": {
		pod: aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "1h").due(succeeded, now).stopped(succeeded, now), want: Decision{At: now.Add(30*time.Second + reportSlack)}},
	"stopped as failed, and ended: never deleted": {
		pod: aPod().exited("main", 1, "Error").exited("proxy", 143, "Error").stopped(failedPhase, now.Add(-9000*time.Hour)).phase(failedPhase)},
	"stopped as succeeded, and failed all the same: never deleted": {
		pod: bothEnded().stopped(succeeded, now.Add(-9000*time.Hour)).phase(failedPhase)},
	"garbage instead of a stop's record is no stop": {
		pod:  aPod().exited("main", 0, "Completed").annotated(api.StoppedAnnotation, "yesterday"),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},

	// The end.
	"stopped, and succeeded": {
		pod: bothEnded().stopped(succeeded, now).phase(succeeded), want: Decision{Action: Delete, Phase: succeeded}},
	"all containers ended by themselves": {
		pod: bothEnded().phase(succeeded), want: Decision{Action: Delete, Phase: succeeded, Because: completed}},
	"all containers ended in the delay": {
		pod: bothEnded().due(succeeded, now).phase(succeeded), want: Decision{Action: Delete, Phase: succeeded, Because: recorded}},
	"a succeeded pod is deleted, whatever its containers' statuses are": {
		pod: aPod().phase(succeeded), want: Decision{Action: Delete, Phase: succeeded}},
	"the retention counts from the last end, the sidecar's": {
		pod:  bothEnded().finished("main", now.Add(-time.Minute)).phase(succeeded).annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(10 * time.Minute)}},
	"the retention counts from the last end, main's": {
		pod:  bothEnded().finished("proxy", now.Add(-time.Minute)).phase(succeeded).annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(10 * time.Minute)}},
	"the retention does not count from the stop": {
		pod:  bothEnded().stopped(succeeded, now.Add(-time.Hour)).phase(succeeded).annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(10 * time.Minute)}},
	"the retention is over": {
		pod:  bothEnded().finished("main", now.Add(-time.Hour)).finished("proxy", now.Add(-10*time.Minute)).stopped(succeeded, now).phase(succeeded).annotated(retentionKey, "10m"),
		want: Decision{Action: Delete, Phase: succeeded}},
	"the retention is Forever": {
		pod: bothEnded().finished("main", now.Add(-9000*time.Hour)).finished("proxy", now.Add(-9000*time.Hour)).phase(succeeded).annotated(retentionKey, "Forever")},
	"with an invalid retention the pod is kept": {
		pod: bothEnded().phase(succeeded).annotated(retentionKey, "10"), rules: &strict,
		want: Decision{Warning: Warning{invalidPolicyReason,
			`The most cautious value counts until this can be read: metadata.annotations[essential-containers/retention]: Invalid value: "10": must be a duration such as 90s, 1h30m or 2d, or Forever`}}},

	// Pods that are kept for their creators.
	"a hook of Helm is stopped": {
		pod:  aPod().annotated(helmHook, "test").exited("main", 0, "Completed"),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"a hook of Helm is kept": {
		pod: bothEnded().annotated(helmHook, "test").phase(succeeded)},
	"a hook of Helm is deleted if its own annotation says so": {
		pod: bothEnded().annotated(helmHook, "test").annotated(retentionKey, "0s").phase(succeeded), want: Decision{Action: Delete, Phase: succeeded, Because: completed}},
	"a hook of Helm with an invalid retention is kept": {
		pod: bothEnded().annotated(helmHook, "test").annotated(retentionKey, "soon").phase(succeeded),
		want: Decision{Warning: Warning{invalidPolicyReason,
			`The most cautious value counts until this can be read: metadata.annotations[essential-containers/retention]: Invalid value: "soon": must be a duration such as 90s, 1h30m or 2d, or Forever`}}},
	"a hook of Helm is kept, whatever the operator's retention": {
		pod: bothEnded().annotated(helmHook, "").phase(succeeded), rules: &strict},
	"a pod of another project's controller is stopped": {
		pod:  aPod().exited("main", 0, "Completed").controlledBy(metav1.OwnerReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow"}),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"a pod of another project's controller is kept": {
		pod: bothEnded().controlledBy(metav1.OwnerReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow"}).phase(succeeded)},
	"a pod of another project's controller is deleted if its own annotation says so": {
		pod:  bothEnded().controlledBy(metav1.OwnerReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow"}).annotated(retentionKey, "0s").phase(succeeded),
		want: Decision{Action: Delete, Phase: succeeded, Because: completed}},
	"a pod of a group like batch's is kept": {
		pod: bothEnded().controlledBy(metav1.OwnerReference{APIVersion: "batch.volcano.sh/v1alpha1", Kind: "Job"}).phase(succeeded)},
	"a pod whose controller's version cannot be read is kept": {
		pod: bothEnded().controlledBy(metav1.OwnerReference{APIVersion: "a/b/c", Kind: "Job"}).phase(succeeded)},
	"a Job's pod is deleted": {
		pod: bothEnded().ownedBy("Job", "nightly").phase(succeeded), want: Decision{Action: Delete, Phase: succeeded, Because: completed}},
	"a ReplicaSet's pod is deleted": {
		pod: bothEnded().controlledBy(metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet"}).phase(succeeded), want: Decision{Action: Delete, Phase: succeeded, Because: completed}},
	"a ReplicationController's pod is deleted": {
		pod: bothEnded().controlledBy(metav1.OwnerReference{APIVersion: "v1", Kind: "ReplicationController"}).phase(succeeded), want: Decision{Action: Delete, Phase: succeeded, Because: completed}},

	// What versions before 0.2 left.
	"delayed by an old version": {
		pod:  aPod().exited("main", 0, "Completed").annotated(stopDelayKey, "30s").conditionOfOld(corev1.ConditionFalse, succeeded, now.Add(-10*time.Second)),
		want: Decision{At: now.Add(21 * time.Second)}},
	"delayed by an old version, and the delay is over": {
		pod:  aPod().exited("main", 1, "Error").annotated(stopDelayKey, "30s").conditionOfOld(corev1.ConditionFalse, succeeded, now.Add(-31*time.Second)),
		want: Decision{Action: Stop, Phase: succeeded, Because: recorded, Delay: 30 * time.Second}},
	"stopped by an old version, and the kubelet wrote Running back": {
		pod:  aPod().exited("main", 0, "Completed").stoppedByOld(succeeded, now.Add(-time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: Stop, Phase: succeeded, Because: recorded}},
	"stopped by an old version, and main was started again": {
		pod:  aPod().policy(corev1.RestartPolicyAlways).restarted("main", 1).stoppedByOld(succeeded, now.Add(-time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: Stop, Phase: succeeded, Because: recorded}},
	"stopped as failed by an old version, and the kubelet wrote Running back": {
		pod:  aPod().exited("main", 0, "Completed").stoppedByOld(failedPhase, now.Add(-time.Second)).phase(corev1.PodRunning),
		want: Decision{Action: Stop, Phase: failedPhase, Because: recorded}},
	"stopped by an old version, whose condition is lost": {
		pod:  aPod().exited("main", 0, "Completed").annotated(api.StoppedAnnotation, now.Format(time.RFC3339Nano)),
		want: Decision{Action: Stop, Phase: succeeded, Because: completed}},
	"stopped by an old version, and containers still run": {
		pod: aPod().exited("main", 0, "Completed").stoppedByOld(succeeded, now.Add(-time.Hour))},
	"stopped by an old version, and a native sidecar still runs": {
		pod: bothEnded().nativeSidecar("mesh").stoppedByOld(succeeded, now.Add(-time.Hour))},
	"stopped by an old version, and all have ended": {
		pod: bothEnded().stoppedByOld(succeeded, now.Add(-reportSlack-time.Second)), want: Decision{Action: Delete, Phase: succeeded}},
	"stopped by an old version just now: the kubelet may not know": {
		pod: bothEnded().stoppedByOld(succeeded, now), want: Decision{At: now.Add(reportSlack + time.Millisecond)}},
	"stopped by an old version, and retained from that stop": {
		pod:  bothEnded().stoppedByOld(succeeded, now.Add(-time.Minute)).annotated(retentionKey, "10m"),
		want: Decision{At: now.Add(9*time.Minute + time.Millisecond)}},
	"stopped by an old version, and retained Forever": {
		pod: bothEnded().stoppedByOld(succeeded, now.Add(-9000*time.Hour)).annotated(retentionKey, "Forever")},
	"stopped as failed by an old version": {
		pod: aPod().exited("main", 1, "Error").stoppedByOld(failedPhase, now.Add(-time.Hour))},

	// Pods that missed admission.
	"a pod that is not tracked gives a warning": {pod: aPod().untracked().exited("main", 0, "Completed"), want: Decision{Warning: untracked}},
	"a pod that is not tracked is adopted":      {pod: aPod().untracked(), rules: &adopting, want: Decision{Action: Adopt, Tracked: "main"}},
	"it is adopted with all its names":          {pod: aPod().untracked().labelled("proxy_main"), rules: &adopting, want: Decision{Action: Adopt, Tracked: "proxy,main"}},
	"its label may be wrong": {
		pod: aPod().untracked().labelled("mian"), rules: &adopting,
		want: Decision{Warning: Warning{invalidLabelReason, `The label has no effect: metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`}}},
	"its label may name an init container": {
		pod: aPod().untracked().labelled("setup"), rules: &adopting,
		want: Decision{Warning: Warning{invalidLabelReason, `The label has no effect: metadata.labels[essential-containers]: Invalid value: "setup": is an init container; only a regular container can be essential; the pod has "main", "proxy"`}}},
	"its namespace may not have opted in": {pod: aPod().untracked(), rules: &adopting, optedOut: true},
	"it may have succeeded already":       {pod: aPod().untracked().phase(succeeded), rules: &adopting},
	"it may have failed already":          {pod: aPod().untracked().phase(failedPhase), rules: &adopting},
	"it may be deleted already":           {pod: aPod().untracked().deleting(), rules: &adopting},
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
			got := decide(c.pod.Pod, !c.optedOut, c.backOff, c.pod.with(c.rules), now)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(Decision{}, "Policies")); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADecisionCarriesThePodsPolicies(t *testing.T) {
	want := essential.Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureStop, StopDelay: time.Minute, Retention: time.Second}
	if got := decide(aPod().annotated(retentionKey, "1s").Pod, true, 0, strict, now).Policies; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What decide reads must survive the cache.
func TestDecideReadsNothingThatTheCacheTrims(t *testing.T) {
	for sentence, c := range decisions {
		for _, r := range []rules{ordinary, adopting, lenient, strict} {
			trimmed, err := new(trimmer).pod(c.pod.DeepCopy())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decide(c.pod.Pod, !c.optedOut, c.backOff, r, now), decide(trimmed.(*corev1.Pod), !c.optedOut, c.backOff, r, now)); diff != "" {
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

// A decision that waits must become an action, or a warning, at the time that it
// names.
func TestDecideKeepsItsAppointments(t *testing.T) {
	for sentence, c := range decisions {
		r := c.pod.with(c.rules)
		d := decide(c.pod.Pod, !c.optedOut, c.backOff, r, now)
		if d.At.IsZero() {
			continue
		}
		if early := decide(c.pod.Pod, !c.optedOut, c.backOff, r, d.At.Add(-time.Nanosecond)); early.Action != Leave || early.Warning == overdue {
			t.Errorf("%s: %s before %s", sentence, early.Action, d.At)
		}
		if due := decide(c.pod.Pod, !c.optedOut, c.backOff, r, d.At); due.Action == Leave && due.Warning != overdue {
			t.Errorf("%s: nothing at %s", sentence, d.At)
		}
	}
}

func TestWhetherAPodIsDueDoesNotDependOnTheClock(t *testing.T) {
	for sentence, at := range map[string]time.Time{"a day behind": now.Add(-24 * time.Hour), "a day ahead": now.Add(24 * time.Hour)} {
		if d := decide(aPod().exited("main", 0, "Completed").Pod, true, 0, ordinary, at); d.Action != Stop {
			t.Errorf("%s: %s", sentence, d.Action)
		}
	}
}
