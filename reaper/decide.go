package reaper

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// Action is what the reaper has to do with a pod.
type Action int

const (
	// Leave means that there is nothing to do. If the decision has a time, decide again
	// then. Otherwise only a change of the pod changes the decision.
	Leave Action = iota
	// Adopt means that the pod missed admission: track it.
	Adopt
	// Delay means that the pod is due, but not before its stop-delay is over:
	// record the outcome, so that no later change takes it back.
	Delay
	// Stop means that the pod is due: record the outcome and lower the pod's
	// deadline, so that the kubelet ends its containers.
	Stop
	// Delete means that the pod has succeeded and that its retention is over.
	Delete
)

func (a Action) String() string {
	return [...]string{"Leave", "Adopt", "Delay", "Stop", "Delete"}[a]
}

// Decision is what the reaper has to do with a pod, and why.
type Decision struct {
	Action Action
	// At is when a Leave can become another action although the pod does not
	// change. Zero means never.
	At time.Time
	// Phase is the outcome's, for Delay, Stop and Delete.
	Phase corev1.PodPhase
	// Because is the outcome's reason. Empty for a Delete that follows a stop.
	Because string
	// Delay is the time between the record and the stop, for Delay and Stop: the
	// pod's stop-delay, or the back-off of its owner if that is longer.
	Delay time.Duration
	// Policies are those of the pod.
	Policies essential.Policies
	// Tracked is what Adopt writes.
	Tracked string
	// Warning is reported once, whatever the action.
	Warning Warning
}

// lookAgain is the longest wait until At. Setting the clock does not change running
// timers: without this limit, a pod that was requeued by a clock that was an hour
// wrong would be stopped an hour late.
const lookAgain = 5 * time.Minute

// wait returns the time until the next decision, at most lookAgain.
func (d Decision) wait(now time.Time) time.Duration { return min(d.At.Sub(now), lookAgain) }

// Warning is a problem of a pod, for an event. Its zero value means no problem.
type Warning struct {
	Reason string // of the event
	Note   string
}

// reportSlack is added to a pod's grace period before its stop is overdue. The
// kubelet starts the stop some seconds late, gives two more seconds to a container
// whose preStop hook used up the grace period, and then reports the end.
const reportSlack = 20 * time.Second

// rules are the operator's settings for all pods.
type rules struct {
	defaults essential.Policies
	adopt    bool
}

// decide returns what to do with a pod. It is pure: the pod, whether its namespace
// opted in, the back-off of its owner, the operator's rules and the time are all that
// it depends on. A later container status never revokes a recorded outcome.
func decide(pod *corev1.Pod, optedIn bool, backOff time.Duration, r rules, now time.Time) Decision {
	switch {
	case pod.DeletionTimestamp != nil, essential.IsMirror(pod):
		return Decision{}
	case !essential.IsTracked(pod):
		return decideUntracked(pod, optedIn, r.adopt)
	}
	defaults := r.defaults
	if isKept(pod) {
		defaults.Retention = essential.Forever
	}
	policies, errs := defaults.Override(nil, pod.Annotations)
	d := decideTracked(pod, policies, max(policies.StopDelay, backOff), now)
	d.Policies = policies
	switch {
	case d.Warning != (Warning{}):
	case len(errs) > 0:
		d.Warning = invalidPolicy(errs)
	case isRelabelled(pod) && !essential.IsTerminal(pod) && !essential.IsStopped(pod):
		d.Warning = labelChanged(pod.Annotations[api.TrackedAnnotation])
	}
	return d
}

// isRelabelled reports whether the label of a tracked pod differs from its label at
// admission. The cache keeps the label only then.
func isRelabelled(pod *corev1.Pod) bool {
	label, ok := pod.Labels[api.Label]
	return ok && strings.ReplaceAll(label, api.NameSeparator, api.TrackedSeparator) != pod.Annotations[api.TrackedAnnotation]
}

// helmHook is Helm's annotation of a pod that is a hook or a test.
const helmHook = "helm.sh/hook"

