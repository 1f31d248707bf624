//go:build linux && e2e

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// callersMark is in every variable that the cluster must not get.
const callersMark = "essential-containers-caller"

// realCluster is a real cluster of this program, which a user runs who has logged in and then became root by plain su.
type realCluster struct {
	*cluster
	folder string   // of the built program
	caller []string // the user's environment
}

func newRealCluster(t *testing.T, name string) *realCluster {
	t.Helper()
	c, err := newCluster(name)
	must(t, err)
	runtimeFolder, err := os.MkdirTemp("/run", callersMark)
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(runtimeFolder) })
	goCommand, err := exec.LookPath("go")
	must(t, err)
	r := &realCluster{c, t.TempDir(), append(os.Environ(),
		"PATH="+filepath.Dir(goCommand)+":/usr/bin:/bin", // without root's programs
		"XDG_RUNTIME_DIR="+runtimeFolder,
		// With these, programs in Go behave differently.
		"KUBERNETES_SERVICE_HOST="+callersMark+".invalid",
		"NODE_NAME="+callersMark,
	)}
	if output, err := exec.Command("go", "build", "-o", r.folder, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, output)
	}
	t.Cleanup(func() { _ = r.command("down").Run() })
	return r
}

// command is the program with the cluster's flags.
func (r *realCluster) command(args ...string) *exec.Cmd {
	flags := []string{"--name=" + r.name, "--sources=.", "--bin-dir=" + filepath.Join(r.folder, "bin")}
	for _, name := range []string{"KUBERNETES", "KUBELET"} {
		if version := os.Getenv(name); version != "" {
			flags = append(flags, "--"+strings.ToLower(name)+"="+version)
		}
	}
	command := exec.Command(filepath.Join(r.folder, "cluster"), append(flags, args...)...)
	command.Env = r.caller
	return command
}

