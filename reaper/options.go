// Package reaper ends pods whose essential container has completed: it decides
// ([Decision]), writes, and reports, in that order.
package reaper

import (
	"flag"
	"fmt"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// LeaseName is the name of the Lease that elects the acting replica.
const LeaseName = "essential-containers-reaper"

// Options are the reaper's settings. [Options.BindFlags] documents them and sets
// their defaults.
type Options struct {
	MetricsBindAddress      string
	HealthProbeBindAddress  string
	LeaderElect             bool
	LeaderElectionNamespace string
	Workers                 int
	// Defaults are the policies of pods without annotations of their own.
	Defaults essential.Policies
	// Adopt makes the reaper track labelled pods that missed admission.
	Adopt bool
	// NamespaceSelector selects the namespaces that opted in. It must equal the
	// namespaceSelector of the webhook's configuration. Empty selects all.
	NamespaceSelector string
	// Clock is the time of decisions and records. It has no flag. Nil is the machine's
	// clock; only tests set another one.
	Clock clock.PassiveClock
}

// BindFlags adds the options' flags to fs and gives them their defaults.
func (o *Options) BindFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.MetricsBindAddress, "metrics-bind-address", ":8080", "`address` on which /metrics is served, over HTTP; 0 disables it")
	fs.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", "`address` on which /healthz and /readyz are served, over HTTP; 0 disables them")
	fs.BoolVar(&o.LeaderElect, "leader-elect", true, "leader election: only one replica acts at a time")
	fs.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "", "`namespace` of the Lease "+LeaseName+" (default the pod's own)")
	fs.IntVar(&o.Workers, "workers", 16, "`number` of pods that are reconciled at a time")
	fs.BoolVar(&o.Adopt, "adopt", false,
		"track labelled pods that missed admission, because they are older than the webhook or it could not be reached;\n"+
			"without it, a Warning event reports that their label has no effect")
	fs.StringVar(&o.NamespaceSelector, "namespace-selector", api.Label+"="+api.NamespaceEnabled,
		"label `selector` of the namespaces that opted in; must say the same as the webhook's configuration; empty selects all")
	config.RegisterFlags(fs) // --kubeconfig
	o.Defaults.BindFlags(fs, api.CompletionAnnotation, api.OnFailureAnnotation, api.StopDelayAnnotation, api.RetentionAnnotation)
}

// Validate names the first flag whose value is wrong.
func (o *Options) Validate() error {
	if o.Workers < 1 || o.Workers > 1000 {
		return fmt.Errorf("--workers: %d is not between 1 and 1000", o.Workers)
	}
	if _, err := labels.Parse(o.NamespaceSelector); err != nil {
		return fmt.Errorf("--namespace-selector: %q: %w", o.NamespaceSelector, err)
	}
	return nil
}
