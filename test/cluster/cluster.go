//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	stateRoot   = "/var/lib/essential-containers"
	inside      = "/run/cluster" // the state folder, as the cluster's processes see it
	insideParts = "/run/parts"   // the built parts, as they see them

	pidFile      = "pid"                    // the supervisor's pid
	crdsFile     = "cert-manager-installed" // exists when cert-manager can start
	readyFile    = "ready"                  // exists when the cluster was ready; describes what it runs
	auditFile    = "config/audit.yaml"      // the audit policy; without it, the API server keeps no audit log
	sysctlFolder = "sysctl"                 // mounted over settings of the machine
)

//go:embed config
var configs embed.FS

// cluster is one cluster on this machine, whether it runs or not.
type cluster struct {
	name    string
	state   string        // folder with all its files
	parts   []string      // that can be stopped, in the order in which they can start
	timeout time.Duration // for a stop or start of one of them
}

func newCluster(name string) (*cluster, error) {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`).MatchString(name) {
		return nil, fmt.Errorf("--name %q: must be 1 to 20 lower-case letters, digits or dashes", name)
	}
	c := &cluster{name: name, state: filepath.Join(stateRoot, name), timeout: 30 * time.Second}
	for _, d := range daemons(name, false) {
		c.parts = append(c.parts, d.name)
	}
	return c, nil
}

func (c *cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.state}, elements...)...)
}

func (c *cluster) lockPath() string   { return c.state + ".lock" }
func (c *cluster) kubeconfig() string { return c.path("kubeconfig") }

// cgroup is the name of the group that holds all pods of a cluster.
func cgroup(cluster string) string { return "essential-containers-" + cluster }

// up starts the cluster, or finds it up. It first removes a cluster that is incomplete, since its up was interrupted, or that
// runs something else. With an audit policy, the API server keeps an audit log.
func (c *cluster) up(ctx context.Context, progress *progress, source string, v versions, audit []byte) error {
	programs, err := programs(source, clusterParts(v))
	if err != nil {
		return err
	}
	description, err := describe(programs, audit)
	if err != nil {
		return err
	}
	if c.isUp(ctx, description) {
		fmt.Fprintf(progress.out, "cluster %s is up already: export KUBECONFIG=%s\n", c.name, c.kubeconfig())
		return nil
	}
	if err := c.down(progress); err != nil {
		return err
	}
	lock, err := lockFile(c.lockPath(), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return err
	}
	defer lock.Close() // the supervisor has its own copy
	progress.begin(5)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"starting the cluster's processes", func() error { return c.startSupervisor(lock, programs, audit) }},
		{"waiting for the API server", func() error { return c.waitForAPIServer(ctx) }},
		{"loading the pause and test images", func() error { return c.loadOwnImages(ctx) }},
		{"installing cert-manager", func() error { return c.installCertManager(ctx, source) }},
		{"waiting for the node", func() error { return c.waitForNode(ctx) }},
	} {
		if err := progress.run(step.what, step.do); err != nil {
			return fmt.Errorf("%s: %w (logs are in %s)", step.what, err, c.path("logs"))
		}
	}
	if err := os.WriteFile(c.path(readyFile), []byte(description), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(progress.out, "cluster %s is up: export KUBECONFIG=%s\n", c.name, c.kubeconfig())
	return nil
}

// describe returns what a cluster is made of: its programs, its audit policy, and this program with all its configuration.
// fmt sorts maps by key.
func describe(programs map[string]string, audit []byte) (string, error) {
	self, err := os.ReadFile("/proc/self/exe")
	return fmt.Sprintf("%v\n%x\n%s", programs, sha256.Sum256(self), audit), err
}

func (c *cluster) isUp(ctx context.Context, description string) bool {
	ready, err := os.ReadFile(c.path(readyFile))
	if err != nil || string(ready) != description {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return c.startStopped(ctx) == nil && c.waitForAPIServer(ctx) == nil && c.waitForNode(ctx) == nil
}

// startSupervisor writes the cluster's files and starts its supervisor.
func (c *cluster) startSupervisor(lock *os.File, programs map[string]string, audit []byte) error {
	for _, folder := range []string{"pki", "logs", "programs", runningFolder, stoppedFolder, "static-pods", "var/lib", "var/log", "var/tmp"} {
		if err := os.MkdirAll(c.path(folder), 0o755); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	port, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer port.Close()
	for name, path := range programs {
		if err := os.Symlink(filepath.Join(insideParts, path), c.path("programs", name)); err != nil {
			return err
		}
	}
	if err := errors.Join(writePKI(c.path("pki")), c.writeConfigs("https://"+listener.Addr().String(), audit), createCgroups(cgroup(c.name))); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	logFile, err := os.Create(c.path("logs", "supervisor.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	command := exec.Command(self, superviseCommand, c.state, cache)
	command.Env = environment()
	command.Stdout, command.Stderr = logFile, logFile
	command.ExtraFiles = []*os.File{lock, port} // lockFD, listenerFD
	command.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // Ctrl-C ends up, not the cluster
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	return command.Process.Release()
}

// writeConfigs writes the parts' configuration, and the kubeconfig with which this machine reaches the server.
func (c *cluster) writeConfigs(server string, audit []byte) error {
	const local = "https://127.0.0.1:6443"
	errs := []error{
		os.CopyFS(c.state, configs),
		c.writeKubeconfig(c.path("config/admin.kubeconfig"), local, inside, "admin"),
		c.writeKubeconfig(c.path("config/kubelet.kubeconfig"), local, inside, "kubelet"),
		c.writeKubeconfig(c.kubeconfig(), server, c.state, "admin"),
	}
	for name, value := range kubeletSysctls {
		file := c.path(sysctlFolder, name)
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(value+"\n"), 0o644))
	}
	if len(audit) > 0 {
		errs = append(errs, os.WriteFile(c.path(auditFile), audit, 0o600))
	}
	return errors.Join(errs...)
}

func (c *cluster) writeKubeconfig(path, server, state, user string) error {
	text, err := configs.ReadFile("config/kubeconfig.yaml")
	values := strings.NewReplacer("SERVER", server, "STATE", state, "USER", user)
	return errors.Join(err, os.WriteFile(path, []byte(values.Replace(string(text))), 0o600))
}

// supervisor returns the pid of the running supervisor, or 0. Only while its lock is held, the file with the pid is valid:
// another process may have the same pid by now.
func (c *cluster) supervisor() (pid int) {
	if !exists(c.lockPath()) {
		return 0 // lock would create it
	}
	if lock, err := lockFile(c.lockPath(), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		lock.Close()
		return 0
	}
	// The supervisor writes its pid right after it has inherited the lock.
	_ = poll(context.Background(), 5*time.Second, func() bool {
		text, err := os.ReadFile(c.path(pidFile))
		if err == nil {
			pid, err = strconv.Atoi(string(text))
		}
		return err == nil
	})
	return pid
}

func (c *cluster) isDown() error { return fmt.Errorf("cluster %s is down", c.name) }

// down ends the cluster and removes all its files and cgroups, also of a cluster that is incomplete, or gone.
func (c *cluster) down(progress *progress) error {
	if pid := c.supervisor(); pid != 0 {
		progress.begin(1)
		if err := progress.run("ending the cluster's processes", func() error { return end(pid) }); err != nil {
			return err
		}
	}
	lock, err := lockFile(c.lockPath(), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return fmt.Errorf("another process is starting cluster %s: %w", c.name, err)
	}
	defer lock.Close()
	if err := errors.Join(removeCgroups(cgroup(c.name)), os.RemoveAll(c.state), os.Remove(c.lockPath())); err != nil {
		return err
	}
	_ = os.Remove(stateRoot) // fails if it holds another cluster
	return nil
}

// end kills the first process of the cluster's namespaces, and with it all others, and waits for the end of the last one.
func end(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	err := poll(context.Background(), time.Minute, func() bool {
		// The last of its threads ends after all other processes of the namespace. A zombie of one thread may remain.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		return err != nil || strings.Contains(string(stat), ") Z ") && len(threads) <= 1
	})
	if err != nil {
		return fmt.Errorf("waiting for process %d to end: %w", pid, err)
	}
	return nil
}

// status lists the cluster's own processes by their pids on this machine.
func (c *cluster) status(ctx context.Context, out io.Writer) error {
	pid := c.supervisor()
	if pid == 0 {
		return c.isDown()
	}
	fmt.Fprintf(out, "cluster %s is up\nKUBECONFIG=%s\nlogs: %s\n", c.name, c.kubeconfig(), c.path("logs"))
	for _, part := range []string{"kube-apiserver", "kubelet"} {
		if version, err := c.output(ctx, part, "--version"); err == nil {
			fmt.Fprintf(out, "%s: %s", part, version)
		}
	}
	fmt.Fprintf(out, "%8d supervisor\n", pid)
	for _, child := range childrenOf(strconv.Itoa(pid)) {
		if line, err := os.ReadFile("/proc/" + child + "/cmdline"); err == nil {
			program, _, _ := strings.Cut(string(line), "\x00")
			fmt.Fprintf(out, "%8s %s\n", child, filepath.Base(program))
		}
	}
	for _, part := range c.stopped() {
		fmt.Fprintf(out, "%8s %s\n", "stopped", part)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
