//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var newest = versions{kubernetesVersion, kubernetesVersion}

func TestLock(t *testing.T) {
	const now = syscall.LOCK_EX | syscall.LOCK_NB
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockFile(path, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockFile(path, now); err == nil {
		t.Error("two hold the lock")
	}
	// Its owner removes the file last: a process that waits for the removed file must not get a lock that locks nothing.
	waited := make(chan error, 1)
	go func() {
		second, err := lockFile(path, syscall.LOCK_EX)
		if err == nil {
			if _, taken := lockFile(path, now); taken == nil {
				err = errors.New("another process has the same lock")
			}
			second.Close()
		}
		waited <- err
	}()
	time.Sleep(100 * time.Millisecond) // it waits
	must(t, os.Remove(path))
	must(t, first.Close())
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// A cluster that starts finds the folder of all clusters removed at any moment: another one has gone down.
func TestLockWhileItsFolderIsRemoved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "clusters")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = os.Remove(folder)
		}
	}()
	path := filepath.Join(folder, "lock")
	for range 2000 {
		lock, err := lockFile(path, syscall.LOCK_EX)
		if err != nil {
			t.Error(err)
			break
		}
		must(t, os.Remove(path))
		must(t, lock.Close())
	}
	cancel()
	<-ended
}

// On a machine that lacks a program, and cannot install it, the error is one line: what is missing, and how to get it.
func TestMachineWithoutTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for tests, gcc := range map[bool]bool{true: true, false: false} {
		err := prepareMachine(t.Context(), &progress{out: &bytes.Buffer{}}, tests)
		if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "gcc libc6-dev") != gcc {
			t.Fatalf("for tests %t: got %v, want one line, with gcc %t", tests, err, gcc)
		}
		for _, want := range []string{"runc (starts containers", "Debian calls the packages:", "busybox-static"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not in %q", want, err)
			}
		}
	}
}

// Everything that a part is made of is in its key: otherwise an old program would be used.
func TestCacheKey(t *testing.T) {
	source := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(source, "parts", "pause"), 0o755))
	key := func(p part, module string) string {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(source, "parts", "pause", "go.mod"), []byte(module), 0o644))
		k, err := p.cacheKey(source)
		must(t, err)
		return k
	}
	p := part{name: "pause", packages: []string{"."}}
	first := key(p, "module a")
	if again := key(p, "module a"); again != first {
		t.Errorf("the same part has two keys: %s, %s", first, again)
	}
	flags := p
	flags.ldflags = "-X a=b"
	if key(flags, "module a") == first {
		t.Error("other flags have the same key")
	}
	if key(p, "module b") == first {
		t.Error("another source has the same key")
	}
}

func TestParts(t *testing.T) {
	made := map[string]bool{}
	parts := append(clusterParts(versions{"1.37.2", "1.34.4"}), helm, helm3)
	for _, p := range parts {
		if exists(filepath.Join("parts", p.name, "go.mod")) != (p.version == "") {
			t.Errorf("part %s of Kubernetes %q: does it have a module?", p.name, p.version)
		}
		for _, name := range p.programs() {
			if made[name] {
				t.Errorf("two parts make %s", name)
			}
			made[name] = true
		}
		want := ""
		switch {
		case p.name == "kubelet":
			want = "1.34.4"
		case strings.HasPrefix(p.packages[0], "k8s.io/kubernetes/"):
			want = "1.37.2"
		}
		if p.version != want || want != "" && !strings.Contains(p.ldflags, ".gitVersion=v"+want+" ") {
			t.Errorf("%s has version %q and reports it by %q, want %q", p.name, p.version, p.ldflags, want)
		}
	}
	for _, d := range daemons("test", false) {
		if !made[d.argv[0]] {
			t.Errorf("no part makes %s", d.argv[0])
		}
	}
	if builds := together(parts); len(builds) != len(parts)-4 {
		t.Errorf("%d builds of %d parts: the five commands of Kubernetes 1.37.2 need one", len(builds), len(parts))
	}
}

// What is compiled for Kubernetes is compiled again for a part whose modules have other versions.
func TestSharedVersions(t *testing.T) {
	_, minor, _ := strings.Cut(kubernetesVersion, ".")
	for _, module := range []string{"../..", "parts/certmanager", "parts/helm"} {
		text, err := os.ReadFile(filepath.Join(module, "go.mod"))
		must(t, err)
		if want := "k8s.io/client-go v0." + minor; !strings.Contains(string(text), want) {
			t.Errorf("%s/go.mod lacks %s", module, want)
		}
	}
}

