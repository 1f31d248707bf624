package reaper

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// Action is what the reaper has to do with a pod.
type Action int

const (
	// Leave means that there is nothing to do. If the decision has a time, look again then; else
	// only a change of the pod can change it.
	Leave Action = iota
	// Adopt means that the pod missed admission: track it.
	Adopt
	// Delay means that the pod is due, but not before its stop-delay: put that on
	// record, so that nothing that happens meanwhile takes it back.
	Delay
	// Stop means that the pod is due: give it its terminal phase.
	Stop
	// StopAgain means that the pod was stopped and that this did not last, or had
	// no effect: give it its terminal phase once more.
	StopAgain
	// Delete means that nothing of the pod runs any more and that its retention is
	// over, or that the operator chose plain deletion: delete it.
	Delete
)

func (a Action) String() string {
	return [...]string{"Leave", "Adopt", "Delay", "Stop", "StopAgain", "Delete"}[a]
}

// Decision is what the reaper has to do with a pod, and why.
type Decision struct {
	Action Action
	// At is when a Leave could turn into something else although the pod does
	// not change. Zero: never.
	At time.Time
	// Phase is the terminal phase that the pod has earned, for all actions but
	// Adopt.
	Phase corev1.PodPhase
	// Because says what makes the pod due, and for StopAgain, what is wrong. One
	// sentence for people, without a full stop. Empty for a Delete that follows
	// a stop.
	Because string
	// Policies are those of the pod: what happens next depends on them.
	Policies essential.Policies
	// Tracked is what Adopt writes.
	Tracked string
	// Warning is what a person should hear of once, whatever the action.
	Warning Warning
}

// lookAgain is the longest sleep until At. A timer goes on when the clock is set:
// a pod that was put to sleep by a clock that was an hour wrong would otherwise
// oversleep by that hour, and its Job with it.
const lookAgain = 5 * time.Minute

// wait is for how long to sleep, at the most, before deciding again.
func (d Decision) wait(now time.Time) time.Duration { return min(d.At.Sub(now), lookAgain) }

// Warning is something that is wrong with a pod. Its zero value is nothing.
type Warning struct {
	Reason string // of the event
	Note   string
}

const (
	// reportSlack is added to a pod's grace period before a stop counts as
	// without effect: the kubelet begins up to a second late, grants two seconds
	// to a container whose hook used the period up, and reports after the last
	// one. It also bounds the wait for a kubelet that never acknowledges a stop.
	reportSlack = 10 * time.Second

	// The pause before a repeated stop doubles between these bounds. The first
	// is short: until the kubelet acknowledges a stop, its regular report, every
	// ten seconds, can write the old phase over it, and a pod that anybody
	// deletes then counts as failed with its Job.
	minRepeat = 100 * time.Millisecond
	maxRepeat = 5 * time.Minute

	// patience is for how long an overwritten phase is nothing to warn of.
	patience = 10 * time.Second
)

// rules are what the operator decides about all pods.
type rules struct {
	strategy Strategy
	defaults essential.Policies
	adopt    bool
}

// decide is the whole policy: it reads the pod, whether its namespace opted in,
// the operator's rules and the clock, and nothing else. Once a pod is due, no
// later container status takes that back: the Stopped condition keeps it.
func decide(pod *corev1.Pod, optedIn bool, r rules, now time.Time) Decision {
	switch {
	case pod.DeletionTimestamp != nil, essential.Mirror(pod):
		return Decision{}
	case !essential.Tracked(pod):
		return decideUntracked(pod, optedIn, r.adopt)
	}
	policies, errs := r.defaults.Override(nil, pod.Annotations)
	d := decideTracked(pod, policies, r.strategy, now)
	d.Policies = policies
	if len(errs) > 0 && d.Warning == (Warning{}) {
		d.Warning = invalidPolicy(errs)
	}
	return d
}

// decideTracked leaves a pod that is failed, or that ends by itself, to those
// who did that.
func decideTracked(pod *corev1.Pod, policies essential.Policies, strategy Strategy, now time.Time) Decision {
	switch {
	case essential.Stopped(pod):
		return decideStopped(pod, policies.Retention, now)
	case pod.Status.Phase == corev1.PodFailed:
		return Decision{} // somebody will want to look
	case pod.Status.Phase == corev1.PodSucceeded:
		return decideSucceeded(pod, policies, now)
	case essential.EndsByItself(pod):
		return Decision{}
	}
	d := decideStop(pod, policies, now)
	if strategy == DeleteOnly && d.Action == Stop {
		d.Action = Delete
	}
	return d
}

// decideSucceeded decides on a pod that nobody had to stop.
func decideSucceeded(pod *corev1.Pod, policies essential.Policies, now time.Time) Decision {
	outcome := essential.OutcomeOf(pod, policies)
	if outcome.Phase != corev1.PodSucceeded {
		return Decision{}
	}
	d := decideDeletion(pod, ended(pod), policies.Retention, now)
	if d.Action == Delete {
		d.Phase, d.Because = outcome.Phase, outcome.By.String()
	}
	return d
}

