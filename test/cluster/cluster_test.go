//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var newest = versions{kubernetesVersion, kubernetesVersion}

func TestNewCluster(t *testing.T) {
	for name, valid := range map[string]bool{
		"default": true, "e2e-2": true, "a": true,
		"": false, "../other": false, "UPPER": false, "-a": false, "a-": false, strings.Repeat("a", 21): false,
	} {
		if _, err := newCluster(name); (err == nil) != valid {
			t.Errorf("%q: error %v, want valid %t", name, err, valid)
		}
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := lockNow(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockNow(path); err == nil {
		t.Error("two hold the lock")
	}
	// Its owner removes the file last: whoever comes next must not share a lock
	// with one who still waits for the removed one.
	waited := make(chan error, 1)
	go func() {
		unlock, err := lockWaiting(path)
		if err == nil {
			if _, taken := lockNow(path); taken == nil {
				err = errors.New("the lock that was waited for locks nothing")
			}
			unlock()
		}
		waited <- err
	}()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

// A machine that lacks something, and cannot install it, gets one line that
// says what and how to get it.
func TestMachineWithoutTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := prepareMachine(t.Context(), newProgress(&bytes.Buffer{}))
	if err == nil || strings.Contains(err.Error(), "\n") {
		t.Fatalf("got %v, want one line", err)
	}
	for _, want := range []string{"runc (starts containers", "Debian calls the packages:", "busybox-static", "buildah"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

// What a part is made of must show in its key, or an old binary is used.
func TestCacheKey(t *testing.T) {
	source := t.TempDir()
	module := filepath.Join(source, "parts", "pause")
	if err := os.MkdirAll(module, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := func(p part) string {
		k, err := p.cacheKey(source)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	p := part{name: "pause", packages: []string{"."}}
	write("module a")
	first := key(p)
	if again := key(p); again != first {
		t.Errorf("the key changes by itself: %s, %s", first, again)
	}
	flags := p
	flags.ldflags = "-X a=b"
	if key(flags) == first {
		t.Error("other flags have the same key")
	}
	write("module b")
	if key(p) == first {
		t.Error("another source has the same key")
	}
}

func TestParts(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range parts(versions{"1.37.2", "1.34.4"}) {
		if _, err := os.Stat(filepath.Join("parts", p.name, "go.mod")); (err == nil) != (p.version == "") {
			t.Errorf("the module of %s, of Kubernetes %q: %v", p.name, p.version, err)
		}
		for _, pkg := range p.packages {
			name := p.binary(pkg)
			if seen[name] {
				t.Errorf("two parts make %s", name)
			}
			seen[name] = true
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
	for _, d := range daemons(false) {
		if !seen[d.argv[0]] {
			t.Errorf("no part makes %s", d.argv[0])
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

// What is there already does not wait for somebody else's minutes of building.
func TestNothingToBuild(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	list, err := programs(".", newest)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if err := os.MkdirAll(filepath.Join(cache, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := lockNow(filepath.Join(cache, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	bin := t.TempDir()
	built := make(chan error, 1)
	go func() {
		built <- buildMissing(t.Context(), newProgress(&bytes.Buffer{}), ".", bin, newest)
	}()
	select {
	case err := <-built:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the lock")
	}
	for name, path := range list {
		if target, err := os.Readlink(filepath.Join(bin, name)); err != nil || target != filepath.Join(cache, path) {
			t.Errorf("%s links to %q, error %v", name, target, err)
		}
	}
}

// A cluster that is up with another version, or without the audit log, must not
// pass for the wanted one.
func TestClustersDiffer(t *testing.T) {
	seen := map[string]versions{}
	for _, v := range []versions{newest, {"1.36.3", "1.36.3"}, {kubernetesVersion, "1.36.3"}, {kubernetesVersion, "1.34.4"}} {
		list, err := programs(".", v)
		if err != nil {
			t.Fatal(err)
		}
		for _, audit := range []string{"", "rules: []", "rules: [{level: Metadata}]"} {
			description := describe(list, []byte(audit))
			if other, ok := seen[description]; ok {
				t.Errorf("clusters of versions %v and %v, audited by %q, look the same", v, other, audit)
			}
			seen[description] = v
		}
	}
}

func TestProgressInALog(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out)
	p.begin(2)
	failure := errors.New("out of disk")
	if err := p.run("building etcd", func() error { return nil }); err != nil {
		t.Error(err)
	}
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
		"an image without archive": {[]string{"image", "a:b"}, "image needs TAG FOLDER ARCHIVE"},
		"nothing to load":          {[]string{"load"}, "load needs at least one image archive"},
		"a bad name":               {[]string{"--name=a/b", "status"}, `--name "a/b"`},
		"stop without a part":      {[]string{"--kill", "stop"}, "stop needs one PART"},
		"start of two parts":       {[]string{"start", "etcd", "kubelet"}, "start needs one PART"},
		"a flag at the end":        {[]string{"stop", "kubelet", "--name=no-such-cluster"}, "cluster no-such-cluster is down"},
		"no cluster for pid":       {[]string{"pid", "--name=no-such-cluster"}, "cluster no-such-cluster is down"},
		"an unknown version":       {[]string{"up", "--kubernetes=1.29.0"}, `--kubernetes "1.29.0": must be one of 1.30.14, 1.31.14, `},
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
