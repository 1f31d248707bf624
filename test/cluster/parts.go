//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
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

// kubernetesVersions can run as a whole. As long as it is not newer, the kubelet can have another version than the API server.
var kubernetesVersions = []string{"1.30.14", "1.31.14", "1.32.13", "1.33.13", "1.34.4", "1.35.4", "1.36.3", kubernetesVersion}

// versions of Kubernetes in a cluster: of the kubelet, and of all else.
type versions struct{ kubernetes, kubelet string }

func (v versions) validate() error {
	for flag, version := range map[string]string{"kubernetes": v.kubernetes, "kubelet": v.kubelet} {
		if !slices.Contains(kubernetesVersions, version) {
			return fmt.Errorf("--%s %q: must be one of %s", flag, version, strings.Join(kubernetesVersions, ", "))
		}
	}
	return nil
}

// part is a Go module in a folder below parts/, since containerd, etcd, Helm and cert-manager cannot agree on their
// dependencies, or a command of Kubernetes, which has no folder: kubernetesModule.
type part struct {
	name     string   // of the folder, and of the program if there is one only
	packages []string // of several, each makes a program named after its last element
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

// clusterParts are those of a cluster of these versions.
func clusterParts(v versions) []part {
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
	for _, command := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl"} {
		list = append(list, kubernetesPart(command, v.kubernetes))
	}
	return append(list,
		kubernetesPart("kubelet", v.kubelet),
		part{name: "certmanager", packages: []string{"."}},
		part{name: "pause", packages: []string{"."}},
	)
}

var (
	helm  = part{name: "helm", packages: []string{"helm.sh/helm/v4/cmd/helm"}}
	helm3 = part{name: "helm3", packages: []string{"helm.sh/helm/v3/cmd/helm"}}
)

// programs are the names of those that the part makes.
func (p part) programs() []string {
	if len(p.packages) == 1 {
		return []string{p.name}
	}
	var names []string
	for _, pkg := range p.packages {
		names = append(names, filepath.Base(pkg))
	}
	return names
}

// programs are those of the parts: name to path, relative to the cache folder.
func programs(source string, parts []part) (map[string]string, error) {
	list := map[string]string{}
	for _, p := range parts {
		key, err := p.cacheKey(source)
		if err != nil {
			return nil, err
		}
		for _, name := range p.programs() {
			list[name] = filepath.Join(key, name)
		}
	}
	return list, nil
}

