package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what bench/results.json holds.
type report struct {
	Machine machine   `json:"machine"`
	Scale   string    `json:"scale"`
	Sizes   sizes     `json:"sizes"`
	Started time.Time `json:"started"`
	Took    string    `json:"took"`
	Figures []*figure `json:"figures"`
}

func (r *report) write(path string) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}

// print writes the machine and one table, in Markdown that lines up.
func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s, scale %s, %d rounds, started %s, took %s\n\n", r.Machine, r.Scale, r.Sizes.Rounds, r.Started.UTC().Format(time.DateTime), r.Took)
	table := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	line := func(cells ...string) { fmt.Fprintln(table, "| "+strings.Join(cells, "\t| ")+"\t|") }
	line("figure", "unit", "here", "baseline", "ratio (spread)", "reach", "reached")
	line("---", "---", "---", "---", "---", "---", "---")
	for _, f := range r.Figures {
		line(f.Name, f.Unit, f.own(), f.base(), f.ratio(), f.reach(), f.verdict())
	}
	table.Flush()
}

// own shows the spread where no ratio will.
func (f *figure) own() string {
	if f.Baseline != "" || f.Own.Min == f.Own.Max {
		return number(f.Own.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(f.Own.Median), number(f.Own.Min), number(f.Own.Max))
}

func (f *figure) base() string {
	if f.Baseline == "" {
		return "–"
	}
	return number(f.Base.Median)
}

func (f *figure) ratio() string {
	if f.Ratio == (spread{}) {
		return "–"
	}
	if f.Difference {
		return fmt.Sprintf("%s %s (%s to %s)", signed(f.More.Median), f.Unit, signed(f.More.Min), signed(f.More.Max))
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", f.Ratio.Median, f.Ratio.Min, f.Ratio.Max)
}

func (f *figure) reach() string {
	if f.Reach == nil {
		return "–"
	}
	sign, of := "≤", "×"
	if f.Higher {
		sign = "≥"
	}
	if f.Absolute {
		of = " " + f.Unit
	}
	if f.Within > 0 {
		return fmt.Sprintf("%.2f ± %s%s", *f.Reach, number(f.Within), of)
	}
	if f.Difference {
		return fmt.Sprintf("%s %s %s", sign, signed(*f.Reach), f.Unit)
	}
	return fmt.Sprintf("%s %s%s", sign, number(*f.Reach), of)
}

func (f *figure) verdict() string {
	text := string(f.Verdict)
	switch f.Verdict {
	case "":
		return "–"
	case missed:
		text = "**no**"
	}
	if f.Agree < len(f.Rounds) {
		text += fmt.Sprintf(", in %d of %d rounds", f.Agree, len(f.Rounds))
	}
	return text
}

// again prints the table of a results file, and computes again what its rounds
// come to.
func again(path string, out io.Writer) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(content, &r); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	for _, f := range r.Figures {
		f.summarize()
	}
	r.print(out)
	return r.write(path)
}

func signed(v float64) string {
	if v > 0 {
		return "+" + number(v)
	}
	return number(v)
}

// number shows three digits that matter, and all of a whole number.
func number(v float64) string {
	switch {
	case v == float64(int64(v)), v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
