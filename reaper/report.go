package reaper

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// Reasons of events.
const (
	completedReason     = "EssentialContainerCompleted"
	delayedReason       = "StopDelayed"
	refusedReason       = "StopRefused"
	overdueReason       = "StopOverdue"
	adoptedReason       = "Adopted"
	untrackedReason     = "Untracked"
	invalidLabelReason  = "InvalidLabel"
	labelChangedReason  = "LabelChanged"
	invalidPolicyReason = "InvalidPolicy"
)

// Actions of events.
const (
	stoppingAction = "Stopping"
	deletingAction = "Deleting"
	trackingAction = "Tracking"
	waitingAction  = "Waiting"
)

// maxNote is what the API allows for an event's note.
const maxNote = 1024

var untracked = Warning{untrackedReason, "The label " + api.Label + " has no effect: when the pod was created, it had no label yet " +
	"(another webhook may have added it), its namespace had not opted in, or no webhook answered. " +
	"Create it again, or let the reaper adopt such pods (--adopt)"}

func untrackable(errs field.ErrorList) Warning {
	return Warning{invalidLabelReason, "The label has no effect: " + errs.ToAggregate().Error()}
}

func invalidPolicy(errs field.ErrorList) Warning {
	return Warning{invalidPolicyReason, "The most cautious value counts until this can be read: " + errs.ToAggregate().Error()}
}

func labelChanged(tracked string) Warning {
	return Warning{labelChangedReason, "The change of the label " + api.Label + " has no effect: the essential containers of this pod remain " + tracked +
		". Create the pod again with the other label, or remove the label to opt the pod out"}
}

func failureIgnored(outcome essential.Outcome) Warning {
	return Warning{api.FailedReason, fmt.Sprintf("%s and is not restarted; the pod's other containers keep running (%s: %s)",
		outcome.Because, api.OnFailureAnnotation, api.OnFailureIgnore)}
}

var overdue = Warning{overdueReason, "The pod was stopped, but has not ended after its grace period. " +
	"Check the kubelet of its node, and that the API server can reach the webhook: until it does, the kubelet cannot report the end"}

func refused(err error) Warning {
	return Warning{refusedReason, "The API server refuses to stop the pod, and is asked again: " + err.Error()}
}

// reporter emits events and counts, after the write has succeeded.
type reporter struct {
	events  events.EventRecorder
	metrics *metrics
	notices *notices
	owners  *lru.Cache // limiters by the owners' UIDs
}

func newReporter(events events.EventRecorder, metrics *metrics, notices *notices) *reporter {
	return &reporter{events: events, metrics: metrics, notices: notices, owners: lru.New(maxOwners)}
}

// Limits of the events about one owner: a burst, then one every ten seconds. The events
// about its pods are not limited. Owners beyond maxOwners start with a new burst.
const (
	ownerEvents     = 25
	ownerEventEvery = 10 * time.Second
	maxOwners       = 4096
)

// mayEmit reports whether one more event about the owner is allowed.
func (r *reporter) mayEmit(owner types.UID) bool {
	limit, ok := r.owners.Get(owner)
	if !ok {
		limit = rate.NewLimiter(rate.Every(ownerEventEvery), ownerEvents)
		r.owners.Add(owner, limit)
	}
	return limit.(*rate.Limiter).Allow()
}

// done reports a decision that was carried out.
func (r *reporter) done(ctx context.Context, pod *corev1.Pod, d Decision) {
	logger := log.FromContext(ctx)
	switch d.Action {
	case Adopt:
		r.metrics.adopted.Inc()
		r.emit(pod, corev1.EventTypeNormal, adoptedReason, trackingAction,
			"The pod missed admission and is tracked from now on: "+d.Tracked)
		logger.Info("Adopted pod", "tracked", d.Tracked)
	case Delay:
		r.emit(pod, eventType(d.Phase), delayedReason, stoppingAction,
			fmt.Sprintf("%s; stopping the pod's other containers in %s%s", d.Because, d.Delay, whyDelayed(d)))
		logger.Info("Delayed the stop of a pod", "because", d.Because, "delay", d.Delay.String())
	case Stop:
		r.metrics.stopped.WithLabelValues(string(d.Phase)).Inc()
		r.emit(pod, eventType(d.Phase), reasonOf(d.Phase), stoppingAction,
			d.Because+"; stopping the pod's other containers, "+afterStop(d))
		logger.Info("Stopped pod", "because", d.Because, "phase", d.Phase)
	case Delete:
		r.metrics.deleted.Inc()
		if d.Because != "" { // no stop, so no event yet
			r.emit(pod, eventType(d.Phase), reasonOf(d.Phase), deletingAction, d.Because+"; deleting the pod")
		}
		logger.Info("Deleted pod", "because", d.Because)
	}
	r.warn(ctx, pod, d.Warning)
}

// warn emits a warning once, for as long as its cause lasts.
func (r *reporter) warn(ctx context.Context, pod *corev1.Pod, w Warning) {
	key := client.ObjectKeyFromObject(pod)
	switch {
	case w == (Warning{}):
		r.notices.forget(key)
	case r.notices.isNew(key, pod.UID, w):
		r.emit(pod, corev1.EventTypeWarning, w.Reason, waitingAction, w.Note)
		log.FromContext(ctx).Info("Warned about pod", "reason", w.Reason, "note", w.Note)
	}
}

// emit writes an event about the pod, and one about its controlling owner, which
// usually outlives the pod.
func (r *reporter) emit(pod *corev1.Pod, eventType, reason, action, note string) {
	r.events.Eventf(pod, nil, eventType, reason, action, "%s", shorten(note))
	if owner := metav1.GetControllerOf(pod); owner != nil && r.mayEmit(owner.UID) {
		about := &corev1.ObjectReference{
			APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name, UID: owner.UID,
		}
		r.events.Eventf(about, pod, eventType, reason, action, "%s", shorten("Pod "+pod.Name+": "+note))
	}
}

// failed counts a write that failed. It warns if the API server refuses a stop: the
// user can do something about that.
func (r *reporter) failed(ctx context.Context, pod *corev1.Pod, d Decision, err error) {
	r.metrics.failed.WithLabelValues(d.Action.String()).Inc()
	if d.Action == Stop && apierrors.IsForbidden(err) {
		r.warn(ctx, pod, refused(err))
	}
}

func eventType(phase corev1.PodPhase) string {
	if phase == corev1.PodFailed {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

func reasonOf(phase corev1.PodPhase) string {
	if phase == corev1.PodFailed {
		return api.FailedReason
	}
	return completedReason
}

// whyDelayed explains a delay that is not the pod's own.
func whyDelayed(d Decision) string {
	if d.Delay <= d.Policies.StopDelay {
		return ""
	}
	return ", because its owner's pods complete too often (back-off)"
}

// afterStop describes what happens to the pod once its containers have ended.
func afterStop(d Decision) string {
	switch retention := d.Policies.Retention; {
	case d.Phase == corev1.PodFailed:
		return "the pod is kept as failed"
	case retention == essential.Forever:
		return "the pod is kept"
	case retention > 0:
		return fmt.Sprintf("the pod is deleted %s after they have ended", retention)
	default:
		return "the pod is deleted once they have ended"
	}
}

func shorten(note string) string { return essential.Shorten(note, maxNote) }
