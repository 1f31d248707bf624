package webhook

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestBindFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want Options
	}{
		"the defaults": {want: Options{
			BindAddress: ":9443", MetricsBindAddress: ":8080", HealthProbeBindAddress: ":8081",
			CertDir: "/tls", DNSName: "", ShutdownDelay: 5 * time.Second, Defaults: essential.DefaultPolicies(),
		}},
		"every flag": {
			args: []string{"--bind-address=:1", "--metrics-bind-address=0", "--health-probe-bind-address=:3",
				"--cert-dir=/certs", "--dns-name=webhook.system.svc", "--shutdown-delay=1m",
				"--default-completion=All", "--default-on-failure=Ignore", "--default-stop-delay=30s", "--default-mode=Native"},
			want: Options{
				BindAddress: ":1", MetricsBindAddress: "0", HealthProbeBindAddress: ":3",
				CertDir: "/certs", DNSName: "webhook.system.svc", ShutdownDelay: time.Minute,
				Defaults: essential.Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureIgnore, StopDelay: 30 * time.Second, Mode: api.ModeNative},
			}},
	} {
		t.Run(name, func(t *testing.T) {
			var got Options
			flags := flag.NewFlagSet("", flag.ContinueOnError)
			got.BindFlags(flags)
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
			if err := got.Validate(); err != nil {
				t.Errorf("they are not valid: %v", err)
			}
		})
	}
}

func TestValidateNamesEachBadFlag(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no address":                      {func(o *Options) { o.BindAddress = "" }, `invalid --bind-address "": must be [HOST]:PORT`},
		"a port without a colon":          {func(o *Options) { o.MetricsBindAddress = "8080" }, `invalid --metrics-bind-address "8080": must be [HOST]:PORT`},
		"probes cannot be disabled":       {func(o *Options) { o.HealthProbeBindAddress = "0" }, `invalid --health-probe-bind-address "0": must be [HOST]:PORT`},
		"nor can admission":               {func(o *Options) { o.BindAddress = "0" }, `invalid --bind-address "0": must be [HOST]:PORT`},
		"no directory of the certificate": {func(o *Options) { o.CertDir = "" }, `invalid --cert-dir "": must name a directory`},
		"a delay into the past":           {func(o *Options) { o.ShutdownDelay = -time.Second }, `invalid --shutdown-delay "-1s": must not be negative`},
		"two at once": {
			func(o *Options) { o.CertDir, o.ShutdownDelay = "", -1 },
			"invalid --cert-dir \"\": must name a directory\ninvalid --shutdown-delay \"-1ns\": must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			options := loopback("/tls")
			tt.change(&options)
			err := options.Validate()
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	options := loopback("/tls")
	options.DNSName = "https://webhook"
	if err := options.Validate(); err == nil || !strings.HasPrefix(err.Error(), `invalid --dns-name "https://webhook": `) {
		t.Errorf("a URL as a name: got %v", err)
	}
}
