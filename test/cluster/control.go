//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The supervisor follows files of these folders, each named after a part. A file in the stopped folder holds the number of the
// signal that the part's process gets; while the file exists, the part is not started. The supervisor writes those in the
// running folder.
const (
	stoppedFolder = "stopped"
	runningFolder = "running"
)

// stop ends the process of a part, which remains stopped until start, even if an error is returned. What the process has
// started itself, such as containers, keeps running.
func (c *cluster) stop(ctx context.Context, part string, signal syscall.Signal) error {
	if err := c.check(part); err != nil {
		return err
	}
	// A rename, since the supervisor may read the file at any time.
	draft := c.path(stoppedFolder + "." + part)
	if err := os.WriteFile(draft, []byte(strconv.Itoa(int(signal))), 0o644); err != nil {
		return err
	}
	if err := os.Rename(draft, c.path(stoppedFolder, part)); err != nil {
		return err
	}
	if err := poll(ctx, c.timeout, func() bool { return !exists(c.path(runningFolder, part)) }); err != nil {
		return fmt.Errorf("%s has not ended %v after the signal %q (--kill sends SIGKILL): %w", part, c.timeout, signal, err)
	}
	return nil
}

// start lets a part run again and returns when its process exists.
func (c *cluster) start(ctx context.Context, part string) error {
	if err := c.check(part); err != nil {
		return err
	}
	if err := os.RemoveAll(c.path(stoppedFolder, part)); err != nil {
		return err
	}
	err := poll(ctx, c.timeout, func() bool {
		pid, _ := os.ReadFile(c.path(runningFolder, part))
		return len(pid) > 0
	})
	if err != nil {
		return fmt.Errorf("%s could not start within %v; it starts when the parts that it needs run: %w", part, c.timeout, err)
	}
	return nil
}

func (c *cluster) restart(ctx context.Context, part string, signal syscall.Signal) error {
	if err := c.stop(ctx, part, signal); err != nil {
		return err
	}
	return c.start(ctx, part)
}

// startStopped starts all parts that were stopped.
func (c *cluster) startStopped(ctx context.Context) error {
	for _, part := range c.stopped() {
		if err := c.start(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// stopped returns the parts that do not run until they are started, in the order in which they can start.
func (c *cluster) stopped() []string {
	return slices.DeleteFunc(slices.Clone(c.parts), func(part string) bool { return !exists(c.path(stoppedFolder, part)) })
}

func (c *cluster) check(part string) error {
	if c.supervisor() == 0 {
		return c.isDown()
	}
	if !slices.Contains(c.parts, part) {
		return fmt.Errorf("no part %q; the parts are %s", part, strings.Join(c.parts, ", "))
	}
	return nil
}
