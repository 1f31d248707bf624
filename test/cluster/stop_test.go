//go:build linux && e2e

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestStoppedParts stops parts of a cluster and starts them again. A pod that is
// bound to a node whose kubelet is stopped starts when the kubelet does, and
// containers that run do not notice.
func TestStoppedParts(t *testing.T) {
	c, command, down := newTestCluster(t, "parts")
	cluster := func(args ...string) string {
		t.Helper()
		output, err := command(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, output)
		}
		return string(output)
	}
	kubectl := func(args ...string) {
		t.Helper()
		if err := c.kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	run := func(pod, seconds string) {
		t.Helper()
		kubectl("run", pod, "--image=docker.io/library/busybox:1.36", `--overrides={"spec": {"nodeName": "node1"}}`, "--command", "sleep", seconds)
	}
	cluster("up")
	run("running", "601")
	kubectl("wait", "--for=condition=Ready", "--timeout=20s", "pod/running")
	running := processes(t, "sleep\x00601\x00")
	if len(running) != 1 {
		t.Fatalf("the pod's processes are %v", running)
	}

	cluster("stop", "kubelet")
	if status := cluster("status"); !strings.Contains(status, "\n stopped kubelet\n") || regexp.MustCompile(`\d kubelet\n`).MatchString(status) {
		t.Errorf("the kubelet is not stopped:\n%s", status)
	}
	run("waiting", "602")
	time.Sleep(3 * time.Second)
	if early := processes(t, "sleep\x00602\x00"); len(early) > 0 {
		t.Errorf("%v runs without a kubelet", early)
	}
	cluster("start", "kubelet")
	if status := cluster("status"); !regexp.MustCompile(`\d kubelet\n`).MatchString(status) {
		t.Errorf("the kubelet does not run:\n%s", status)
	}
	kubectl("wait", "--for=condition=Ready", "--timeout=20s", "pod/waiting")
	if now := processes(t, "sleep\x00601\x00"); len(now) != 1 || now[0] != running[0] {
		t.Errorf("the running pod was %v, is %v", running, now)
	}

	cluster("stop", "--kill", "kube-apiserver")
	if err := c.kubectl(t.Context(), "get", "--raw", "/livez"); err == nil {
		t.Error("the API server answers")
	}
	cluster("up")
	kubectl("get", "pod", "waiting")
	if status := cluster("status"); strings.Contains(status, "stopped") {
		t.Errorf("up did not start all:\n%s", status)
	}
	down(t)
}

// processes are those of the machine that have these arguments.
func processes(t *testing.T, arguments string) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, _ := os.ReadFile(file); bytes.Equal(line, []byte(arguments)) { // it may have ended
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}
