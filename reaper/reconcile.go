package reaper

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// decider calls [decide] with its other arguments.
type decider struct {
	rules
	clock    clock.PassiveClock
	optedIn  func(ctx context.Context, namespace string) bool
	backOffs *backOffs
}

func (d decider) decide(ctx context.Context, pod *corev1.Pod) (Decision, time.Time) {
	now := d.clock.Now()
	optedIn := !essential.IsTracked(pod) && d.optedIn(ctx, pod.Namespace) // admission has checked the others
	return decide(pod, optedIn, d.backOffs.of(pod, now), d.rules, now), now
}

// reconciler carries decisions out. The client reads from the trimmed cache and
// writes to the API server.
type reconciler struct {
	decider
	client client.Client
	report *reporter
}

// Reconcile looks at one pod, decides, acts and reports what it did.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var pod corev1.Pod
	if err := r.client.Get(ctx, request.NamespacedName, &pod); err != nil {
		if apierrors.IsNotFound(err) {
			r.report.notices.forget(request.NamespacedName)
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("getting pod %s: %w", request.NamespacedName, err)
	}
	decision, now := r.decide(ctx, &pod)
	err := apply(ctx, r.client, &pod, decision, now)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		// The pod is gone, or the cache is older than the pod: another watch event follows.
		log.FromContext(ctx).V(1).Info("Pod changed while it was reconciled", "action", decision.Action.String(), "cause", err.Error())
		return reconcile.Result{}, nil
	case err != nil:
		r.report.failed(ctx, &pod, decision, err)
		return reconcile.Result{}, err
	}
	if decision.Action == Stop {
		r.backOffs.stopped(&pod, now)
	}
	r.report.done(ctx, &pod, decision)
	if decision.At.IsZero() {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: decision.wait(now)}, nil
}
