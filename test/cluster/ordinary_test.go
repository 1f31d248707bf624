//go:build linux && e2e

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// callersMark is in every variable that the cluster must not get.
const callersMark = "essential-containers-caller"

// callersEnvironment is that of a user who has logged in and then became root
// by plain su: a folder below /run, and a PATH without root's programs. The
// other variables would change how programs in Go behave.
func callersEnvironment(t *testing.T) []string {
	t.Helper()
	runtimeDir, err := os.MkdirTemp("/run", callersMark)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runtimeDir) })
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(),
		"PATH="+filepath.Dir(goCommand)+":/usr/bin:/bin",
		"XDG_RUNTIME_DIR="+runtimeDir,
		"KUBERNETES_SERVICE_HOST="+callersMark+".invalid",
		"NODE_NAME="+callersMark,
	)
}

// TestOrdinaryMachine uses a cluster as the demo does, on a machine as its user
// has it.
func TestOrdinaryMachine(t *testing.T) {
	c, command, down := newTestCluster(t, "ordinary")
	if output, err := command("up").CombinedOutput(); err != nil {
		t.Fatalf("up: %v\n%s", err, output)
	}
	for _, args := range [][]string{
		{"run", "pod", "--image=docker.io/library/busybox:1.36", "--command", "sleep", "603"},
		{"wait", "--for=condition=Ready", "--timeout=30s", "pod/pod"},
		{"exec", "pod", "--", "true"},
	} {
		if err := c.kubectl(t.Context(), args...); err != nil {
			t.Error(err)
		}
	}
	supervisor := c.supervisor()
	assertEnvironment(t, strconv.Itoa(supervisor))
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(supervisor) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // a thread may have ended
		for _, child := range strings.Fields(string(children)) {
			if isPart(child) {
				assertEnvironment(t, child)
				parts++
			}
		}
	}
	if want := len(daemons(false)); parts != want {
		t.Errorf("found %d parts, want %d", parts, want)
	}
	// The shims and the containers below them add variables of their own.
	for _, process := range inNamespace(t, pidNamespace(supervisor)) {
		if environ, _ := os.ReadFile(filepath.Join(process, "environ")); bytes.Contains(environ, []byte(callersMark)) {
			t.Errorf("the caller's variables are in the environment of %s: %q", process, environ)
		}
	}
	down(t)
}

// isPart tells the parts from the orphans that the supervisor waits for too,
// such as the shims.
func isPart(pid string) bool {
	line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
	name, _, _ := bytes.Cut(line, []byte{0})
	for _, d := range daemons(false) {
		if d.argv[0] == string(name) {
			return true
		}
	}
	return false
}
