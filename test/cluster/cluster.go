//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"embed"
	"encoding/base64"
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
	"text/template"
	"time"
)

const (
	stateRoot   = "/var/lib/essential-containers"
	inside      = "/run/cluster" // where the cluster's processes see its state folder
	insideParts = "/run/parts"   // and the built parts

	pidFile        = "pid"                    // the supervisor's
	controlFile    = "control.sock"           // where the supervisor takes orders
	crdsFile       = "cert-manager-installed" // there once cert-manager can start
	readyFile      = "ready"                  // there once the cluster was ready; says what it runs
	kubeconfigFile = "kubeconfig"
	auditFile      = "config/audit.yaml" // the audit policy; there if the API server keeps a log of that
)

//go:embed config
var configs embed.FS

// cluster is one cluster on this machine, up or not.
type cluster struct {
	name  string
	state string // folder with all its files
}

func newCluster(name string) (*cluster, error) {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`).MatchString(name) {
		return nil, fmt.Errorf("--name %q: must be 1 to 20 lower-case letters, digits or dashes", name)
	}
	return &cluster{name: name, state: filepath.Join(stateRoot, name)}, nil
}

func (c *cluster) path(elements ...string) string {
	return filepath.Join(append([]string{c.state}, elements...)...)
}

func (c *cluster) lockPath() string   { return c.state + ".lock" }
func (c *cluster) cgroup() string     { return "essential-containers-" + c.name }
func (c *cluster) kubeconfig() string { return c.path(kubeconfigFile) }

// up starts the cluster, or finds it up. A cluster that an interrupted up left
// half started, or that runs other versions, is removed first.
// The API server keeps an audit log if there is a policy for it.
func (c *cluster) up(ctx context.Context, progress *progress, source string, v versions, audit []byte) error {
	programs, err := programs(source, v)
	if err != nil {
		return err
	}
	description := describe(programs, audit)
	if c.isUp(description) {
		fmt.Fprintf(progress.out, "cluster %s is up already: export KUBECONFIG=%s\n", c.name, c.kubeconfig())
		return nil
	}
	if err := c.down(progress); err != nil {
		return err
	}
	lock, err := lockNow(c.lockPath())
	if err != nil {
		return err
	}
	defer lock.Close() // the supervisor has its own copy
	progress.begin(5)
	steps := []struct {
		what string
		do   func() error
	}{
		{"starting the cluster's processes", func() error { return c.start(lock, programs, audit) }},
		{"waiting for the API server", func() error { return c.waitForAPIServer(ctx) }},
		{"loading the pause and test images", func() error { return c.loadOwnImages(ctx, programs) }},
		{"installing cert-manager", func() error { return c.installCertManager(ctx, source) }},
		{"waiting for the node", func() error { return c.waitForNode(ctx) }},
	}
	for _, s := range steps {
		if err := progress.run(s.what, s.do); err != nil {
			return fmt.Errorf("%s: %w (logs are in %s)", s.what, err, c.path("logs"))
		}
	}
	if err := os.WriteFile(c.path(readyFile), []byte(description), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(progress.out, "cluster %s is up: export KUBECONFIG=%s\n", c.name, c.kubeconfig())
	return nil
}

// programs are the built programs: name to path, relative to the cache folder.
func programs(source string, v versions) (map[string]string, error) {
	list := map[string]string{}
	for _, p := range parts(v) {
		key, err := p.cacheKey(source)
		if err != nil {
			return nil, err
		}
		for _, pkg := range p.packages {
			list[p.binary(pkg)] = filepath.Join(key, p.binary(pkg))
		}
	}
	return list, nil
}

// describe says what a cluster of these programs and this configuration is;
// fmt sorts maps by key.
func describe(programs map[string]string, audit []byte) string {
	configuration, _ := configs.ReadFile("config/kubelet.yaml")
	return fmt.Sprintf("%v\n%s\n%v\n%v\n%s", programs, configuration, environment(), daemonArguments(len(audit) > 0), audit)
}

func daemonArguments(audit bool) (all [][]string) {
	for _, d := range daemons(audit) {
		all = append(all, d.argv)
	}
	return all
}

func (c *cluster) isUp(description string) bool {
	ready, err := os.ReadFile(c.path(readyFile))
	if err != nil || string(ready) != description {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return c.startStopped(ctx) == nil && c.waitForAPIServer(ctx) == nil && c.waitForNode(ctx) == nil
}

// start writes the cluster's files and starts its supervisor.
func (c *cluster) start(lock *os.File, programs map[string]string, audit []byte) error {
	for _, dir := range []string{"pki", "config/cni", "logs", "programs", "static-pods", "var/lib", "var/log", "var/tmp"} {
		if err := os.MkdirAll(c.path(dir), 0o755); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	for name, path := range programs {
		if err := os.Symlink(filepath.Join(insideParts, path), c.path("programs", name)); err != nil {
			return err
		}
	}
	if err := c.writePKI(); err != nil {
		return err
	}
	if err := c.writeConfigs("https://" + listener.Addr().String()); err != nil {
		return err
	}
	if len(audit) > 0 {
		if err := os.WriteFile(c.path(auditFile), audit, 0o600); err != nil {
			return err
		}
	}
	if err := thisMachine().keep(c.name); err != nil {
		return fmt.Errorf("saving the machine's settings: %w", err)
	}
	if err := createCgroups(c.cgroup()); err != nil {
		return err
	}
	port, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer port.Close()
	return c.startSupervisor(lock, port)
}

func (c *cluster) startSupervisor(lock, port *os.File) error {
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
	cmd := exec.Command(self, superviseCommand, c.state, cache)
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = []*os.File{lock, port} // lockFD, listenerFD
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // a Ctrl-C at up is not for the cluster
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	return cmd.Process.Release()
}

func (c *cluster) writePKI() error {
	authority, err := newAuthority(c.path("pki"))
	if err != nil {
		return err
	}
	return errors.Join(
		authority.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, "127.0.0.1", nodeIP, "10.96.0.1", "kubernetes.default.svc"),
		authority.issue("admin", pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}),
		authority.issue("kubelet", pkix.Name{CommonName: "system:node:node1", Organization: []string{"system:nodes"}}, nodeIP, "node1"),
		writeKeyPair(c.path("pki"), "sa"),
	)
}

func (c *cluster) writeConfigs(server string) error {
	values := map[string]string{"Cgroup": c.cgroup(), "CNIPlugins": inside + "/programs"}
	const local = "https://127.0.0.1:6443"
	return errors.Join(
		c.writeConfig("containerd.toml", c.path("config/containerd.toml"), values),
		c.writeConfig("cni/10-bridge.conflist", c.path("config/cni/10-bridge.conflist"), values),
		c.writeConfig("kubelet.yaml", c.path("config/kubelet.yaml"), values),
		c.writeKubeconfig(c.path("config/admin.kubeconfig"), "admin", local),
		c.writeKubeconfig(c.path("config/kubelet.kubeconfig"), "kubelet", local),
		c.writeKubeconfig(c.kubeconfig(), "admin", server),
	)
}

func (c *cluster) writeKubeconfig(path, user, server string) error {
	values := map[string]string{"Server": server, "User": user}
	for key, file := range map[string]string{"CA": "ca.crt", "Cert": user + ".crt", "Key": user + ".key"} {
		data, err := os.ReadFile(c.path("pki", file))
		if err != nil {
			return err
		}
		values[key] = base64.StdEncoding.EncodeToString(data)
	}
	return c.writeConfig("kubeconfig.yaml", path, values)
}

func (c *cluster) writeConfig(name, path string, values map[string]string) error {
	t, err := template.New(filepath.Base(name)).Option("missingkey=error").ParseFS(configs, "config/"+name)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, values); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}

// supervisor is the pid of the running supervisor, or 0. The pid is trusted
// only while its lock is held: it could be somebody else's by now.
func (c *cluster) supervisor() int {
	if _, err := os.Stat(c.lockPath()); err != nil {
		return 0 // and to look leaves no lock behind
	}
	lock, err := lockNow(c.lockPath())
	if err == nil {
		lock.Close()
		return 0
	}
	var pid int
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// The supervisor writes its pid right after it has taken the lock over.
	_ = poll(ctx, 20*time.Millisecond, func() (bool, error) {
		text, err := os.ReadFile(c.path(pidFile))
		if err == nil {
			pid, err = strconv.Atoi(string(text))
		}
		return err == nil, nil
	})
	return pid
}

func (c *cluster) isDown() error { return fmt.Errorf("cluster %s is down", c.name) }

// down ends the cluster, removes all its files and cgroups, and restores what it
// changed on the machine. It is right at any point, also when there is nothing.
func (c *cluster) down(progress *progress) error {
	if pid := c.supervisor(); pid != 0 {
		progress.begin(1)
		if err := progress.run("ending the cluster's processes", func() error { return end(pid) }); err != nil {
			return err
		}
	}
	lock, err := lockNow(c.lockPath())
	if err != nil {
		return fmt.Errorf("cluster %s is being started by somebody else: %w", c.name, err)
	}
	defer lock.Close()
	if err := removeCgroups(c.cgroup()); err != nil {
		return err
	}
	if err := os.RemoveAll(c.state); err != nil {
		return err
	}
	if err := thisMachine().restore(c.name); err != nil {
		return err
	}
	if err := os.Remove(c.lockPath()); err != nil {
		return err
	}
	_ = os.Remove(stateRoot) // stays if another cluster is there
	return nil
}

// end kills the first process of the cluster's namespaces, and with it all
// others, and waits until the last one is gone.
func end(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		// The last of its threads goes after all other processes of the
		// namespace have ended; what may remain is a zombie of one thread.
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		return err != nil || strings.Contains(string(stat), ") Z ") && len(threads) <= 1, nil
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
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // a thread may have ended
		for _, child := range strings.Fields(string(children)) {
			if name, err := os.ReadFile("/proc/" + child + "/cmdline"); err == nil {
				command, _, _ := strings.Cut(string(name), "\x00")
				fmt.Fprintf(out, "%8s %s\n", child, filepath.Base(command))
			}
		}
	}
	stopped, err := c.stopped(ctx)
	for _, name := range stopped {
		fmt.Fprintf(out, "%8s %s\n", "stopped", name)
	}
	return err
}
