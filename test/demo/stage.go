package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

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