func TestPublishedModules(t *testing.T) {
	const (
		text = "require k8s.io/api v0.0.0\n\tk8s.io/sample-cli-plugin v0.0.0\n" +
			"replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n" +
			"\tk8s.io/kube-proxy => ./staging/src/k8s.io/kube-proxy\n" +
			"\tk8s.io/sample-cli-plugin => ./staging/src/k8s.io/sample-cli-plugin\n)\n"
		want = "require k8s.io/api v0.0.0\n" +
			"replace (\n\tk8s.io/api => k8s.io/api v0.31.14\n" +
			"\tk8s.io/kube-proxy => k8s.io/kube-proxy v0.31.11\n)\n"
	)
	if got := string(withPublished([]byte(text), "1.31.14")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A build of parts that exist does not wait for another build.
func TestNothingToBuild(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cache, err := cacheDir()
	must(t, err)
	parts := clusterParts(newest)
	list, err := programs(".", parts)
	must(t, err)
	for _, path := range list {
		must(t, os.MkdirAll(filepath.Join(cache, filepath.Dir(path)), 0o755))
	}
	held, err := lockFile(filepath.Join(cache, "lock"), syscall.LOCK_EX)
	must(t, err)
	defer held.Close()
	bin := t.TempDir()
	built := make(chan error, 1)
	go func() { built <- buildAll(t.Context(), &progress{out: &bytes.Buffer{}}, ".", bin, parts) }()
	select {
	case err := <-built:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the lock")
	}
	for name, path := range list {
		if target, err := os.Readlink(filepath.Join(bin, name)); err != nil || target != filepath.Join(cache, path) {
			t.Errorf("%s links to %q, error %v", name, target, err)
		}
	}
}

// up replaces a cluster of another version, or of another audit policy.
func TestClustersDiffer(t *testing.T) {
	seen := map[string]versions{}
	for _, v := range []versions{newest, {"1.36.3", "1.36.3"}, {kubernetesVersion, "1.36.3"}, {kubernetesVersion, "1.34.4"}} {
		list, err := programs(".", clusterParts(v))
		must(t, err)
		for _, audit := range []string{"", "rules: []", "rules: [{level: Metadata}]"} {
			description, err := describe(list, []byte(audit))
			must(t, err)
			if other, ok := seen[description]; ok {
				t.Errorf("clusters of versions %v and %v, audited by %q, look the same", v, other, audit)
			}
			seen[description] = v
		}
	}
}

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out}
	p.begin(2)
	failure := errors.New("out of disk")
	must(t, p.run("building etcd", func() error { return nil }))
	if err := p.run("building kubelet", func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{"[ 1/2] building etcd ...\n", "[ 1/2] building etcd: done in ", "[ 2/2] building kubelet: FAILED in "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestUsage(t *testing.T) {
	for sentence, c := range map[string]struct {
		args []string
		want string
	}{
		"no command":               {nil, "no command given"},
		"an unknown command":       {[]string{"begin"}, `unknown command "begin"`},
		"an argument too many":     {[]string{"down", "now"}, `down takes no arguments, got "now"`},
		"an image without archive": {[]string{"image", "a:b"}, "image needs TAG PROGRAM ARCHIVE"},
		"nothing to load":          {[]string{"load"}, "load needs ARCHIVE"},
		"a name with a slash":      {[]string{"--name=../b", "status"}, `--name "../b"`},
		"a name that is too long":  {[]string{"--name=aaaaaaaaaaaaaaaaaaaaa", "status"}, "must be 1 to 20 lower-case letters"},
		"stop without a part":      {[]string{"--kill", "stop"}, "stop needs PART"},
		"start of two parts":       {[]string{"start", "etcd", "kubelet"}, "start needs PART"},
		"a flag at the end":        {[]string{"stop", "kubelet", "--name=no-such-cluster"}, "cluster no-such-cluster is down"},
		"an unknown version":       {[]string{"up", "--kubernetes=1.29.0", "--kubelet=1.30.14"}, `--kubernetes "1.29.0": must be one of 1.30.14, 1.31.14, `},
		"an unknown kubelet":       {[]string{"up", "--kubelet=1.29.0"}, `--kubelet "1.29.0": must be one of `},
		"no audit policy":          {[]string{"up", "--audit=no-such-file"}, "--audit: open no-such-file"},
		"a supervisor by hand":     {[]string{"supervise", "a", "b"}, "supervise is started by up alone"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if err := run(c.args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}
