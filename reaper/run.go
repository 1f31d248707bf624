package reaper

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

const name = "essential-containers-reaper"

// Run reaps pods until ctx ends. It returns an error if it cannot start, or if
// it loses the Lease: another replica acts then, and this process must end.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	m, err := newManager(config, o)
	if err != nil {
		return err
	}
	if err := addController(m, o); err != nil {
		return err
	}
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("running the reaper: %w", err)
	}
	return nil
}

func newManager(config *rest.Config, o Options) (manager.Manager, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API server's priority and fairness limits us, and knows better
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	cacheOptions, err := cacheOptions()
	if err != nil {
		return nil, err
	}
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   cacheOptions,
		Metrics:                 metricsserver.Options{BindAddress: o.MetricsBindAddress},
		HealthProbeBindAddress:  o.HealthProbeBindAddress,
		LeaderElection:          o.LeaderElect,
		LeaderElectionID:        LeaseName,
		LeaderElectionNamespace: o.LeaderElectionNamespace,
		// The next leader need not wait for the Lease to run out. Safe, since
		// the process ends when Run returns.
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	if err := m.AddHealthzCheck("ping", func(*http.Request) error { return nil }); err != nil {
		return nil, err
	}
	return m, m.AddReadyzCheck("pods", podsSynced(m))
}

// podsSynced is the readiness: the label-scoped list of pods has arrived. A
// replica that is not the leader keeps it too, to take over at once.
func podsSynced(m manager.Manager) func(*http.Request) error {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		informer, err := m.GetCache().GetInformer(ctx, &corev1.Pod{})
		if err != nil || !informer.HasSynced() {
			return errors.New("the list of pods has not arrived yet: is the API server reachable, and may this service account list and watch pods?")
		}
		return nil
	}
}

func addController(m manager.Manager, o Options) error {
	now := clock.RealClock{}
	c, err := controller.New("pod", m, controller.Options{
		MaxConcurrentReconciles: o.Workers,
		// A write that fails is tried again soon: the pod's Job is waiting.
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
		Reconciler: &reconciler{
			client:   m.GetClient(),
			clock:    now,
			strategy: o.StopStrategy,
			report:   &reporter{events: m.GetEventRecorder(name), metrics: newMetrics(ctrlmetrics.Registry)},
		},
	})
	if err != nil {
		return fmt.Errorf("creating the controller: %w", err)
	}
	pods := source.Kind(m.GetCache(), &corev1.Pod{}, enqueuer{clock: now, strategy: o.StopStrategy}.handler())
	if err := c.Watch(pods); err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	return nil
}
