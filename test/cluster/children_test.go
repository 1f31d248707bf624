//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// harmless returns a cluster that is up: the test is its supervisor, and its parts only sleep.
func harmless(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{name: "test", state: filepath.Join(t.TempDir(), "state"), timeout: 20 * time.Second}
	daemons := []daemon{
		{"plain", []string{"sh", "-c", "echo >>" + c.path("starts") + "; exec sleep 61"}, nil},
		{"stubborn", []string{"sh", "-c", "trap '' TERM; exec sleep 62"}, nil},
		{"picky", []string{"sleep", "63"}, func() bool { return exists(c.path("wanted")) }},
	}
	for _, d := range daemons {
		c.parts = append(c.parts, d.name)
	}
	if err := c.start(t.Context(), "plain"); err == nil || err.Error() != "cluster test is down" || exists(c.lockPath()) {
		t.Errorf("starting a part of a cluster that is down: %v; lock: %t", err, exists(c.lockPath()))
	}
	for _, folder := range []string{"logs", runningFolder, stoppedFolder} {
		must(t, os.MkdirAll(c.path(folder), 0o755))
	}
	must(t, os.WriteFile(c.path(pidFile), []byte(strconv.Itoa(os.Getpid())), 0o644))
	held, err := lockFile(c.lockPath(), syscall.LOCK_EX)
	must(t, err)
	s := &supervisor{state: c.state, own: map[int]bool{}}
	for _, d := range daemons {
		go s.keepRunning(t.Context(), d)
	}
	t.Cleanup(func() {
		for _, part := range c.parts {
			if err := c.stop(context.WithoutCancel(t.Context()), part, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		held.Close()
	})
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStopAndStart(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/0")
	ctx, c := t.Context(), harmless(t)
	pidOf := func(part string) int {
		text, _ := os.ReadFile(c.path(runningFolder, part))
		pid, _ := strconv.Atoi(string(text))
		return pid
	}
	runs := func(pid int) bool { return syscall.Kill(pid, 0) == nil }
	fails := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q", what, err, want)
		}
	}
	must(t, poll(ctx, 10*time.Second, func() bool { return pidOf("plain") > 0 && pidOf("stubborn") > 0 }))
	first := pidOf("plain")

	must(t, c.stop(ctx, "plain", syscall.SIGTERM))
	if runs(first) {
		t.Errorf("stop returned while %d runs", first)
	}
	time.Sleep(firstPause + firstPause/2)
	if starts, err := os.ReadFile(c.path("starts")); err != nil || len(starts) != 1 {
		t.Errorf("the stopped part was started again: %d starts, error %v", len(starts), err)
	}
	must(t, c.stop(ctx, "plain", syscall.SIGTERM))
	var status bytes.Buffer
	must(t, c.status(ctx, &status))
	if !regexp.MustCompile(`(?m)^ stopped plain$`).MatchString(status.String()) || strings.Contains(status.String(), "stopped stubborn") {
		t.Errorf("only plain is stopped, but status prints\n%s", &status)
	}
	must(t, c.start(ctx, "plain"))
	second := pidOf("plain")
	if second == first || !runs(second) {
		t.Errorf("not started again: first %d, now %d", first, second)
	}
	must(t, c.start(ctx, "plain"))
	if pid := pidOf("plain"); pid != second {
		t.Errorf("starting a part that runs replaced %d by %d", second, pid)
	}
	must(t, c.restart(ctx, "plain", syscall.SIGTERM))
	third := pidOf("plain")
	if third == second || !runs(third) || runs(second) {
		t.Errorf("not restarted: second %d, now %d", second, third)
	}
	killed := time.Now()
	must(t, syscall.Kill(third, syscall.SIGKILL))
	must(t, poll(ctx, 10*time.Second, func() bool { return pidOf("plain") != 0 && pidOf("plain") != third }))
	if pause := time.Since(killed); pause < firstPause {
		t.Errorf("a part that ended by itself was started again after %v", pause)
	}

	stubborn, patient := pidOf("stubborn"), c.timeout
	c.timeout = time.Second
	fails("stopping a part that ignores SIGTERM", c.stop(ctx, "stubborn", syscall.SIGTERM), `stubborn has not ended 1s after the signal "terminated" (--kill sends SIGKILL)`)
	c.timeout = patient
	must(t, c.restart(ctx, "stubborn", syscall.SIGKILL))
	if runs(stubborn) {
		t.Errorf("%d was not killed", stubborn)
	}

	c.timeout = time.Second
	fails("starting a part that cannot start", c.start(ctx, "picky"), "picky could not start within 1s")
	c.timeout = patient
	must(t, os.WriteFile(c.path("wanted"), nil, 0o644))
	must(t, c.start(ctx, "picky"))
	assertEnvironment(t, strconv.Itoa(pidOf("picky")))
	must(t, c.stop(ctx, "picky", syscall.SIGTERM))
	must(t, c.stop(ctx, "plain", syscall.SIGKILL))
	must(t, c.startStopped(ctx))
	if !runs(pidOf("plain")) || !runs(pidOf("picky")) {
		t.Error("not all parts were started")
	}
	for _, err := range []error{c.stop(ctx, "etdc", syscall.SIGTERM), c.start(ctx, "etdc"), c.restart(ctx, "etdc", syscall.SIGTERM)} {
		fails("a part that does not exist", err, `no part "etdc"; the parts are plain, stubborn, picky`)
	}
}

// assertEnvironment is for the supervisor and the parts.
func assertEnvironment(t *testing.T, pid string) {
	t.Helper()
	got, err := os.ReadFile("/proc/" + pid + "/environ")
	must(t, err)
	if want := strings.Join(environment(), "\x00") + "\x00"; string(got) != want {
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		t.Errorf("the environment of %s is %q, want %q", bytes.TrimSpace(name), got, want)
	}
}
