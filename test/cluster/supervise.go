//go:build linux

package main

import (
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
	"time"
)

// superviseCommand starts the supervisor. It is for this program alone: up
// runs it as the first process of new process, mount and network namespaces.
//
// These are what makes a cluster removable: when the first process of a
// process namespace ends, the kernel ends every other one in it, and mounts and
// network go with the last of them. Nothing can be forgotten, whenever and
// however the cluster is interrupted.
const superviseCommand = "supervise"

// The files that the supervisor inherits from up.
const (
	lockFD     = 3 // held for the cluster's life
	listenerFD = 4 // the API server's port on the machine's own loopback
)

const nodeIP = "10.99.0.1"

// systemPath is where distributions keep their programs, those for root too.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is all that the supervisor and the parts get. A variable of the
// caller can point below the machine's /run, which the parts do not see: with
// the XDG_RUNTIME_DIR of a login, containerd creates no container. Others, such
// as a proxy or GODEBUG, would make the cluster differ from machine to machine.
func environment() []string {
	return []string{"PATH=" + inside + "/programs:" + systemPath}
}

// daemon is one process of the cluster, started again whenever it ends,
// unless it was stopped.
type daemon struct {
	name  string
	argv  []string
	after func() bool // what must be there before it can start
}

// daemons are all of the cluster, with an audit log or without.
func daemons(audit bool) []daemon {
	const pki, config = inside + "/pki/", inside + "/config/"
	apiServer := listens("tcp", "127.0.0.1:6443")
	var audited []string
	if audit {
		audited = []string{"--audit-policy-file=" + inside + "/" + auditFile, "--audit-log-path=" + inside + "/logs/audit.log", "--audit-log-maxsize=0"}
	}
	return []daemon{
		{"etcd", []string{"etcd",
			"--data-dir", "/var/lib/etcd", "--unsafe-no-fsync",
			"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
			"--listen-peer-urls", "http://127.0.0.1:2380",
		}, nil},
		{"kube-apiserver", append([]string{"kube-apiserver",
			"--etcd-servers=http://127.0.0.1:2379", "--advertise-address=" + nodeIP, "--secure-port=6443",
			"--tls-cert-file=" + pki + "apiserver.crt", "--tls-private-key-file=" + pki + "apiserver.key",
			"--client-ca-file=" + pki + "ca.crt",
			"--service-account-key-file=" + pki + "sa.pub", "--service-account-signing-key-file=" + pki + "sa.key",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
			"--authorization-mode=Node,RBAC", "--allow-privileged=true",
			"--kubelet-client-certificate=" + pki + "admin.crt", "--kubelet-client-key=" + pki + "admin.key",
			"--kubelet-preferred-address-types=InternalIP", // the node's name does not resolve
			"--shutdown-watch-termination-grace-period=2s", // without it, watches keep a stop waiting for a minute
		}, audited...), listens("tcp", "127.0.0.1:2379")},
		{"kube-controller-manager", []string{"kube-controller-manager",
			"--kubeconfig=" + config + "admin.kubeconfig", "--leader-elect=false", "--use-service-account-credentials",
			"--service-account-private-key-file=" + pki + "sa.key", "--root-ca-file=" + pki + "ca.crt",
		}, apiServer},
		{"kube-scheduler", []string{"kube-scheduler", "--kubeconfig=" + config + "admin.kubeconfig", "--leader-elect=false"}, apiServer},
		{"containerd", []string{"containerd", "-c", config + "containerd.toml"}, nil},
		{"kubelet", []string{"kubelet",
			"--config=" + config + "kubelet.yaml", "--kubeconfig=" + config + "kubelet.kubeconfig",
			"--hostname-override=node1", "--node-ip=" + nodeIP, "--v=2",
		}, allOf(apiServer, listens("unix", inside+"/containerd.sock"))},
		{"kube-proxy", []string{"kube-proxy",
			"--kubeconfig=" + config + "admin.kubeconfig", "--hostname-override=node1",
			"--proxy-mode=nftables", "--feature-gates=NFTablesProxyMode=true", // off by default in 1.30
			"--conntrack-max-per-core=0", "--cluster-cidr=10.88.0.0/16",
		}, apiServer},
		{"cert-manager", []string{"certmanager", "--kubeconfig=" + config + "admin.kubeconfig"}, exists(inside + "/" + crdsFile)},
	}
}

func listens(network, address string) func() bool {
	return func() bool {
		conn, err := net.DialTimeout(network, address, time.Second)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
}

func exists(path string) func() bool {
	return func() bool { _, err := os.Stat(path); return err == nil }
}

func allOf(conditions ...func() bool) func() bool {
	return func() bool {
		for _, c := range conditions {
			if !c() {
				return false
			}
		}
		return true
	}
}

// supervise is the first process of the cluster's namespaces. It returns only
// if it cannot set them up.
func supervise(args []string) error {
	if len(args) != 2 || os.Getpid() != 1 {
		return errors.New("supervise is started by up alone")
	}
	state, cache := args[0], args[1]
	syscall.CloseOnExec(lockFD)
	syscall.CloseOnExec(listenerFD)
	// /proc is still the machine's own: this is the pid that down must end.
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
	orders, err := net.Listen("unix", inside+"/"+controlFile)
	if err != nil {
		return fmt.Errorf("listening for orders: %w", err)
	}
	children := newChildren(inside+"/logs", 30*time.Second, daemons(exists(inside+"/"+auditFile)()))
	if err := obey(orders, children); err != nil {
		return err
	}
	children.keepAllRunning()
	return nil
}

// mountAll gives the cluster a /run, a /var and a /proc of its own, so that
// every part can use its usual paths without touching the machine's.
func mountAll(state, cache string) error {
	type mount struct {
		source, target, fstype string
		flags                  uintptr
	}
	for _, m := range []mount{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE}, // nothing goes back to the machine
		{"", "/", "", syscall.MS_REC | syscall.MS_SHARED},  // volumes reach the containers
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
		{state, inside, "", syscall.MS_BIND | syscall.MS_REC},
		{cache, insideParts, "", syscall.MS_BIND},
		{inside + "/var", "/var", "", syscall.MS_BIND},
	} {
		if m.target != "/" {
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

// setUpNetwork gives the node an address. It stands on a bridge: not every
// kernel has the dummy device.
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

// forward carries connections from the machine's loopback, where the listener
// was opened, to the API server in the namespace that this process lives in.
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
				return // the API server is not up: the client sees the connection end
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
