package reaper

import (
	"fmt"
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
	// Stop means that the pod is due: give it its terminal phase.
	Stop
	// StopAgain means that the pod was stopped and that this did not last, or had
	// no effect: give it its terminal phase once more, and warn.
	StopAgain
	// Delete means that nothing of the pod runs any more, or that the operator
	// chose plain deletion: delete it.
	Delete
)

func (a Action) String() string {
	return [...]string{"Leave", "Stop", "StopAgain", "Delete"}[a]
}

// Decision is what the reaper has to do with a pod, and why.
type Decision struct {
	Action Action
	// At is when a Leave could turn into something else although the pod does
	// not change. Zero: never.
	At time.Time
	// Because says, for Stop, what makes the pod due, and for StopAgain, what
	// is wrong. One sentence for people, without a full stop.
	Because string
	// Warn: a StopAgain that a person should hear of.
	Warn bool
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

// decide is the whole policy: it reads the pod, the strategy and the clock, and
// nothing else. Once a pod is due, no later container status takes that back:
// [essential.Stopped] keeps it.
func decide(pod *corev1.Pod, strategy Strategy, now time.Time) Decision {
	switch {
	case !essential.Tracked(pod), pod.DeletionTimestamp != nil, essential.Mirror(pod):
		return Decision{}
	case pod.Status.Phase == corev1.PodFailed:
		return Decision{} // somebody will want to look
	}
	completed := essential.CompletedContainer(pod)
	stopped := essential.Stopped(pod)
	switch {
	case completed == nil && !stopped:
		return Decision{}
	case strategy == DeleteOnly:
		return Decision{Action: Delete, Because: completionOf(completed)}
	case essential.Terminal(pod):
		return decideStopped(pod, now)
	case stopped:
		d := again(pod, lastStop(pod), "its phase is "+string(pod.Status.Phase)+" again", now)
		d.Warn = d.Warn && now.Sub(firstStop(pod)) >= patience
		return d
	default:
		return Decision{Action: Stop, Because: completionOf(completed)}
	}
}

// decideStopped decides on a pod whose phase is Succeeded: it is deleted once
// the kubelet has acknowledged that and no container runs any more.
//
// Not earlier: deleted sooner, the pod may get its old phase back while it is
// being deleted, and its Job counts a failure and runs the work again; and the
// API server deletes a pod of terminal phase with grace period 0, which may cut
// the containers' own short.
func decideStopped(pod *corev1.Pod, now time.Time) Decision {
	if essential.Running(pod) {
		if !essential.Stopped(pod) {
			return Decision{} // somebody else's doing: the kubelet is at it
		}
		return again(pod, lastStop(pod).Add(gracePeriod(pod)+reportSlack), "containers still run past their grace period", now)
	}
	if at := lastStop(pod).Add(reportSlack); !essential.Acknowledged(pod) && now.Before(at) {
		return Decision{At: at}
	}
	return Decision{Action: Delete}
}

// again is a repeated stop, once it is time: not before earliest, and after a
// pause as long as all stops have taken so far, so that the pauses double
// without anybody keeping count.
func again(pod *corev1.Pod, earliest time.Time, because string, now time.Time) Decision {
	last := lastStop(pod)
	pause := min(max(last.Truncate(time.Second).Sub(firstStop(pod)), minRepeat), maxRepeat)
	at := last.Add(pause)
	if earliest.After(at) {
		at = earliest
	}
	if now.Before(at) {
		return Decision{At: at}
	}
	return Decision{Action: StopAgain, Because: because, Warn: true}
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
	for _, c := range pod.Status.Conditions {
		if c.Type == essential.StoppedCondition {
			return c.LastTransitionTime.Time
		}
	}
	return lastStop(pod).Truncate(time.Second)
}

func gracePeriod(pod *corev1.Pod) time.Duration {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

func completionOf(container *corev1.ContainerStatus) string {
	if container == nil {
		return "It was stopped before"
	}
	return fmt.Sprintf("Essential container %q completed with exit code 0", container.Name)
}
