//go:build unix

package kube

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// State is the folder of a local cluster: its kubeconfig is in there.
func (c *Cluster) State() string { return filepath.Dir(c.Kubeconfig) }

// Part stops, starts or restarts a process of a local cluster. Nothing but its
// own time limit ends it: what was stopped must be started whatever happens.
func (c *Cluster) Part(words ...string) error {
	args := append([]string{"run", "github.com/essential-containers/essential-containers/test/cluster", "--name=" + filepath.Base(c.State())}, words...)
	if output, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(output))
	}
	return nil
}

// Supervisor is the pid of a local cluster's first process, whose namespaces
// are the cluster's.
func (c *Cluster) Supervisor() (string, error) {
	pid, err := os.ReadFile(filepath.Join(c.State(), "pid"))
	if err != nil {
		return "", fmt.Errorf("is the cluster on this machine? %w", err)
	}
	return strings.TrimSpace(string(pid)), nil
}

// Signal sends a signal to the program, reaper or webhook, in the pod of a local
// cluster, from outside: its image has no shell. The kubelet names the pod in the process's
// environment.
func Signal(program, pod string, signal syscall.Signal) error {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(command, []byte("/essential-containers\x00"+program+"\x00")) {
			continue // another program, or it has just ended
		}
		environment, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if err != nil || !bytes.Contains(environment, []byte("HOSTNAME="+pod+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return err
		}
		return syscall.Kill(pid, signal)
	}
	return fmt.Errorf("no process %s of pod %s is there: is the cluster on this machine?", program, pod)
}

// Listen opens a socket in the network of a local cluster. It stays in the
// network in which it was made.
func (c *Cluster) Listen(address string) (listener net.Listener, err error) {
	err = c.inNetwork(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	return listener, err
}

// Dial connects to an address in the network of a local cluster.
func (c *Cluster) Dial(ctx context.Context, network, address string) (connection net.Conn, err error) {
	err = c.inNetwork(func() (err error) {
		connection, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return connection, err
}