// buildAll builds every part that the cache does not hold, and links all programs into binDir.
func buildAll(ctx context.Context, progress *progress, source, binDir string, parts []part) error {
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return err
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	missing, err := linkAll(source, cache, binDir, parts)
	if err != nil || len(missing) == 0 {
		return err // without waiting for another build
	}
	path := filepath.Join(cache, "lock")
	lock, err := lockFile(path, syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		fmt.Fprintf(progress.out, "another process builds parts: waiting (%v)\n", err)
		lock, err = lockFile(path, syscall.LOCK_EX)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if missing, err = linkAll(source, cache, binDir, parts); err != nil {
		return err
	}
	builds := together(missing)
	progress.begin(len(builds))
	for _, parts := range builds {
		var names []string
		for _, p := range parts {
			names = append(names, p.programs()...)
		}
		what := "building " + strings.Join(names, ", ")
		if version := parts[0].version; version != "" {
			what += " of Kubernetes " + version
		}
		if err := progress.run(what, func() error { return build(ctx, source, cache, parts) }); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// linkAll links the programs into binDir, whether they are built or not, and returns the parts that have to be built.
func linkAll(source, cache, binDir string, parts []part) (missing []part, err error) {
	list, err := programs(source, parts)
	if err != nil {
		return nil, err
	}
	for name, path := range list {
		// At no time does the link point nowhere: another process may use the program.
		link := filepath.Join(binDir, name)
		unused := fmt.Sprintf("%s.%d", link, os.Getpid())
		if err := errors.Join(os.Symlink(filepath.Join(cache, path), unused), os.Rename(unused, link)); err != nil {
			return nil, err
		}
	}
	isBuilt := func(p part) bool { return exists(filepath.Join(cache, filepath.Dir(list[p.programs()[0]]))) }
	return slices.DeleteFunc(slices.Clone(parts), isBuilt), nil
}

// together groups the parts that one go command builds: the commands of one version of Kubernetes.
func together(parts []part) (builds [][]part) {
	for _, p := range parts {
		i := slices.IndexFunc(builds, func(b []part) bool { return p.version != "" && b[0].version == p.version })
		if i < 0 {
			builds = append(builds, []part{p})
		} else {
			builds[i] = append(builds[i], p)
		}
	}
	return builds
}

// cacheDir is the folder with one folder a part, named after all that goes into it.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(dir, "essential-containers", "parts"), nil
}

// cacheKey is the part's name and a hash of all that its programs depend on.
func (p part) cacheKey(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOARCH, p.packages, p.tags, p.ldflags)
	files, err := filepath.Glob(filepath.Join(source, "parts", p.name, "*")) // sorted
	if err != nil {
		return "", err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	return p.programs()[0] + "-" + hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// build builds parts that belong together. It moves their folders to their names last: an interrupted build leaves nothing that
// looks complete.
func build(ctx context.Context, source, cache string, parts []part) error {
	partial := filepath.Join(cache, "partial")
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(filepath.Join(partial, "programs"), 0o755)); err != nil {
		return err
	}
	p := parts[0]
	folder, args := filepath.Join(source, "parts", p.name), []string{"build", "-mod=readonly"}
	if p.version != "" {
		var err error
		if folder, err = kubernetesModule(ctx, p.version, partial); err != nil {
			return err
		}
		args = []string{"build", "-mod=mod", "-modfile=" + filepath.Join(partial, "go.mod")}
	}
	output := filepath.Join(partial, "programs") + "/"
	var packages []string
	for _, p := range parts {
		packages = append(packages, p.packages...)
	}
	if len(packages) == 1 {
		output += p.name
	}
	args = append(args, "-buildvcs=false", "-tags", p.tags, "-ldflags", "-s -w "+p.ldflags, "-o", output)
	if _, err := runGo(ctx, folder, append(args, packages...)...); err != nil {
		return err
	}
	for _, p := range parts {
		key, err := p.cacheKey(source)
		if err != nil {
			return err
		}
		complete := filepath.Join(partial, key)
		if err := os.Mkdir(complete, 0o755); err != nil {
			return err
		}
		for _, name := range p.programs() {
			if err := os.Rename(filepath.Join(partial, "programs", name), filepath.Join(complete, name)); err != nil {
				return err
			}
		}
		if err := os.Rename(complete, filepath.Join(cache, key)); err != nil {
			return err
		}
	}
	return os.RemoveAll(partial)
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

// kubernetesModule downloads a version of Kubernetes and returns the folder of its module. It writes a go.mod to another folder:
// that version's own, with its dependencies and Go defaults.
func kubernetesModule(ctx context.Context, version, to string) (folder string, err error) {
	output, err := runGo(ctx, to, "mod", "download", "-json", "k8s.io/kubernetes@v"+version)
	if err != nil {
		return "", err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(output, &module); err != nil {
		return "", fmt.Errorf("reading the output of go mod download: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "go.mod"))
	if err != nil {
		return "", err
	}
	sums, err := os.ReadFile(filepath.Join(module.Dir, "go.sum"))
	return module.Dir, errors.Join(err,
		os.WriteFile(filepath.Join(to, "go.mod"), withPublished(text, version), 0o644),
		os.WriteFile(filepath.Join(to, "go.sum"), sums, 0o644))
}

// withPublished returns Kubernetes' own go.mod with the published modules in place of folders that only the repository has.
func withPublished(text []byte, version string) []byte {
	_, published, _ := strings.Cut(version, ".")
	text = staging.ReplaceAll(samples.ReplaceAll(text, nil), []byte("=> $1 v0."+published))
	return []byte(unpublished.Replace(string(text)))
}

// runGo runs a go command in the folder and returns its output.
func runGo(ctx context.Context, folder string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = folder
	// GOWORK and GOFLAGS of the caller must not reach into these modules.
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	var output, failure bytes.Buffer
	command.Stdout, command.Stderr = &output, &failure
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", args[0], err, output.Bytes(), failure.Bytes())
	}
	return output.Bytes(), nil
}
