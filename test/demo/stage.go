package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// patience bounds each check.
const patience = 2 * time.Minute

// stage is where the demo is seen.
type stage struct {
	start time.Time

	mu  sync.Mutex
	out io.Writer
}

// say prints a text behind the seconds since the start; its further lines stand
// below its first.
func (s *stage) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	column := fmt.Sprintf("%6.1f s  ", time.Since(s.start).Seconds())
	fmt.Fprintln(s.out, column+indent(fmt.Sprintf(format, args...), len(column)))
}

func (s *stage) title(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "\n"+format+"\n", args...)
}

// indent indents all lines but the first.
func indent(text string, columns int) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", columns))
}

// step is a part of the demo; its checks build on each other.
type step struct {
	title  string
	checks []check
}

// check is one thing that the demo shows.
type check struct {
	what string                      // what is so if see returns nil
	see  func(context.Context) error // brings it about or waits for it; the error says why it is not so
}

type verdict string

const (
	ok         verdict = "ok"
	failed     verdict = "FAILED"
	notReached verdict = "not reached"
)

// result is how a check ended.
type result struct {
	check
	verdict verdict
	why     string // of a failure
}

// perform does the steps up to the first check that fails: what comes after it
// would only wait for the same. explain adds to why it failed.
func (s *stage) perform(ctx context.Context, steps []step, explain func(context.Context) string) []result {
	var results []result
	last := ok
	for i, step := range steps {
		if last == ok {
			s.title("%d. %s", i+1, step.title)
		}
		for _, c := range step.checks {
			r := result{check: c, verdict: notReached}
			if last == ok {
				r = s.perform1(ctx, c, explain)
				last = r.verdict
			}
			results = append(results, r)
		}
	}
	return results
}

// perform1 does one check, and tells how it ended unless ctx has ended it.
func (s *stage) perform1(ctx context.Context, c check, explain func(context.Context) string) result {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.see(bounded)
	switch {
	case ctx.Err() != nil:
		return result{check: c, verdict: notReached}
	case err != nil:
		r := result{check: c, verdict: failed, why: err.Error() + explain(ctx)}
		s.say("%s  %s\n%s", r.verdict, c.what, r.why)
		return r
	}
	s.say("%s  %s", ok, c.what)
	return result{check: c, verdict: ok}
}

func count(results []result, v verdict) (n int) {
	for _, r := range results {
		if r.verdict == v {
			n++
		}
	}
	return n
}

// summarize prints a table of the results.
func summarize(out io.Writer, results []result) {
	fmt.Fprint(out, "\nSummary\n")
	for _, r := range results {
		row := fmt.Sprintf("  %-11s  ", r.verdict)
		fmt.Fprintln(out, row+indent(r.what+"\n"+r.why, len(row)))
	}
}
