//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// superviseCommand starts the supervisor. Only up runs it, as the first process of new process, mount and network namespaces.
//
// They are what makes a cluster removable: when the first process of a process namespace ends, the kernel ends every other one
// in it, and mounts and network disappear with the last of them. Nothing can be forgotten, whenever and however the cluster is
// interrupted.
const superviseCommand = "supervise"

// The files that the supervisor inherits from up.
const (
	lockFD     = 3 // held as long as the cluster runs
	listenerFD = 4 // the API server's port on the machine's loopback
)

// systemPath is where distributions keep their programs, those for root too.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is all that the supervisor and the parts get. A variable of the caller can name a folder below the machine's
// /run, which the parts do not see: with the XDG_RUNTIME_DIR of a login, containerd creates no container. Others, such as a
// proxy or GODEBUG, would make the cluster differ from machine to machine.
func environment() []string {
	return []string{"PATH=" + inside + "/programs:" + systemPath}
}

// supervise is the first process of the cluster's namespaces. It returns only if it cannot set them up.
func supervise(args []string) error {
	if len(args) != 2 || os.Getpid() != 1 {
		return errors.New("supervise is started by up alone")
	}
	state, cache := args[0], args[1]
	syscall.CloseOnExec(lockFD)
	syscall.CloseOnExec(listenerFD)
	// /proc is still the machine's: this is the pid that down must end.
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(state, pidFile), []byte(self), 0o644); err != nil {
		return err
	}
	if err := mountAll(state, cache); err != nil {
		return err
	}
	if err := setUpNetwork(); err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(listenerFD, "listener"))
	if err != nil {
		return fmt.Errorf("taking over the API server's port: %w", err)
	}
	go forward(listener, "127.0.0.1:6443")
	s := &supervisor{state: inside, own: map[int]bool{}}
	for _, d := range daemons(filepath.Base(state), exists(inside+"/"+auditFile)) {
		go s.keepRunning(context.Background(), d)
	}
	s.waitForOrphans()
	return nil
}

// mountAll gives the cluster a /run, a /var and a /proc of its own: every part uses its usual paths without reaching the
// machine's.
func mountAll(state, cache string) error {
	type mount struct {
		source, target, fstype string
		flags                  uintptr
	}
	mounts := []mount{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE}, // nothing reaches the machine
		{"", "/", "", syscall.MS_REC | syscall.MS_SHARED},  // volumes reach the containers
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
		{state, inside, "", syscall.MS_BIND | syscall.MS_REC},
		{cache, insideParts, "", syscall.MS_BIND},
		{inside + "/var", "/var", "", syscall.MS_BIND},
	}
	for name := range kubeletSysctls {
		if setting := "/proc/sys/" + name; exists(setting) { // a sandbox may lack some
			mounts = append(mounts, mount{filepath.Join(inside, sysctlFolder, name), setting, "", syscall.MS_BIND})
		}
	}
	for _, m := range mounts {
		if !exists(m.target) {
			if err := os.MkdirAll(m.target, 0o755); err != nil {
				return err
			}
		}
		if err := syscall.Mount(m.source, m.target, m.fstype, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	return nil
}

// kubeletSysctls are the settings of the whole machine that every kubelet changes, with the values that it writes:
// setupKernelTunables in k8s.io/kubernetes, pkg/kubelet/cm. In the cluster's /proc they are files of its own, which have these
// values from the start: the machine's settings remain as they are. Those that kube-proxy and the CNI plugins change belong to
// the cluster's network namespace.
var kubeletSysctls = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// setUpNetwork gives the node an address, on a bridge: not every kernel has the dummy device.
func setUpNetwork() error {
	for _, args := range []string{
		"link set lo up",
		"link add node0 type bridge",
		"address add " + nodeIP + "/24 dev node0",
		"link set node0 up",
		"route add default dev node0",
	} {
		if output, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, output)
		}
	}
	return nil
}

// forward carries connections from the machine's loopback, where the listener was opened, to the API server in the namespace
// of this process.
func forward(listener net.Listener, target string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Printf("accepting a connection: %v", err)
			return
		}
		go func() {
			defer client.Close()
			server, err := net.Dial("tcp", target)
			if err != nil {
				return // the API server is down: the client sees the connection end
			}
			defer server.Close()
			done := make(chan struct{}, 2)
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() { _, _ = io.Copy(pair[0], pair[1]); done <- struct{}{} }()
			}
			<-done
		}()
	}
}
