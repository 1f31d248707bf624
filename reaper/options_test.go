package reaper

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestOptions(t *testing.T) {
	for sentence, c := range map[string]struct {
		args []string
		want string // in the error
	}{
		"policies that are good":     {args: []string{"--default-completion=All", "--default-on-failure=Stop", "--default-stop-delay=30s", "--default-retention=Forever"}},
		"a completion that is none":  {args: []string{"--default-completion=all"}, want: `invalid value "all" for flag -default-completion: must be Any or All`},
		"an on-failure that is none": {args: []string{"--default-on-failure=Fail"}, want: "must be Stop or Ignore"},
		"a stop-delay that is none":  {args: []string{"--default-stop-delay=-1s"}, want: "must not be negative"},
		"a retention that is none":   {args: []string{"--default-retention=7w"}, want: "must be a duration such as 90s, 1h30m or 2d, or Forever"},
		"a selector":                 {args: []string{"--namespace-selector=team in (a,b),!legacy"}},
		"a selector of all":          {args: []string{"--namespace-selector="}},
		"a selector that is none":    {args: []string{"--namespace-selector=a in b"}, want: `--namespace-selector: "a in b"`},
		"the defaults are valid":     {},
		"no workers":                 {args: []string{"--workers=0"}, want: "--workers: 0"},
		"too many workers":           {args: []string{"--workers=1001"}, want: "--workers: 1001"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var o Options
			flags := flag.NewFlagSet("reaper", flag.ContinueOnError)
			o.BindFlags(flags)
			flags.SetOutput(io.Discard)
			err := flags.Parse(c.args)
			if err == nil {
				err = o.Validate()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestPolicyFlagsSetTheirDefaults(t *testing.T) {
	var o Options
	flags := flag.NewFlagSet("reaper", flag.ContinueOnError)
	o.BindFlags(flags)
	if want := essential.DefaultPolicies(); o.Defaults != want || o.Adopt || o.NamespaceSelector != "essential-containers=enabled" {
		t.Errorf("before any flag: %+v", o)
	}
	if err := flags.Parse([]string{"--default-completion=All", "--default-on-failure=Ignore", "--default-stop-delay=30s", "--default-retention=1h"}); err != nil {
		t.Fatal(err)
	}
	want := essential.Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureIgnore, StopDelay: 30 * time.Second, Retention: time.Hour, Mode: api.ModeReap}
	if o.Defaults != want {
		t.Errorf("got %+v, want %+v", o.Defaults, want)
	}
}
