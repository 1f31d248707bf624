package webhook

import (
	"context"
	"flag"
	"strings"
	"testing"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/test/reference"
)

func TestCommand(t *testing.T) {
	const free = "127.0.0.1:0"
	for name, tt := range map[string]struct {
		args   []string
		prints []string
		fails  string // empty: it does not
	}{
		"help describes the command and its flags": {
			args: []string{"-h"},
			prints: []string{"Webhook checks the essential-containers label and policies of pods", "--bind-address address ", "(default \":9443\")",
				"--cert-dir directory ", "--zap-log-level", "--pprof-addr"},
		},
		"an unknown flag":           {args: []string{"--nope"}, fails: "unknown flag: --nope"},
		"a positional argument":     {args: []string{"now"}, fails: `unknown command "now"`},
		"a value of the wrong type": {args: []string{"--shutdown-delay=5"}, fails: `invalid argument "5" for "--shutdown-delay"`},
		"a value that is not valid": {args: []string{"--cert-dir="}, fails: "invalid --cert-dir"},
		"a wrong log level":         {args: []string{"--zap-log-level=loud"}, fails: "zap-log-level"},
		"serving until SIGTERM": {args: []string{
			"--bind-address=" + free, "--metrics-bind-address=" + free, "--health-probe-bind-address=" + free,
			"--cert-dir=" + t.TempDir(), "--shutdown-delay=0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var stdout strings.Builder
			webhook := command.Root("v1.2.3", Command())
			webhook.SetArgs(append([]string{"webhook"}, tt.args...))
			webhook.SetOut(&stdout)
			err := webhook.ExecuteContext(ctx)
			switch {
			case tt.fails == "" && err != nil:
				t.Errorf("failed: %v", err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("got error %v, want one with %q", err, tt.fails)
			}
			if len(tt.prints) == 0 && stdout.Len() > 0 {
				t.Errorf("printed %q", stdout.String())
			}
			for _, want := range tt.prints {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, stdout.String())
				}
			}
		})
	}
}

func TestReferenceListsTheFlags(t *testing.T) {
	flags := flag.NewFlagSet("webhook", flag.ContinueOnError)
	new(Options).BindFlags(flags)
	reference.Table(t, "### `webhook`", reference.Flags(flags))
}
