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

	"github.com/essential-containers/essential-containers/test/kube"
)

// machine is what can be done to the cluster from outside of it, beside what
// [kube.Cluster] offers.
type machine struct{ cluster *kube.Cluster }

// pidOf is the pid of the running process of a part: a child of the supervisor.
func (m machine) pidOf(part string) (int, error) {
	supervisor, err := m.cluster.Supervisor()
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

const firewallTable = "essential-containers-faults"

// firewall has the cluster's node drop what the addresses send to the API
// server, until open.
func (m machine) firewall(addresses []string) error {
	return m.nft(fmt.Sprintf("table inet %s { chain input { type filter hook input priority -10; ip saddr { %s } tcp dport 6443 drop; }; }",
		firewallTable, strings.Join(addresses, ", ")))
}

// reset ends the connections of the addresses to the API server.
func (m machine) reset(addresses []string) error {
	for _, a := range addresses {
		if err := m.inNetwork("", "ss", "--kill", "--tcp", "--numeric", "sport", "=", ":6443", "and", "dst", a); err != nil {
			return err
		}
	}
	return nil
}

// redirect has the cluster's node send what the addresses send to the API server
// to another address of its own, until open. Connections that are there stay.
func (m machine) redirect(to string, addresses []string) error {
	return m.nft(fmt.Sprintf("table inet %s { chain divert { type nat hook prerouting priority -110; ip saddr { %s } tcp dport 443 dnat ip to %s; }; }",
		firewallTable, strings.Join(addresses, ", "), to))
}

func (m machine) open() error { return m.nft("delete table inet " + firewallTable) }

func (m machine) nft(rules string) error { return m.inNetwork(rules+"\n", "nft", "-f", "-") }

// inNetwork runs a command in the cluster's network.
func (m machine) inNetwork(input string, words ...string) error {
	supervisor, err := m.cluster.Supervisor()
	if err != nil {
		return err
	}
	command := exec.CommandContext(context.Background(), "nsenter", append([]string{"--target=" + supervisor, "--net"}, words...)...)
	command.Stdin = strings.NewReader(input)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", words[0], err, bytes.TrimSpace(output))
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