// run returns what the command prints.
func (r *realCluster) run(t *testing.T, args ...string) string {
	t.Helper()
	output, err := r.command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// down brings the cluster down, of which nothing may be left.
func (r *realCluster) down(t *testing.T) {
	t.Helper()
	namespace := pidNamespace(r.supervisor())
	r.run(t, "down")
	for _, process := range inNamespace(t, namespace) {
		stat, _ := os.ReadFile(filepath.Join(process, "stat"))
		if !strings.Contains(string(stat), ") Z ") { // ended; the machine's first process will notice
			t.Errorf("%s is still in the cluster's namespace: %s", process, stat)
		}
	}
	v1, v2, err := cgroups(cgroup(r.name))
	must(t, err)
	for _, path := range append(append(v1, v2...), r.state, r.lockPath()) {
		if exists(path) {
			t.Errorf("%s is still there", path)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), r.state+"/") {
		t.Errorf("a mount of %s is still there", r.state)
	}
}

// TestInterruptedUp kills `up` with SIGKILL at each of its steps. `down` must find and remove everything, and the cluster must
// come up afterwards.
func TestInterruptedUp(t *testing.T) {
	r := newRealCluster(t, "interrupted")
	for _, step := range []string{"[ 1/5]", "[ 2/5]", "[ 3/5]", "[ 4/5]", "[ 5/5]"} {
		r.killUpAt(t, step)
		r.down(t)
	}
	r.killUpAt(t, "[ 3/5]")
	r.run(t, "up")
	if output := r.run(t, "up"); !strings.Contains(output, "is up already") {
		t.Errorf("a second up printed\n%s", output)
	}
	r.down(t)
	r.down(t) // of a cluster that is gone
}

// killUpAt runs up until it begins the step.
func (r *realCluster) killUpAt(t *testing.T, step string) {
	t.Helper()
	up := r.command("up")
	output, err := up.StdoutPipe()
	must(t, err)
	must(t, up.Start())
	defer func() { _ = up.Wait() }() // it was killed
	var seen []string
	for lines := bufio.NewScanner(output); lines.Scan(); {
		seen = append(seen, lines.Text())
		if strings.HasPrefix(lines.Text(), step) {
			must(t, up.Process.Kill())
			return
		}
	}
	t.Fatalf("it never began step %s:\n%s", step, strings.Join(seen, "\n"))
}

// TestOrdinaryMachine uses a cluster as the demo does, on a machine as its user has it, and stops parts of it.
func TestOrdinaryMachine(t *testing.T) {
	r := newRealCluster(t, "ordinary")
	before := machineSettings()
	r.run(t, "up")
	kubectl := func(args ...string) {
		t.Helper()
		must(t, r.kubectl(t.Context(), args...))
	}
	create := func(pod, seconds string) {
		t.Helper()
		kubectl("run", pod, "--image=docker.io/library/busybox:1.36", `--overrides={"spec": {"nodeName": "node1"}}`, "--command", "sleep", seconds)
	}
	ready := func(pod string) { t.Helper(); kubectl("wait", "--for=condition=Ready", "--timeout=30s", "pod/"+pod) }
	create("running", "601")
	ready("running")
	kubectl("exec", "running", "--", "true")
	running := processes(t, "sleep\x00601\x00")
	if len(running) != 1 {
		t.Fatalf("the pod's processes are %v", running)
	}
	r.assertEnvironments(t)
	if now := machineSettings(); now != before {
		t.Errorf("the machine's settings were %s, are %s", before, now)
	}
	if log, err := os.ReadFile(r.path("logs/kubelet.log")); err != nil || bytes.Contains(log, []byte("Updating kernel flag")) {
		t.Errorf("the kubelet changes a setting of the machine that has no file of its own, or its log is missing: %v", err)
	}

	// A pod of a node whose kubelet is stopped starts when the kubelet does. Containers that run do not notice.
	r.run(t, "stop", "kubelet")
	if status := r.run(t, "status"); !strings.Contains(status, "\n stopped kubelet\n") || regexp.MustCompile(`\d kubelet\n`).MatchString(status) {
		t.Errorf("the kubelet is not stopped:\n%s", status)
	}
	create("waiting", "602")
	time.Sleep(3 * time.Second)
	if early := processes(t, "sleep\x00602\x00"); len(early) > 0 {
		t.Errorf("%v runs without a kubelet", early)
	}
	r.run(t, "start", "kubelet")
	if status := r.run(t, "status"); !regexp.MustCompile(`\d kubelet\n`).MatchString(status) {
		t.Errorf("the kubelet does not run:\n%s", status)
	}
	ready("waiting")
	if now := processes(t, "sleep\x00601\x00"); len(now) != 1 || now[0] != running[0] {
		t.Errorf("the running pod was %v, is %v", running, now)
	}
	r.run(t, "stop", "--kill", "kube-apiserver")
	if err := r.kubectl(t.Context(), "get", "--raw", "/livez"); err == nil {
		t.Error("the API server answers")
	}
	r.run(t, "up")
	if status := r.run(t, "status"); strings.Contains(status, "stopped") {
		t.Errorf("up did not start all parts:\n%s", status)
	}

	// The shims are orphans, which the supervisor inherits.
	kubectl("delete", "pod", "--all", "--grace-period=1")
	zombies := func() (list []string) {
		for _, child := range childrenOf(strconv.Itoa(r.supervisor())) {
			if stat, _ := os.ReadFile("/proc/" + child + "/stat"); strings.Contains(string(stat), ") Z ") {
				list = append(list, string(stat))
			}
		}
		return list
	}
	if err := poll(t.Context(), 10*time.Second, func() bool { return len(zombies()) == 0 }); err != nil {
		t.Errorf("the supervisor does not wait for its children: %q", zombies())
	}
	r.down(t)
}

// assertEnvironments asserts that no variable of the caller has reached a process of the cluster.
func (r *realCluster) assertEnvironments(t *testing.T) {
	t.Helper()
	supervisor := r.supervisor()
	assertEnvironment(t, strconv.Itoa(supervisor))
	parts := 0
	for _, child := range childrenOf(strconv.Itoa(supervisor)) {
		line, _ := os.ReadFile("/proc/" + child + "/cmdline")
		program, _, _ := strings.Cut(string(line), "\x00")
		for _, d := range daemons(r.name, false) { // the others are orphans, such as the shims
			if d.argv[0] == program {
				assertEnvironment(t, child)
				parts++
			}
		}
	}
	if parts != len(r.parts) {
		t.Errorf("found %d parts, want %d", parts, len(r.parts))
	}
	// The shims and the containers add variables of their own.
	for _, process := range inNamespace(t, pidNamespace(supervisor)) {
		if environ, _ := os.ReadFile(filepath.Join(process, "environ")); bytes.Contains(environ, []byte(callersMark)) {
			t.Errorf("the caller's variables are in the environment of %s: %q", process, environ)
		}
	}
}

// machineSettings returns those that a kubelet and containerd would change.
func machineSettings() string {
	files := map[string]string{}
	for name := range kubeletSysctls {
		value, _ := os.ReadFile("/proc/sys/" + name) // a sandbox may lack some
		files[name] = string(value)
	}
	profiles, _ := os.ReadFile("/sys/kernel/security/apparmor/profiles")
	return fmt.Sprintf("%q %s", files, profiles)
}

// pidNamespace is the process namespace whose first process the supervisor is.
func pidNamespace(supervisor int) string {
	name, _ := os.Readlink("/proc/" + strconv.Itoa(supervisor) + "/ns/pid")
	return name
}

// inNamespace returns the folders below /proc of the namespace's processes.
func inNamespace(t *testing.T, namespace string) (processes []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	must(t, err)
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && name == namespace {
			processes = append(processes, filepath.Dir(filepath.Dir(link)))
		}
	}
	return processes
}

// processes returns the pids of the machine's processes that have these arguments.
func processes(t *testing.T, arguments string) (pids []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, file := range files {
		if line, _ := os.ReadFile(file); string(line) == arguments { // it may have ended
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}
