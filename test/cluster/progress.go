//go:build linux

package main

import (
	"fmt"
	"io"
	"time"
)

// progress shows the user what is being done, how many steps are left, and how long the present one has taken.
type progress struct {
	out         io.Writer
	total, step int
}

// begin starts a numbered list of total steps.
func (p *progress) begin(total int) { p.total, p.step = total, 0 }

// run does one step. It prints a line every half minute, so that a long build does not look stuck.
func (p *progress) run(what string, do func() error) error {
	p.step++
	prefix := fmt.Sprintf("[%2d/%d] %s", p.step, p.total, what)
	fmt.Fprintf(p.out, "%s ...\n", prefix)
	start := time.Now()
	seconds := func() time.Duration { return time.Since(start).Round(time.Second / 10) }
	done := make(chan error, 1)
	go func() { done <- do() }()
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			result := "done"
			if err != nil {
				result = "FAILED"
			}
			fmt.Fprintf(p.out, "%s: %s in %s\n", prefix, result, seconds())
			return err
		case <-ticker.C:
			fmt.Fprintf(p.out, "%s ... %s so far, steps after this one: %d\n", prefix, seconds(), p.total-p.step)
		}
	}
}
