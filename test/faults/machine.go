package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// machine is what can be done to the cluster from outside of it.
type machine struct {
	state string // folder of the cluster
}

// part stops, starts or restarts a process of the cluster. Nothing but its own
// time limit ends it: what was stopped must be started whatever happens.
func (m machine) part(words ...string) error {
	args := append([]string{"run", "./test/cluster", "--name=" + filepath.Base(m.state)}, words...)
	if output, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(output))
	}
	return nil
}

// pidOf is the pid of the running process of a part: a child of the supervisor.
func (m machine) pidOf(part string) (int, error) {
	supervisor, err := m.supervisor()
	if err != nil {
		return 0, err
	}
	tasks, err := filepath.Glob("/proc/" + supervisor + "/task/*/children")
	if err != nil {
		return 0, err
	}
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // a thread may have ended
		for _, child := range strings.Fields(string(children)) {
			command, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if name, _, _ := bytes.Cut(command, []byte{0}); filepath.Base(string(name)) == part {
				return strconv.Atoi(child)
			}
		}
	}
	return 0, fmt.Errorf("%s does not run", part)
}

func (m machine) supervisor() (string, error) {
	pid, err := os.ReadFile(filepath.Join(m.state, "pid"))
	if err != nil {
		return "", fmt.Errorf("is the cluster on this machine? %w", err)
	}
	return strings.TrimSpace(string(pid)), nil
}

// signal sends a signal to the program in the pod, from outside: its image has
// no shell. The kubelet names the pod in the process's environment.
func (m machine) signal(program, pod string, sig syscall.Signal) error {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(command, []byte("/"+program+"\x00")) {
			continue // another program, or ended meanwhile
		}
		environment, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if err != nil || !bytes.Contains(environment, []byte("HOSTNAME="+pod+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return err
		}
		return syscall.Kill(pid, sig)
	}
	return fmt.Errorf("no process %s of pod %s is there", program, pod)
}

const firewallTable = "essential-containers-faults"

// firewall has the cluster's node treat what the addresses send to the API
// server by the verdict, until open.
func (m machine) firewall(verdict string, addresses ...string) error {
	rules := fmt.Sprintf("table inet %s { chain input { type filter hook input priority -10; ip saddr { %s } tcp dport 6443 %s; }; }",
		firewallTable, strings.Join(addresses, ", "), verdict)
	return m.nft(rules)
}

func (m machine) open() error { return m.nft("delete table inet " + firewallTable) }

func (m machine) nft(rules string) error {
	supervisor, err := m.supervisor()
	if err != nil {
		return err
	}
	command := exec.CommandContext(context.Background(), "nsenter", "--target="+supervisor, "--net", "nft", "-f", "-")
	command.Stdin = strings.NewReader(rules + "\n")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// paused has a part do nothing while do runs.
func (m machine) paused(part string, do func()) error {
	pid, err := m.pidOf(part)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pausing %s: %w", part, err)
	}
	do()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("waking %s: %w", part, err)
	}
	return nil
}
