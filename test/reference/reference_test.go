package reference

import (
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

const sample = `# Page

## First

Words.

| a | b |
| --- | --- |
| 1 | 2 |
| 3 | 4 |

| another | table |
| --- | --- |
| x | y |

## Empty

| a |
| --- |

## None

## Last
| a |
| --- |
| z |`

func TestFind(t *testing.T) {
	lines := strings.Split(sample, "\n")
	for heading, want := range map[string][]string{
		"## First": {"| 1 | 2 |", "| 3 | 4 |"},
		"## Empty": {},
		"## Last":  {"| z |"},
	} {
		first, last := find(lines, heading)
		if first < 0 {
			t.Errorf("%s: no table", heading)
			continue
		}
		if diff := cmp.Diff(want, lines[first:last]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", heading, diff)
		}
	}
	for _, heading := range []string{"## None", "## Elsewhere"} {
		if first, _ := find(lines, heading); first >= 0 {
			t.Errorf("%s: a table at line %d", heading, first)
		}
	}
}

// recorder is a test that may fail without failing this one.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

// The page of this repository itself must not be what these rows say.
func TestATableThatDiffersFails(t *testing.T) {
	t.Setenv("UPDATE_REFERENCE", "")
	r := &recorder{TB: t}
	Table(r, "## Events", [][]string{{"`NobodySaysThis`", "Normal", "never"}})
	if !r.failed {
		t.Error("a table that the code does not say passes")
	}
}

func TestRows(t *testing.T) {
	flags := flag.NewFlagSet("f", flag.ContinueOnError)
	flags.String("name", "me", "the `name|alias`\nof someone")
	flags.String("empty", "", "nothing")
	want := [][]string{{"`--empty`", "", "nothing"}, {"`--name`", "`me`", "the name|alias\nof someone"}}
	if diff := cmp.Diff(want, Flags(flags)); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	if got := format(Flags(flags)[1]); got != "| `--name` | `me` | the name\\|alias of someone |" {
		t.Errorf("got the row %s", got)
	}

	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total", Help: "Counts."}, []string{"kind", "by"})
	counter.WithLabelValues("x", "y")
	registry.MustRegister(counter)
	if diff := cmp.Diff([][]string{{"`c_total{by,kind}`", "counter", "Counts."}}, Metrics(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
