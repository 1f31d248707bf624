//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ownImage is an image that the cluster brings along: no registry is needed.
type ownImage struct {
	reference  string
	dockerfile string
	program    string // path of the one file it is made of
}

// loadOwnImages builds the pause image and the test image and loads them.
func (c *cluster) loadOwnImages(ctx context.Context, programs map[string]string) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	busybox, err := staticBusybox()
	if err != nil {
		return err
	}
	images := []ownImage{
		{"docker.io/local/pause:1", "FROM scratch\nCOPY program /pause\nENTRYPOINT [\"/pause\"]\n", filepath.Join(cache, programs["pause"])},
		{"docker.io/library/busybox:1.36", "FROM scratch\nCOPY program /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nCMD [\"sh\"]\n", busybox},
	}
	var archives []string
	for _, image := range images {
		archive, err := image.build(ctx, cache)
		if err != nil {
			return fmt.Errorf("building image %s: %w", image.reference, err)
		}
		archives = append(archives, archive)
	}
	return c.load(ctx, archives)
}

// staticBusybox finds a busybox that needs no libraries: alone in its image it
// would not start with them.
func staticBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		return "", fmt.Errorf("%s is not static: install busybox-static", path)
	}
	return path, nil
}

// build makes the image's archive, or finds it in the cache.
func (i ownImage) build(ctx context.Context, cache string) (string, error) {
	key := sha256.New()
	fmt.Fprintln(key, i.reference, i.dockerfile)
	program, err := os.ReadFile(i.program)
	if err != nil {
		return "", err
	}
	key.Write(program)
	archive := filepath.Join(cache, "image-"+hex.EncodeToString(key.Sum(nil))[:12]+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	folder, err := os.MkdirTemp("", "image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	if err := errors.Join(
		os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(i.dockerfile), 0o644),
		os.WriteFile(filepath.Join(folder, "program"), program, 0o755),
	); err != nil {
		return "", err
	}
	if err := buildah(ctx, "bud", "--isolation", "chroot", "--tag", i.reference, folder); err != nil {
		return "", err
	}
	return archive, saveImage(ctx, i.reference, archive)
}

// load imports image archives into the cluster's containerd.
func (c *cluster) load(ctx context.Context, archives []string) error {
	if len(archives) == 0 {
		return errors.New("load needs at least one image archive")
	}
	for _, archive := range archives {
		// containerd may still be starting.
		var failure error
		waiting, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := poll(waiting, time.Second/2, func() (bool, error) {
			if _, err := os.Stat(archive); err != nil {
				return false, err
			}
			failure = c.command(ctx, "ctr", "--address", c.path("containerd.sock"), "--namespace", "k8s.io", "images", "import", archive)
			return failure == nil, nil
		})
		cancel()
		if err := errors.Join(err, failure); err != nil {
			return fmt.Errorf("loading %s: %w", archive, err)
		}
	}
	return nil
}

// installCertManager installs cert-manager's resource types, whereupon the
// supervisor starts its controllers.
func (c *cluster) installCertManager(ctx context.Context, source string) error {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	list.Dir = filepath.Join(source, "parts", "certmanager")
	list.Env = append(os.Environ(), "GOWORK=off")
	dir, err := list.Output()
	if err != nil {
		return fmt.Errorf("finding cert-manager's module: %w", err)
	}
	crds := filepath.Join(strings.TrimSpace(string(dir)), "deploy", "crds")
	if err := c.kubectl(ctx, "apply", "--server-side", "-f", crds); err != nil {
		return err
	}
	if err := c.kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "-f", crds); err != nil {
		return err
	}
	return os.WriteFile(c.path(crdsFile), nil, 0o644)
}

func (c *cluster) waitForAPIServer(ctx context.Context) error {
	return c.retry(ctx, 2*time.Minute, "get", "--raw", "/readyz")
}

// waitForNode waits until pods can run: the node is ready, and the default
// service account, which every pod needs, is there.
func (c *cluster) waitForNode(ctx context.Context) error {
	if err := c.retry(ctx, 2*time.Minute, "wait", "--for=condition=Ready", "node/node1", "--timeout=5s"); err != nil {
		return err
	}
	return c.retry(ctx, time.Minute, "get", "serviceaccount", "default", "--namespace=default")
}

// retry runs kubectl until it succeeds; the error is kubectl's last.
func (c *cluster) retry(ctx context.Context, timeout time.Duration, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var failure error
	err := poll(ctx, 200*time.Millisecond, func() (bool, error) {
		failure = c.kubectl(ctx, args...)
		return failure == nil, nil
	})
	return errors.Join(err, failure)
}

func (c *cluster) kubectl(ctx context.Context, args ...string) error {
	return c.command(ctx, "kubectl", append([]string{"--kubeconfig", c.kubeconfig()}, args...)...)
}

// command runs one of the cluster's programs on this machine.
func (c *cluster) command(ctx context.Context, program string, args ...string) error {
	_, err := c.output(ctx, program, args...)
	return err
}

// output is what such a program prints.
func (c *cluster) output(ctx context.Context, program string, args ...string) ([]byte, error) {
	link, err := os.Readlink(c.path("programs", program))
	if err != nil {
		return nil, fmt.Errorf("cluster %s is not up: %w", c.name, err)
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	path, err := filepath.Rel(insideParts, link)
	if err != nil {
		return nil, err
	}
	output, err := exec.CommandContext(ctx, filepath.Join(cache, path), args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(output))
	}
	return output, nil
}
