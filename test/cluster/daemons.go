//go:build linux

package main

import (
	"net"
	"time"
)

const nodeIP = "10.99.0.1"

// daemon is one process of the cluster. It is started again whenever it ends, unless it was stopped.
type daemon struct {
	name  string
	argv  []string
	after func() bool // what it needs before it can start
}

func (d daemon) ready() bool { return d.after == nil || d.after() }

// daemons returns all of a cluster, in the order in which they can start.
func daemons(cluster string, audit bool) []daemon {
	const pki, config = inside + "/pki/", inside + "/config/"
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
			"--client-ca-file=" + pki + "clients.crt",
			"--service-account-key-file=" + pki + "sa.key", "--service-account-signing-key-file=" + pki + "sa.key",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
			"--authorization-mode=Node,RBAC", "--allow-privileged=true",
			"--kubelet-client-certificate=" + pki + "admin.crt", "--kubelet-client-key=" + pki + "admin.key",
			"--kubelet-preferred-address-types=InternalIP", // the node's name does not resolve
			"--shutdown-watch-termination-grace-period=2s", // by default, watches delay a stop for a minute
		}, audited...), listens("tcp", "127.0.0.1:2379")},
		{"kube-controller-manager", []string{"kube-controller-manager",
			"--kubeconfig=" + config + "admin.kubeconfig", "--leader-elect=false", "--use-service-account-credentials",
			"--service-account-private-key-file=" + pki + "sa.key", "--root-ca-file=" + pki + "ca.crt",
		}, apiServerListens},
		{"kube-scheduler", []string{"kube-scheduler", "--kubeconfig=" + config + "admin.kubeconfig", "--leader-elect=false"}, apiServerListens},
		{"containerd", []string{"containerd", "-c", config + "containerd.toml"}, nil},
		{"kubelet", []string{"kubelet",
			"--config=" + config + "kubelet.yaml", "--kubeconfig=" + config + "kubelet.kubeconfig", "--cgroup-root=/" + cgroup(cluster),
			"--hostname-override=node1", "--node-ip=" + nodeIP, "--v=2",
		}, func() bool { return apiServerListens() && listens("unix", inside+"/containerd.sock")() }},
		{"kube-proxy", []string{"kube-proxy",
			"--kubeconfig=" + config + "admin.kubeconfig", "--hostname-override=node1",
			"--proxy-mode=nftables", "--feature-gates=NFTablesProxyMode=true", // off by default in 1.30
			"--conntrack-max-per-core=0", "--cluster-cidr=10.88.0.0/16",
		}, apiServerListens},
		{"cert-manager", []string{"certmanager", "--kubeconfig=" + config + "admin.kubeconfig"}, func() bool { return exists(inside + "/" + crdsFile) }},
	}
}

var apiServerListens = listens("tcp", "127.0.0.1:6443")

func listens(network, address string) func() bool {
	return func() bool {
		connection, err := net.DialTimeout(network, address, time.Second)
		if err == nil {
			connection.Close()
		}
		return err == nil
	}
}
