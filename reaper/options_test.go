package reaper

import (
	"flag"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	for sentence, c := range map[string]struct {
		args []string
		want string // in the error
	}{
		"the defaults are valid":       {},
		"plain deletion is a strategy": {args: []string{"--stop-strategy=Delete"}},
		"a strategy that is none":      {args: []string{"--stop-strategy=delete"}, want: `--stop-strategy: "delete" is neither "Complete" nor "Delete"`},
		"no workers":                   {args: []string{"--workers=0"}, want: "--workers: 0"},
		"too many workers":             {args: []string{"--workers=1001"}, want: "--workers: 1001"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var o Options
			flags := flag.NewFlagSet("reaper", flag.ContinueOnError)
			o.BindFlags(flags)
			if err := flags.Parse(c.args); err != nil {
				t.Fatal(err)
			}
			err := o.Validate()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}
