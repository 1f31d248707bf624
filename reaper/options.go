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
	// Defaults are the policies of pods that say nothing themselves.
	Defaults essential.Policies
	// Adopt: labelled pods that missed admission are tracked by the reaper.
	Adopt bool
	// NamespaceSelector selects the namespaces that opted in; it has to say the
	// same as the webhook's configuration. Empty: all.
	NamespaceSelector string
	// Clock is what decisions go by and stops are dated with. It has no flag: nil
	// is the machine's, and only a test that steps it has another.
	Clock clock.PassiveClock
}

// BindFlags adds the options' flags to fs and gives them their defaults.
func (o *Options) BindFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.MetricsBindAddress, "metrics-bind-address", ":8080", "where /metrics is served over HTTP; 0 to switch it off")
	fs.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served; 0 to switch them off")
	fs.BoolVar(&o.LeaderElect, "leader-elect", true, "let one replica act at a time")
	fs.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "", "where the Lease "+LeaseName+" is kept (default the pod's own namespace)")
	fs.IntVar(&o.Workers, "workers", 16, "how many pods are handled at the same time")
	fs.BoolVar(&o.Adopt, "adopt", false,
		"track labelled pods that missed admission, because they are older than the webhook or it could not be reached;\n"+
			"without it, an event says that their label has no effect")
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
