package reaper

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/test/reference"
)

func TestCommand(t *testing.T) {
	for sentence, c := range map[string]struct {
		args   []string
		prints []string
		fails  string // in the error
	}{
		"help describes the command and its flags": {
			args: []string{"--help"},
			prints: []string{"once the essential container of one has completed", "--default-on-failure", "(default Stop)",
				"--workers", "(default 16)", "--leader-elect", "--kubeconfig", "--zap-log-level"},
		},
		"an unknown flag":           {args: []string{"--nope"}, fails: "unknown flag: --nope"},
		"a positional argument":     {args: []string{"now"}, fails: `unknown command "now"`},
		"a value that is not valid": {args: []string{"--workers=0"}, fails: "--workers: 0 is not between 1 and 1000"},
		"a kubeconfig that is not there": {args: []string{"--kubeconfig=" + filepath.Join(t.TempDir(), "none")},
			fails: "finding the API server"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var stdout strings.Builder
			reaper := command.Root("v1.2.3", Command(&Options{}))
			reaper.SetArgs(append([]string{"reaper"}, c.args...))
			reaper.SetOut(&stdout)
			err := reaper.ExecuteContext(t.Context())
			if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("got error %v, want %q", err, c.fails)
			}
			for _, want := range c.prints {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("output lacks %q:\n%s", want, stdout.String())
				}
			}
		})
	}
}

func TestReferenceListsTheFlags(t *testing.T) {
	flags := flag.NewFlagSet("reaper", flag.ContinueOnError)
	new(Options).BindFlags(flags)
	reference.Table(t, "### `reaper`", reference.Flags(flags))
}
