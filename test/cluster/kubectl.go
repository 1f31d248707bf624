//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/essential-containers/essential-containers/test/timelimit"
)

// loadOwnImages writes the pause image and the test image, and loads them.
func (c *cluster) loadOwnImages(ctx context.Context) error {
	pause, err := c.program("pause")
	if err != nil {
		return err
	}
	images, err := ownImages(pause)
	if err != nil {
		return err
	}
	for _, i := range images {
		archive := c.path("image.tar")
		if err := i.write(archive); err != nil {
			return fmt.Errorf("writing image %s: %w", i.reference, err)
		}
		if err := c.load(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// load imports an image archive into the cluster's containerd, which may still be starting.
func (c *cluster) load(ctx context.Context, archive string) error {
	if _, err := os.Stat(archive); err != nil {
		return err
	}
	return c.retry(ctx, 30*time.Second, "ctr", "--address", c.path("containerd.sock"), "--namespace", "k8s.io", "images", "import", archive)
}

// installCertManager installs cert-manager's resource types. The supervisor then starts its controllers.
func (c *cluster) installCertManager(ctx context.Context, source string) error {
	folder, err := runGo(ctx, filepath.Join(source, "parts", "certmanager"), "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	if err != nil {
		return fmt.Errorf("finding cert-manager's module: %w", err)
	}
	crds := filepath.Join(strings.TrimSpace(string(folder)), "deploy", "crds")
	for _, args := range [][]string{{"apply", "--server-side"}, {"wait", "--for=condition=Established", "--timeout=" + timelimit.Scaled(time.Minute).String()}} {
		if err := c.kubectl(ctx, append(args, "--filename", crds)...); err != nil {
			return err
		}
	}
	return os.WriteFile(c.path(crdsFile), nil, 0o644)
}

func (c *cluster) waitForAPIServer(ctx context.Context) error {
	return c.retry(ctx, 2*time.Minute, "kubectl", "get", "--raw", "/readyz")
}

// waitForNode waits until pods can run: the node is ready, and the default service account, which every pod needs, exists.
func (c *cluster) waitForNode(ctx context.Context) error {
	if err := c.retry(ctx, 2*time.Minute, "kubectl", "wait", "--for=condition=Ready", "node/node1", "--timeout=5s"); err != nil {
		return err
	}
	return c.retry(ctx, time.Minute, "kubectl", "get", "serviceaccount", "default", "--namespace=default")
}

// retry runs a program until it succeeds. The error is the program's last one.
func (c *cluster) retry(ctx context.Context, timeout time.Duration, program string, args ...string) error {
	var failure error
	err := poll(ctx, timeout, func() bool {
		_, failure = c.output(ctx, program, args...)
		return failure == nil
	})
	return errors.Join(err, failure)
}

func (c *cluster) kubectl(ctx context.Context, args ...string) error {
	_, err := c.output(ctx, "kubectl", args...)
	return err
}

// output runs one of the cluster's programs on this machine and returns what it prints.
func (c *cluster) output(ctx context.Context, program string, args ...string) ([]byte, error) {
	path, err := c.program(program)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig())
	output, err := command.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(output))
	}
	return output, nil
}

// program returns the path of one of the cluster's programs on this machine.
func (c *cluster) program(name string) (string, error) {
	link, err := os.Readlink(c.path("programs", name))
	if err != nil {
		return "", fmt.Errorf("%w: %w", c.isDown(), err)
	}
	cache, err := cacheDir()
	return filepath.Join(cache, strings.TrimPrefix(link, insideParts)), err
}

// poll calls done again and again until it returns true, the time is over, or ctx ends.
func poll(ctx context.Context, timeout time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, timelimit.Scaled(timeout))
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}