// decideStop decides on a pod that goes on: what was recorded for the delay of
// its stop counts, else what its essential containers came to.
func decideStop(pod *corev1.Pod, policies essential.Policies, now time.Time) Decision {
	if recorded := essential.Condition(pod, essential.StoppedCondition); recorded != nil {
		// The API keeps whole seconds, rounded down.
		if at := recorded.LastTransitionTime.Add(policies.StopDelay + time.Second); policies.StopDelay > 0 && now.Before(at) {
			return Decision{At: at}
		}
		return Decision{Action: Stop, Phase: phaseOf(recorded), Because: recorded.Message}
	}
	outcome := essential.OutcomeOf(pod, policies)
	switch {
	case outcome.Hopeless:
		return Decision{Warning: failedIgnored(outcome.By)}
	case outcome.Phase == "":
		return Decision{}
	}
	d := Decision{Action: Stop, Phase: outcome.Phase, Because: outcome.By.String()}
	if policies.StopDelay > 0 {
		d.Action = Delay
	}
	return d
}

// decideStopped decides on a pod that the reaper has stopped: whether that
// lasted, whether it had effect, and when the pod goes.
func decideStopped(pod *corev1.Pod, retention time.Duration, now time.Time) Decision {
	first, last := firstStop(pod), lastStop(pod)
	switch {
	case !essential.Terminal(pod):
		return again(pod, last, first.Add(patience), "its phase is "+string(pod.Status.Phase)+" again", now)
	case essential.Running(pod):
		allowed := gracePeriod(pod) + reportSlack
		return again(pod, last.Add(allowed), first.Add(allowed), "containers still run past their grace period", now)
	case pod.Status.Phase == corev1.PodFailed:
		return Decision{}
	}
	// Not before the kubelet has acknowledged the stop: deleted sooner, the pod
	// may get its old phase back while it is being deleted, and its Job counts a
	// failure and runs the work again.
	if at := last.Add(reportSlack); !essential.Acknowledged(pod) && now.Before(at) {
		return Decision{At: at}
	}
	return decideDeletion(pod, first, retention, now)
}

// decideDeletion deletes a succeeded pod when its retention is over, and not
// while a container runs: the API server deletes a pod of terminal phase with
// grace period 0, which may cut the containers' own short.
func decideDeletion(pod *corev1.Pod, since time.Time, retention time.Duration, now time.Time) Decision {
	if retention == essential.Forever || essential.Running(pod) {
		return Decision{}
	}
	if at := since.Add(retention); now.Before(at) {
		return Decision{At: at}
	}
	return Decision{Action: Delete}
}

// decideUntracked decides on a labelled pod that has not been through admission:
// it was there before the installation, or admission was down.
func decideUntracked(pod *corev1.Pod, optedIn, adopt bool) Decision {
	value, labelled := pod.Labels[essential.Label]
	if !labelled || !optedIn || essential.Terminal(pod) {
		return Decision{}
	}
	tracked, errs := essential.Names(essential.LabelPath(nil), value, containerNames(pod))
	switch {
	case len(errs) > 0:
		return Decision{Warning: untrackable(errs)}
	case adopt:
		return Decision{Action: Adopt, Tracked: strings.Join(tracked, essential.TrackedSeparator)}
	default:
		return Decision{Warning: untracked}
	}
}

// again is a repeated stop, once it is time: not before earliest, and after a
// pause as long as all stops have taken so far, so that the pauses double
// without anybody keeping count.
func again(pod *corev1.Pod, earliest, warnFrom time.Time, because string, now time.Time) Decision {
	first, last := firstStop(pod), lastStop(pod)
	at := last.Add(min(max(last.Truncate(time.Second).Sub(first), minRepeat), maxRepeat))
	if earliest.After(at) {
		at = earliest
	}
	d := Decision{At: at}
	if !now.Before(at) {
		phase := phaseOf(essential.Condition(pod, essential.StoppedCondition))
		d = Decision{Action: StopAgain, Phase: phase, Because: because}
	}
	if !now.Before(warnFrom) {
		d.Warning = withoutEffect(because)
	}
	return d
}

// lastStop is when the pod was last stopped; the zero time, long past, if the
// annotation is not a time.
func lastStop(pod *corev1.Pod) time.Time {
	t, err := time.Parse(time.RFC3339Nano, pod.Annotations[essential.StoppedAnnotation])
	if err != nil {
		return time.Time{}
	}
	return t
}

// firstStop is when the pod was first stopped, in whole seconds: repeated stops
// leave the condition's transition time as it is.
func firstStop(pod *corev1.Pod) time.Time {
	if c := essential.Condition(pod, essential.StoppedCondition); c != nil {
		return c.LastTransitionTime.Time
	}
	return lastStop(pod).Truncate(time.Second)
}

// ended is when the last container of a pod ended that ended by itself.
func ended(pod *corev1.Pod) (last time.Time) {
	for i := range pod.Status.ContainerStatuses {
		if t := pod.Status.ContainerStatuses[i].State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	return last
}

func gracePeriod(pod *corev1.Pod) time.Duration {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

func containerNames(pod *corev1.Pod) (names essential.ContainerNames) {
	for i := range pod.Spec.Containers {
		names.Regular = append(names.Regular, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		names.Init = append(names.Init, pod.Spec.InitContainers[i].Name)
	}
	return names
}
