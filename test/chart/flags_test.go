package chart

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/reaper"
	"github.com/essential-containers/essential-containers/webhook"
)

// flags reads a subcommand and arguments of the form --name=value.
func flags(t *testing.T, args []string) map[string]string {
	t.Helper()
	if len(args) == 0 {
		t.Fatal("there are no arguments")
	}
	values := map[string]string{}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if _, twice := values[name]; !ok || twice || !strings.HasPrefix(arg, "--") {
			t.Fatalf("argument %q is not --name=value, or is there twice: %q", arg, args)
		}
		values[name] = value
	}
	return values
}

func TestFlags(t *testing.T) {
	webhookDefaults := map[string]string{
		"bind-address":              ":9443",
		"metrics-bind-address":      ":8080",
		"health-probe-bind-address": ":8081",
		"cert-dir":                  "/tls",
		"dns-name":                  "essential-containers-webhook.apps.svc",
		"shutdown-delay":            "5s",
		"default-completion":        "Any",
		"default-on-failure":        "Stop",
		"default-stop-delay":        "0s",
		"default-mode":              "Reap",
		"zap-log-level":             "info",
	}
	reaperDefaults := map[string]string{
		"metrics-bind-address":      ":8080",
		"health-probe-bind-address": ":8081",
		"workers":                   "16",
		"default-completion":        "Any",
		"default-on-failure":        "Stop",
		"default-stop-delay":        "0s",
		"default-retention":         "0s",
		"adopt":                     "false",
		"namespace-selector":        "essential-containers=enabled",
		"zap-log-level":             "info",
	}
	for name, test := range map[string]struct {
		set             string
		webhook, reaper map[string]string // what differs from the defaults
	}{
		"the defaults": {},
		"a log level is both programs'": {
			set:     "logLevel=debug",
			webhook: map[string]string{"zap-log-level": "debug"},
			reaper:  map[string]string{"zap-log-level": "debug"},
		},
		"a shutdown delay": {
			set:     "webhook.shutdownDelay=20s",
			webhook: map[string]string{"shutdown-delay": "20s"},
		},
		"few workers": {
			set:    "reaper.workers=2",
			reaper: map[string]string{"workers": "2"},
		},
		"policies of the operator's": {
			set: "defaults.completion=All,defaults.onFailure=Ignore,defaults.stopDelay=90s,defaults.retention=Forever,defaults.mode=Native",
			webhook: map[string]string{
				"default-completion": "All",
				"default-on-failure": "Ignore",
				"default-stop-delay": "90s",
				"default-mode":       "Native",
			},
			reaper: map[string]string{
				"default-completion": "All",
				"default-on-failure": "Ignore",
				"default-stop-delay": "90s",
				"default-retention":  "Forever",
			},
		},
		"adoption": {
			set:    "reaper.adopt=true",
			reaper: map[string]string{"adopt": "true"},
		},
		"a Service of another name": {
			set:     "fullnameOverride=ec",
			webhook: map[string]string{"dns-name": "ec-webhook.apps.svc"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--set", test.set)
			for component, want := range map[string]map[string]string{
				"webhook": merged(webhookDefaults, test.webhook),
				"reaper":  merged(reaperDefaults, test.reaper),
			} {
				c := container(t, objects, component)
				if diff := cmp.Diff(want, flags(t, c.Args)); diff != "" {
					t.Errorf("flags of the %s (-want +got):\n%s", component, diff)
				}
				if len(c.Command) > 0 || c.Args[0] != component {
					t.Errorf("the %s runs the command %q with %q", component, c.Command, c.Args)
				}
			}
		})
	}
}

// Whatever the schema lets through, the programs take.
func TestProgramsTakeTheirFlags(t *testing.T) {
	for name, set := range map[string]string{
		"the defaults":         "",
		"the smallest values":  "logLevel=error,webhook.shutdownDelay=0s,reaper.workers=1",
		"the largest values":   "logLevel=debug,webhook.shutdownDelay=999s,reaper.workers=1000",
		"the other policies":   "defaults.completion=All,defaults.onFailure=Ignore,defaults.retention=Forever,defaults.mode=Native",
		"every unit of time":   "defaults.stopDelay=1h2m3.5s4ms5us6ns,defaults.retention=7µs",
		"the longest times":    "defaults.stopDelay=999999h999999h99999h,defaults.retention=999999.999999999h",
		"no time at all":       "defaults.stopDelay=0m,defaults.retention=0.0s",
		"adoption":             "reaper.adopt=true",
		"every namespace":      "webhook.namespaceSelector.matchLabels=null",
		"the longest DNS name": "fullnameOverride=" + strings.Repeat("a", 50),
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--set", set)
			parse(t, container(t, objects, "webhook").Args, &webhook.Options{})
			parse(t, container(t, objects, "reaper").Args, &reaper.Options{})
		})
	}
}

// Go takes one time without a unit.
func TestReaperTakesZero(t *testing.T) {
	objects := render(t, "--set-string", "defaults.stopDelay=0,defaults.retention=0")
	parse(t, container(t, objects, "reaper").Args, &reaper.Options{})
}

// parse reads the arguments as the program does.
func parse(t *testing.T, args []string, options command.Options) {
	t.Helper()
	root := command.Root("test", command.New("webhook", "", options, nil), command.New("reaper", "", options, nil))
	subcommand, args, err := root.Find(args)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(subcommand.ParseFlags(args), options.Validate()); err != nil {
		t.Errorf("%q: %v", args, err)
	}
}

func merged(base, over map[string]string) map[string]string {
	result := maps.Clone(base)
	maps.Copy(result, over)
	return result
}
