//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells a person what is being done, how many steps are left and for
// how long the present one has been running.
type progress struct {
	out   io.Writer
	tty   bool
	total int
	step  int
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	if !ok {
		return &progress{out: out}
	}
	info, err := f.Stat()
	return &progress{out: out, tty: err == nil && info.Mode()&os.ModeCharDevice != 0}
}

// begin starts a numbered list of total steps.
func (p *progress) begin(total int) { p.total, p.step = total, 0 }

// run does one step. A terminal sees its seconds pass; a log gets a line now
// and then, so that a long build does not look stuck there either.
func (p *progress) run(what string, do func() error) error {
	p.step++
	prefix := fmt.Sprintf("[%2d/%d] %s", p.step, p.total, what)
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- do() }()
	interval := 30 * time.Second
	if p.tty {
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
			p.line(fmt.Sprintf("%s: %s in %s", prefix, result, seconds(start)))
			if p.tty {
				fmt.Fprintln(p.out)
			}
			return err
		case <-ticker.C:
			p.line(fmt.Sprintf("%s ... %s so far, %d steps left after this one", prefix, seconds(start), p.total-p.step))
		}
	}
}

// line replaces the present line on a terminal and adds one to a log.
func (p *progress) line(text string) {
	if p.tty {
		fmt.Fprintf(p.out, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(p.out, text)
}

func seconds(since time.Time) time.Duration { return time.Since(since).Round(time.Second / 10) }
