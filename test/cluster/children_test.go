//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// supervisedState names the state folder of a supervisor of harmless parts,
// which this program then is: a supervisor waits for every child of its
// process, so it needs one of its own.
const supervisedState = "TEST_SUPERVISED_STATE"

func TestMain(m *testing.M) {
	if state := os.Getenv(supervisedState); state != "" {
		log.Fatal(superviseHarmless(&cluster{state: state}))
	}
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func superviseHarmless(c *cluster) error {
	orders, err := net.Listen("unix", c.path(controlFile))
	if err != nil {
		return err
	}
	children := newChildren(c.state, time.Second, []daemon{
		{"plain", []string{"sleep", "61"}, nil},
		{"stubborn", []string{"sh", "-c", "trap '' TERM; exec sleep 62"}, nil},
		{"picky", []string{"sleep", "63"}, exists(c.path("wanted"))},
	})
	if err := obey(orders, children); err != nil {
		return err
	}
	lock, err := lockNow(c.lockPath())
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := os.WriteFile(c.path(pidFile), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return err
	}
	children.keepAllRunning()
	return nil
}

// assertEnvironment is for the supervisor and the parts.
func assertEnvironment(t *testing.T, pid string) {
	t.Helper()
	got, err := os.ReadFile("/proc/" + pid + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(environment(), "\x00") + "\x00"; string(got) != want {
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		t.Errorf("the environment of %s is %q, want %q", bytes.TrimSpace(name), got, want)
	}
}

func TestStopAndStart(t *testing.T) {
	c := &cluster{name: "test", state: t.TempDir()}
	order := func(command, part string, kill bool) error {
		return c.order(t.Context(), command, Order{Part: part, Kill: kill})
	}
	if err := order("stop", "plain", false); err == nil || err.Error() != "cluster test is down" {
		t.Fatalf("stopping a part of nothing: %v", err)
	}
	if _, err := os.Stat(c.lockPath()); err == nil {
		t.Error("looking for the supervisor left a lock behind")
	}
	supervisor := exec.Command(os.Args[0])
	supervisor.Stderr = t.Output()
	supervisor.Env = append(os.Environ(), supervisedState+"="+c.state, "XDG_RUNTIME_DIR=/run/user/0", "GODEBUG=x=y")
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, part := range []string{"plain", "stubborn", "picky"} {
			_ = c.order(context.Background(), "stop", Order{Part: part, Kill: true})
		}
		_ = supervisor.Process.Kill()
		_ = supervisor.Wait()
	})
	// processes are the arguments and pids of all that runs.
	processes := func() map[string]int {
		found := map[string]int{}
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", supervisor.Process.Pid))
		for _, task := range tasks {
			children, _ := os.ReadFile(task)
			for _, child := range strings.Fields(string(children)) {
				line, _ := os.ReadFile("/proc/" + child + "/cmdline")
				found[strings.TrimRight(strings.ReplaceAll(string(line), "\x00", " "), " ")], _ = strconv.Atoi(child)
			}
		}
		return found
	}
	status := func() string {
		var out bytes.Buffer
		if err := c.status(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	comes := func(what string, done func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := poll(ctx, 10*time.Millisecond, func() (bool, error) { return done(), nil }); err != nil {
			t.Fatalf("%s: %v; there are %v", what, err, processes())
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	comes("both parts that can start", func() bool { return processes()["sleep 61"] != 0 && processes()["sleep 62"] != 0 })
	first := processes()["sleep 61"]
	assertEnvironment(t, strconv.Itoa(first))

	ok(order("stop", "plain", false))
	if pid := processes()["sleep 61"]; pid != 0 {
		t.Errorf("stop returned while %d runs", pid)
	}
	time.Sleep(firstPause + firstPause/2)
	if pid := processes()["sleep 61"]; pid != 0 {
		t.Errorf("the stopped part was started again, as %d", pid)
	}
	ok(order("stop", "plain", false))
	if !regexp.MustCompile(`(?m)^ stopped plain$`).MatchString(status()) || strings.Contains(status(), "stopped stubborn") {
		t.Errorf("of all only plain is stopped:\n%s", status())
	}
	ok(order("start", "plain", false))
	second := processes()["sleep 61"]
	if second == 0 || second == first || strings.Contains(status(), "stopped") {
		t.Errorf("not started again: first %d, now %d:\n%s", first, second, status())
	}
	ok(order("start", "plain", false))
	if pid := processes()["sleep 61"]; pid != second {
		t.Errorf("a start of what runs made %d of %d", pid, second)
	}
	ok(order("restart", "plain", false))
	third := processes()["sleep 61"]
	if third == 0 || third == second {
		t.Fatalf("not restarted: second %d, now %d", second, third)
	}
	killed := time.Now()
	ok(syscall.Kill(third, syscall.SIGKILL))
	comes("what ended by itself again", func() bool { pid := processes()["sleep 61"]; return pid != 0 && pid != third })
	if pause := time.Since(killed); pause < firstPause {
		t.Errorf("what ended by itself was started again after %v", pause)
	}

	stubborn := processes()["sleep 62"]
	if err := order("stop", "stubborn", false); err == nil || !strings.Contains(err.Error(), `stubborn has not ended 1s after the signal "terminated" (--kill sends SIGKILL)`) {
		t.Errorf("stopping what does not listen: %v", err)
	}
	ok(order("restart", "stubborn", true))
	if pid := processes()["sleep 62"]; pid == stubborn {
		t.Errorf("%d was not killed", pid)
	}

	if err := order("start", "picky", false); err == nil || !strings.Contains(err.Error(), "picky could not start within 1s") {
		t.Errorf("starting what cannot start: %v", err)
	}
	ok(os.WriteFile(c.path("wanted"), nil, 0o644))
	ok(order("start", "picky", false))
	ok(order("stop", "picky", false))
	ok(order("stop", "plain", true))
	ok(c.startStopped(t.Context()))
	if p := processes(); p["sleep 61"] == 0 || p["sleep 63"] == 0 {
		t.Errorf("not all was started: %v", p)
	}
	for _, command := range []string{"stop", "start", "restart"} {
		if err := order(command, "etdc", false); err == nil || err.Error() != `no part "etdc"; the parts are plain, stubborn, picky` {
			t.Errorf("%s of no part: %v", command, err)
		}
	}
}
