//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

const kubernetesVersion = "1.37.2"

// kubernetesVersions can run as a whole. As long as it is not newer, the kubelet
// can have another version than the API server.
var kubernetesVersions = []string{"1.30.14", "1.31.14", "1.32.13", "1.33.13", "1.34.4", "1.35.4", "1.36.3", kubernetesVersion}

// versions are those of a cluster's Kubernetes: of the kubelet, and of all else.
type versions struct{ kubernetes, kubelet string }

// newVersions checks versions; an empty kubelet's is that of all else.
func newVersions(kubernetes, kubelet string) (versions, error) {
	v := versions{kubernetes, cmp.Or(kubelet, kubernetes)}
	for _, flag := range [][2]string{{"kubernetes", v.kubernetes}, {"kubelet", v.kubelet}} {
		if !slices.Contains(kubernetesVersions, flag[1]) {
			return v, fmt.Errorf("--%s %q: must be one of %s", flag[0], flag[1], strings.Join(kubernetesVersions, ", "))
		}
	}
	return v, nil
}

// part is one folder below parts/: a Go module of its own, since containerd,
// etcd, Helm and cert-manager cannot agree on their dependencies. A command of
// Kubernetes has no folder: kubernetesModule.
type part struct {
	name     string   // of the folder, and of the binary if there is one only
	packages []string // of several, each makes a binary named after its last element
	tags     string
	ldflags  string
	version  string // of Kubernetes, for its commands
}

// kubernetesPart is one command of a Kubernetes version.
func kubernetesPart(command, version string) part {
	// Without these the parts report v0.0.0-master+$Format and skew checks go wrong.
	const variables = "k8s.io/component-base/version"
	numbers := strings.Split(version, ".")
	ldflags := fmt.Sprintf("-X %[1]s.gitVersion=v%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", variables, version, numbers[0], numbers[1])
	return part{name: command, ldflags: ldflags, version: version, packages: []string{"k8s.io/kubernetes/cmd/" + command}}
}

// parts are those of a cluster of these versions.
func parts(v versions) []part {
	list := []part{
		{name: "etcd", packages: []string{"go.etcd.io/etcd/server/v3"}},
		{name: "cni", packages: []string{
			"github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback",
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
		}},
		{name: "containerd", tags: "no_btrfs no_devmapper no_zfs", packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"github.com/containerd/containerd/v2/cmd/ctr",
		}},
	}
	// One by one, so that the minutes these take show as steps.
	for _, command := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl"} {
		list = append(list, kubernetesPart(command, v.kubernetes))
	}
	return append(list,
		kubernetesPart("kubelet", v.kubelet),
		part{name: "helm", packages: []string{"helm.sh/helm/v4/cmd/helm"}},
		part{name: "helm3", packages: []string{"helm.sh/helm/v3/cmd/helm"}},
		part{name: "certmanager", packages: []string{"."}},
		part{name: "pause", packages: []string{"."}},
	)
}

// binary is the name of the program that a package of the part makes.
func (p part) binary(pkg string) string {
	if len(p.packages) == 1 {
		return p.name
	}
	return filepath.Base(pkg)
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
func buildAll(ctx context.Context, progress *progress, source, binDir string, v versions) error {
	if err := prepareMachine(ctx, progress); err != nil {
		return err
	}
	return buildMissing(ctx, progress, source, binDir, v)
}

func buildMissing(ctx context.Context, progress *progress, source, binDir string, v versions) error {
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	missing, err := linkAll(source, cache, binDir, v)
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
	if missing, err = linkAll(source, cache, binDir, v); err != nil {
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
func linkAll(source, cache, binDir string, v versions) (missing []missingPart, err error) {
	for _, p := range parts(v) {
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
	files, err := filepath.Glob(filepath.Join(source, "parts", p.name, "*"))
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
	folder, modules := filepath.Join(source, "parts", p.name), []string{"-mod=readonly"}
	if p.version != "" {
		var err error
		if folder, err = kubernetesModule(ctx, p.version, partial); err != nil {
			return err
		}
		modules = []string{"-mod=mod", "-modfile=" + filepath.Join(partial, "go.mod")}
	}
	for _, pkg := range p.packages {
		args := append([]string{"build"}, modules...)
		args = append(args, "-buildvcs=false", "-tags", p.tags, "-ldflags", "-s -w "+p.ldflags, "-o", filepath.Join(partial, p.binary(pkg)), pkg)
		if _, err := runGo(ctx, folder, args...); err != nil {
			return err
		}
	}
	return os.Rename(partial, dir)
}

var (
	// staging matches where Kubernetes' own go.mod finds the modules of the same repository.
	staging = regexp.MustCompile(`=> \./staging/src/(\S+)`)
	// samples matches those that no command needs; not every version of them is published.
	samples = regexp.MustCompile(`(?m)^.*k8s\.io/sample-.*\n`)
	// unpublished are modules that the module proxy lacks, and the next older ones.
	unpublished = strings.NewReplacer(
		"k8s.io/endpointslice v0.31.14", "k8s.io/endpointslice v0.31.13",
		"k8s.io/kube-controller-manager v0.31.14", "k8s.io/kube-controller-manager v0.31.13",
		"k8s.io/kube-proxy v0.31.14", "k8s.io/kube-proxy v0.31.11",
		"k8s.io/kube-scheduler v0.31.14", "k8s.io/kube-scheduler v0.31.13",
		"k8s.io/endpointslice v0.32.13", "k8s.io/endpointslice v0.32.12",
	)
)

// kubernetesModule downloads a version of Kubernetes and returns the folder of
// its module. It writes a go.mod to dir: that version's own, with its
// dependencies and Go defaults.
func kubernetesModule(ctx context.Context, version, dir string) (folder string, err error) {
	output, err := runGo(ctx, dir, "mod", "download", "-json", "k8s.io/kubernetes@v"+version)
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(output, &module); err != nil {
		return "", fmt.Errorf("reading what go mod download prints: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "go.mod"))
	if err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(module.Dir, "go.sum"))
	if err != nil {
		return "", err
	}
	return module.Dir, errors.Join(
		os.WriteFile(filepath.Join(dir, "go.mod"), withPublished(text, version), 0o644),
		os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
}

// withPublished is Kubernetes' own go.mod with the published modules in place of
// folders that only the repository has.
func withPublished(text []byte, version string) []byte {
	_, published, _ := strings.Cut(version, ".")
	text = staging.ReplaceAll(samples.ReplaceAll(text, nil), []byte("=> $1 v0."+published))
	return []byte(unpublished.Replace(string(text)))
}

// runGo returns what a go command in the folder prints.
func runGo(ctx context.Context, folder string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	// GOWORK and GOFLAGS of the caller must not reach into these modules.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var output, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &failure
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", args[0], err, output.Bytes(), failure.Bytes())
	}
	return output.Bytes(), nil
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
