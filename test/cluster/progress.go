//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows the user what is being done, how many steps are left, and how long the present one has taken.
type progress struct {
	out      io.Writer
	terminal bool
	total    int
	step     int
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// begin starts a numbered list of total steps.
func (p *progress) begin(total int) { p.total, p.step = total, 0 }

// run does one step. A terminal shows its seconds; a log gets a line every half minute, so that a long build does not look stuck.
func (p *progress) run(what string, do func() error) error {
	p.step++
	prefix := fmt.Sprintf("[%2d/%d] %s", p.step, p.total, what)
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- do() }()
	interval := 30 * time.Second
	if p.terminal {
		interval = time.Second
	} else {
		fmt.Fprintf(p.out, "%s ...\n", prefix)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			result := "done"
			if err != nil {
				result = "FAILED"
			}
			p.line("%s: %s in %s", prefix, result, seconds(start))
			if p.terminal {
				fmt.Fprintln(p.out)
			}
			return err
		case <-ticker.C:
			p.line("%s ... %s so far, steps after this one: %d", prefix, seconds(start), p.total-p.step)
		}
	}
}

// line replaces the present line on a terminal and adds one to a log.
func (p *progress) line(format string, args ...any) {
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K"+format, args...)
		return
	}
	fmt.Fprintf(p.out, format+"\n", args...)
}

func seconds(since time.Time) time.Duration { return time.Since(since).Round(time.Second / 10) }
