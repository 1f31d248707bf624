//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

const kubernetesVersion = "1.37.0" // what parts/kubernetes/go.mod requires

// olderKubelets can run below the API server in place of the kubelet of its own
// version: they may be three minor versions behind. Each has a module.
var olderKubelets = []string{"1.34.4", "1.35.4", "1.36.3"}

func checkKubelet(version string) error {
	if version == kubernetesVersion || slices.Contains(olderKubelets, version) {
		return nil
	}
	return fmt.Errorf("--kubelet %q: there are %s and %s", version, strings.Join(olderKubelets, ", "), kubernetesVersion)
}

// part is one folder below parts/: a Go module of its own, since Kubernetes,
// containerd, etcd, Helm and cert-manager cannot agree on their dependencies.
type part struct {
	module   string
	packages []string // each makes a binary named after its last element, or its module
	tags     string
	ldflags  string
}

// kubernetesPart is one command of a Kubernetes version.
func kubernetesPart(module, command, version string) part {
	const variables = "k8s.io/component-base/version"
	// Without these the parts report v0.0.0-master+$Format and skew checks go wrong.
	major, minor := majorMinor(version)
	ldflags := fmt.Sprintf("-X %[1]s.gitVersion=v%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", variables, version, major, minor)
	return part{module: module, ldflags: ldflags, packages: []string{"k8s.io/kubernetes/cmd/" + command}}
}

func majorMinor(version string) (major, minor string) {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ = strings.Cut(rest, ".")
	return major, minor
}

func kubeletPart(version string) part {
	module := "kubernetes"
	if version != kubernetesVersion {
		major, minor := majorMinor(version)
		module = "kubelet-" + major + "." + minor
	}
	return kubernetesPart(module, "kubelet", version)
}

// parts are those of a cluster with this version of the kubelet.
func parts(kubelet string) []part {
	list := []part{
		{module: "etcd", packages: []string{"go.etcd.io/etcd/server/v3"}},
		{module: "cni", packages: []string{
			"github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback",
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
		}},
		{module: "containerd", tags: "no_btrfs no_devmapper no_zfs", packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"github.com/containerd/containerd/v2/cmd/ctr",
		}},
	}
	// One by one, so that the minutes these take show as steps.
	for _, command := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl"} {
		list = append(list, kubernetesPart("kubernetes", command, kubernetesVersion))
	}
	return append(list,
		kubeletPart(kubelet),
		part{module: "helm", packages: []string{"helm.sh/helm/v4/cmd/helm"}},
		part{module: "certmanager", packages: []string{"."}},
		part{module: "pause", packages: []string{"."}},
	)
}

// binary is the name of the program that a package of the part makes.
func (p part) binary(pkg string) string {
	if base := filepath.Base(pkg); base != "." && base != "v3" {
		return base
	}
	return p.module
}

// title names the part's programs for people.
func (p part) title() string {
	names := make([]string, len(p.packages))
	for i, pkg := range p.packages {
		names[i] = p.binary(pkg)
	}
	return strings.Join(names, ", ")
}

// buildAll checks the machine, builds every part that the cache does not hold,
// and links all programs into binDir.
func buildAll(ctx context.Context, progress *progress, source, binDir, kubelet string) error {
	if err := prepareMachine(ctx, progress); err != nil {
		return err
	}
	return buildMissing(ctx, progress, source, binDir, kubelet)
}

func buildMissing(ctx context.Context, progress *progress, source, binDir, kubelet string) error {
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	missing, err := linkAll(source, cache, binDir, kubelet)
	if err != nil || len(missing) == 0 {
		return err // somebody else's build of other parts is nothing to wait for
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	unlock, err := lockWaiting(filepath.Join(cache, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if missing, err = linkAll(source, cache, binDir, kubelet); err != nil {
		return err
	}
	progress.begin(len(missing))
	for _, p := range missing {
		if err := progress.run("building "+p.title(), func() error { return p.build(ctx, source, p.dir) }); err != nil {
			return fmt.Errorf("building %s: %w", p.title(), err)
		}
	}
	return nil
}

// missingPart is one that the cache does not hold, and the folder it belongs in.
type missingPart struct {
	part
	dir string
}

// linkAll links all programs into binDir, whether they are built or not, and
// returns the parts that are to be built.
func linkAll(source, cache, binDir, kubelet string) (missing []missingPart, err error) {
	for _, p := range parts(kubelet) {
		key, err := p.cacheKey(source)
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(cache, key)
		if _, err := os.Stat(dir); err != nil {
			missing = append(missing, missingPart{p, dir})
		}
		for _, pkg := range p.packages {
			if err := relink(filepath.Join(dir, p.binary(pkg)), filepath.Join(binDir, p.binary(pkg))); err != nil {
				return nil, err
			}
		}
	}
	return missing, nil
}

// cacheDir holds one folder a part, named after all that goes into it.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(dir, "essential-containers", "parts"), nil
}

// cacheKey is the part's name and a hash of all that its binaries depend on.
func (p part) cacheKey(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOARCH, p.packages, p.tags, p.ldflags)
	files, err := filepath.Glob(filepath.Join(source, "parts", p.module, "*"))
	if err != nil {
		return "", err
	}
	slices.Sort(files)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(hash, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", name, err)
		}
	}
	name := p.binary(p.packages[0])
	return name + "-" + hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// build makes the part's binaries in a folder beside dir and renames it last:
// an interrupted build leaves nothing that looks finished.
func (p part) build(ctx context.Context, source, dir string) error {
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return err
	}
	for _, pkg := range p.packages {
		cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-buildvcs=false", "-tags", p.tags,
			"-ldflags", "-s -w "+p.ldflags, "-o", filepath.Join(partial, p.binary(pkg)), pkg)
		cmd.Dir = filepath.Join(source, "parts", p.module)
		// GOWORK and GOFLAGS of the caller must not reach into these modules.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%w\n%s", err, output.Bytes())
		}
	}
	return os.Rename(partial, dir)
}

// relink makes link point at target, whatever it was before, and at no time at
// nothing: somebody may be using the program.
func relink(target, link string) error {
	unused := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(target, unused); err != nil {
		return err
	}
	return os.Rename(unused, link)
}
