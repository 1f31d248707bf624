package reaper

import (
	"context"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	notices := newNotices()
	metrics := newMetrics(ctrlmetrics.Registry, notices)
	outbox, err := newOutbox(m.GetClient(), metrics.eventsDropped.Inc)
	if err != nil {
		return err
	}
	if err := addController(m, o, outbox, newReporter(outbox, metrics, notices)); err != nil {
		return err
	}
	defer outbox.open(ctx)()
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("running the reaper: %w", err)
	}
	return nil
}

func newManager(config *rest.Config, o Options) (manager.Manager, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API server's priority and fairness limits us, and knows better
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	optedIn, err := labels.Parse(o.NamespaceSelector)
	if err != nil {
		return nil, err
	}
	cacheOptions, err := cacheOptions(optedIn)
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
	return m, m.AddReadyzCheck("lists", listsSynced(m))
}

// listsSynced is the readiness: the lists of labelled pods and of namespaces
// that opted in have arrived. A replica that is not the leader keeps them too, to
// take over at once.
func listsSynced(m manager.Manager) func(*http.Request) error {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		for kind, object := range map[string]client.Object{"pods": &corev1.Pod{}, "namespaces": namespaceMetadata()} {
			informer, err := m.GetCache().GetInformer(ctx, object)
			if err != nil || !informer.HasSynced() {
				return fmt.Errorf("the list of %[1]s has not arrived yet: check that the API server is reachable and that this service account may list and watch %[1]s", kind)
			}
		}
		return nil
	}
}

func addController(m manager.Manager, o Options, outbox *outbox, report *reporter) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	decider := decider{
		rules:    rules{defaults: o.Defaults, adopt: o.Adopt},
		clock:    o.Clock,
		backOffs: newBackOffs(),
		optedIn: func(ctx context.Context, namespace string) bool {
			return m.GetCache().Get(ctx, client.ObjectKey{Name: namespace}, namespaceMetadata()) == nil
		},
	}
	c, err := controller.New("pod", m, controller.Options{
		MaxConcurrentReconciles: o.Workers,
		// A write that fails is tried again soon: the pod's Job is waiting.
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
		Reconciler:  outbox.during(&reconciler{decider: decider, client: m.GetClient(), report: report}),
	})
	if err != nil {
		return fmt.Errorf("creating the controller: %w", err)
	}
	enqueuer := enqueuer{decider: decider, notices: report.notices}
	if err := c.Watch(source.Kind(m.GetCache(), &corev1.Pod{}, enqueuer)); err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	if err := c.Watch(source.Kind(m.GetCache(), namespaceMetadata(), enqueuer.namespaces(m.GetCache()))); err != nil {
		return fmt.Errorf("watching namespaces: %w", err)
	}
	return nil
}