// isKept reports whether the pod is kept unless its own annotation says otherwise:
// Helm and the controllers of other projects read the pod after its end, and treat
// a missing one as failed.
func isKept(pod *corev1.Pod) bool {
	if _, ok := pod.Annotations[helmHook]; ok {
		return true
	}
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return false
	}
	group, err := schema.ParseGroupVersion(owner.APIVersion)
	return err != nil || group.Group != "" && group.Group != "apps" && group.Group != "batch"
}

func decideTracked(pod *corev1.Pod, policies essential.Policies, delay time.Duration, now time.Time) Decision {
	stop, stopped := essential.StopOf(pod)
	switch {
	case pod.Status.Phase == corev1.PodFailed:
		return Decision{} // keep the pod: its logs explain the failure
	case pod.Status.Phase == corev1.PodSucceeded:
		return decideDeletion(pod, policies, now)
	case stopped:
		return decideStopped(pod, stop, now)
	case essential.HasEndedForGood(pod):
		return Decision{}
	}
	return decideStop(pod, policies, delay, now)
}

// decideStop decides on a pod that runs.
func decideStop(pod *corev1.Pod, policies essential.Policies, delay time.Duration, now time.Time) Decision {
	outcome := essential.OutcomeOf(pod, policies)
	switch {
	case outcome.FailureIgnored:
		return Decision{Warning: failureIgnored(outcome)}
	case outcome.Phase == "":
		return Decision{}
	}
	d := Decision{Action: Stop, Phase: outcome.Phase, Because: outcome.Because, Delay: delay}
	switch delay {
	case 0:
		return d
	case essential.Forever: // the stop-delay cannot be read
		return Decision{}
	}
	due, ok := essential.DueOf(pod)
	if !ok {
		d.Action = Delay
		return d
	}
	// The record has whole seconds, rounded down.
	if at := due.At.Add(delay + time.Second); now.Before(at) {
		return Decision{At: at}
	}
	return d
}

// decideStopped decides on a pod that was stopped and has not ended: the kubelet
// ends its containers, and the webhook decides its phase.
func decideStopped(pod *corev1.Pod, stop essential.Record, now time.Time) Decision {
	if at := stop.At.Add(gracePeriod(pod) + reportSlack); now.Before(at) {
		return Decision{At: at}
	}
	return Decision{Warning: overdue}
}

// decideDeletion decides on a pod that has succeeded.
func decideDeletion(pod *corev1.Pod, policies essential.Policies, now time.Time) Decision {
	at := ended(pod).Add(policies.Retention)
	stop, stoppedByOld := essential.OldStop(pod)
	if stoppedByOld {
		at = stop.Add(max(policies.Retention, reportSlack)) // the kubelet may not know of the phase before
	}
	switch {
	case policies.Retention == essential.Forever, stoppedByOld && essential.HasRunningContainers(pod):
		return Decision{}
	case now.Before(at):
		return Decision{At: at}
	}
	d := Decision{Action: Delete, Phase: corev1.PodSucceeded}
	if !stoppedByOld && !essential.IsStopped(pod) {
		d.Because = essential.OutcomeOf(pod, policies).Because
	}
	return d
}

// decideUntracked decides on a labelled pod that missed admission: it is older
// than the installation, or the webhook could not be reached.
func decideUntracked(pod *corev1.Pod, optedIn, adopt bool) Decision {
	value, labelled := pod.Labels[api.Label]
	if !labelled || !optedIn || essential.IsTerminal(pod) {
		return Decision{}
	}
	tracked, errs := essential.ParseLabel(essential.LabelPath(nil), value, containerNames(pod))
	switch {
	case len(errs) > 0:
		return Decision{Warning: untrackable(errs)}
	case adopt:
		return Decision{Action: Adopt, Tracked: strings.Join(tracked, api.TrackedSeparator)}
	default:
		return Decision{Warning: untracked}
	}
}

// ended returns the latest FinishedAt of the regular containers.
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
