package webhook

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// The flags that errors other than those of [Options.Validate] name too.
const (
	bindAddressFlag            = "bind-address"
	metricsBindAddressFlag     = "metrics-bind-address"
	healthProbeBindAddressFlag = "health-probe-bind-address"
)

// disabled as an address means: do not listen.
const disabled = "0"

// Options configure [Run].
type Options struct {
	// BindAddress is where the API server is answered, over HTTPS.
	BindAddress string
	// MetricsBindAddress is where /metrics is served, over HTTP. "0": nowhere.
	MetricsBindAddress string
	// HealthProbeBindAddress is where /healthz and /readyz are served, over HTTP.
	HealthProbeBindAddress string
	// CertDir holds tls.crt and tls.key. They may appear after the start, and
	// change at any time.
	CertDir string
	// DNSName is what the API server calls the webhook, SERVICE.NAMESPACE.svc. It
	// is not ready if the certificate does not cover that. Empty: not checked.
	DNSName string
	// ClientCAFile holds PEM certificates: only clients with a certificate that one
	// of them has signed are served. Empty: every client is.
	ClientCAFile string
	// ShutdownDelay is how long the webhook serves after SIGTERM, no longer ready, so
	// that API servers learn that the pod has left the Service. A preStop hook that
	// sleeps cannot do this: before SIGTERM the process cannot know that it has to end
	// each connection with its next answer.
	ShutdownDelay time.Duration
	// Defaults are the policies of pods without annotations of their own. Those that
	// the reaper has too must agree with its own.
	Defaults essential.Policies
}

// BindFlags adds one flag for each option to flags. It sets every option to its
// default.
func (o *Options) BindFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.BindAddress, bindAddressFlag, ":9443",
		"`address` on which admission is served, over HTTPS")
	flags.StringVar(&o.MetricsBindAddress, metricsBindAddressFlag, ":8080",
		"`address` on which /metrics is served, over HTTP; 0 disables it")
	flags.StringVar(&o.HealthProbeBindAddress, healthProbeBindAddressFlag, ":8081",
		"`address` on which /healthz and /readyz are served, over HTTP")
	flags.StringVar(&o.CertDir, "cert-dir", "/tls",
		"`directory` that holds the serving certificate, tls.crt and tls.key; read again when they change")
	flags.StringVar(&o.DNSName, "dns-name", "",
		"DNS `name` of the webhook's Service, SERVICE.NAMESPACE.svc: the webhook is not ready unless the\n"+
			"certificate covers it; empty disables the check")
	flags.StringVar(&o.ClientCAFile, "client-ca-file", "",
		"`file` of PEM certificates of the CAs that sign the API servers' client certificates, read at each connection:\n"+
			"other clients are rejected; empty accepts every client")
	flags.DurationVar(&o.ShutdownDelay, "shutdown-delay", 5*time.Second,
		"`time` to keep serving after SIGTERM, while not ready, so that endpoints can be withdrawn")
	o.Defaults.BindFlags(flags, api.CompletionAnnotation, api.OnFailureAnnotation, api.StopDelayAnnotation, api.ModeAnnotation)
}

// Validate returns an error that names each flag whose value cannot be used,
// and what is wrong with it.
func (o *Options) Validate() error {
	var errs []error
	invalid := func(name string, value any, why string) {
		errs = append(errs, fmt.Errorf("invalid --%s %q: %s", name, fmt.Sprint(value), why))
	}
	address := func(name, value string) {
		if _, _, err := net.SplitHostPort(value); err != nil {
			invalid(name, value, "must be [HOST]:PORT")
		}
	}
	address(bindAddressFlag, o.BindAddress)
	if o.MetricsBindAddress != disabled {
		address(metricsBindAddressFlag, o.MetricsBindAddress)
	}
	address(healthProbeBindAddressFlag, o.HealthProbeBindAddress)
	if o.CertDir == "" {
		invalid("cert-dir", o.CertDir, "must name a directory")
	}
	if problems := validation.IsDNS1123Subdomain(o.DNSName); o.DNSName != "" && len(problems) > 0 {
		invalid("dns-name", o.DNSName, strings.Join(problems, "; "))
	}
	if o.ShutdownDelay < 0 {
		invalid("shutdown-delay", o.ShutdownDelay, "must not be negative")
	}
	return errors.Join(errs...)
}
