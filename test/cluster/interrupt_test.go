//go:build linux && e2e

package main

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestInterruptedUp kills `up` at each of its steps, without a warning, and
// asserts that `down` finds and removes all there is, and that the cluster
// comes up afterwards.
func TestInterruptedUp(t *testing.T) {
	_, command, down := newTestCluster(t, "interrupted")
	for _, step := range []string{"[ 1/5]", "[ 2/5]", "[ 3/5]", "[ 4/5]", "[ 5/5]"} {
		t.Run("killed in step "+step, func(t *testing.T) {
			killAt(t, command("up"), step)
			down(t)
		})
	}
	t.Run("killed, and brought up without a down", func(t *testing.T) {
		killAt(t, command("up"), "[ 3/5]")
		if output, err := command("up").CombinedOutput(); err != nil {
			t.Fatalf("up: %v\n%s", err, output)
		}
		if output, err := command("up").CombinedOutput(); err != nil || !strings.Contains(string(output), "is up already") {
			t.Errorf("a second up: %v\n%s", err, output)
		}
		down(t)
	})
	t.Run("down when there is nothing", down)
}

// newTestCluster builds this program. What it returns runs it for the cluster
// of that name, as a user of the machine does, and brings the cluster down, of
// which nothing may be left.
func newTestCluster(t *testing.T, name string) (c *cluster, command func(args ...string) *exec.Cmd, down func(*testing.T)) {
	t.Helper()
	c, err := newCluster(name)
	if err != nil {
		t.Fatal(err)
	}
	caller := callersEnvironment(t)
	folder := t.TempDir()
	program := filepath.Join(folder, "cluster")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, output)
	}
	command = func(args ...string) *exec.Cmd {
		flags := []string{"--name=" + name, "--sources=.", "--bin-dir=" + filepath.Join(folder, "bin")}
		for _, name := range []string{"KUBERNETES", "KUBELET"} {
			if version := os.Getenv(name); version != "" {
				flags = append(flags, "--"+strings.ToLower(name)+"="+version)
			}
		}
		cmd := exec.Command(program, append(flags, args...)...)
		cmd.Env = caller
		return cmd
	}
	// While another cluster is up, the kubelet's values remain.
	alone := func() bool { return !exists(thisMachine().file)() }
	before, wasAlone := thisMachine().values(), alone()
	down = func(t *testing.T) {
		t.Helper()
		namespace := pidNamespace(c.supervisor())
		if output, err := command("down").CombinedOutput(); err != nil {
			t.Fatalf("down: %v\n%s", err, output)
		}
		nothingLeft(t, c, namespace)
		if wasAlone && alone() {
			thisMachine().assertValues(t, before)
		}
	}
	t.Cleanup(func() { _ = command("down").Run() })
	return c, command, down
}

// killAt runs the command until it begins the step.
func killAt(t *testing.T, cmd *exec.Cmd, step string) {
	t.Helper()
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // it was killed
	var seen []string
	for lines := bufio.NewScanner(output); lines.Scan(); {
		seen = append(seen, lines.Text())
		if strings.HasPrefix(lines.Text(), step) {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("it never came to step %s:\n%s", step, strings.Join(seen, "\n"))
}

// pidNamespace is the process namespace whose first process the supervisor is.
func pidNamespace(supervisor int) string {
	name, err := os.Readlink("/proc/" + strconv.Itoa(supervisor) + "/ns/pid")
	if err != nil {
		return ""
	}
	return name
}

// inNamespace are the folders below /proc of the namespace's processes.
func inNamespace(t *testing.T, namespace string) (processes []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && name == namespace {
			processes = append(processes, filepath.Dir(filepath.Dir(link)))
		}
	}
	return processes
}

func nothingLeft(t *testing.T, c *cluster, namespace string) {
	t.Helper()
	for _, process := range inNamespace(t, namespace) {
		stat, _ := os.ReadFile(filepath.Join(process, "stat"))
		if !strings.Contains(string(stat), ") Z ") { // ended, and the machine's first process will notice
			t.Errorf("%s is still in the cluster's namespace: %s", process, stat)
		}
	}
	for _, path := range []string{c.state, c.lockPath()} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", path)
		}
	}
	v1, v2, err := cgroupRoots()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(v1, v2...) {
		if _, err := os.Stat(filepath.Join(root, c.cgroup())); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("cgroup %s is still there", filepath.Join(root, c.cgroup()))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), c.state) {
		t.Errorf("a mount of %s is still there", c.state)
	}
}
