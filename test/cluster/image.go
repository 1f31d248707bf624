//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// builderDockerfile makes an image to build Go programs in out of this
// machine's own Go: no registry is needed.
const builderDockerfile = `FROM scratch
COPY --from=go / /usr/local/go
COPY --from=shell busybox /bin/busybox
COPY --from=certificates ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -m 1777 /tmp
ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local GOPROXY=%s GOSUMDB=%s
`

const certificates = "/etc/ssl/certs/ca-certificates.crt"

// buildImage builds folder's Dockerfile as tag and writes it to archive, which
// load takes. It uses the machine's Go as builder and an empty base image.
func buildImage(ctx context.Context, progress *progress, tag, folder, archive string) error {
	progress.begin(3)
	builder, err := builderImage(ctx, progress)
	if err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, "git", "-C", folder, "describe", "--always", "--dirty", "--tags").Output()
	if err != nil {
		version = []byte("development") // a folder without history
	}
	if err := progress.run("building image "+tag, func() error {
		return buildah(ctx, "bud", "--isolation", "chroot", "--layers",
			"--build-arg", "BUILDER="+builder, "--build-arg", "BASE=scratch", "--build-arg", "VERSION="+strings.TrimSpace(string(version)),
			"--tag", tag, folder)
	}); err != nil {
		return err
	}
	return progress.run("writing "+archive, func() error { return saveImage(ctx, tag, archive) })
}

// builderImage makes the image to build in, once for each version of Go.
func builderImage(ctx context.Context, progress *progress) (string, error) {
	goEnv := func(name string) (string, error) {
		value, err := exec.CommandContext(ctx, "go", "env", name).Output()
		return strings.TrimSpace(string(value)), err
	}
	values := map[string]string{}
	for _, name := range []string{"GOROOT", "GOVERSION", "GOPROXY", "GOSUMDB"} {
		value, err := goEnv(name)
		if err != nil {
			return "", fmt.Errorf("reading go env %s: %w", name, err)
		}
		values[name] = value
	}
	tag := "localhost/essential-containers-builder:" + values["GOVERSION"]
	return tag, progress.run("making a builder image from "+values["GOROOT"], func() error {
		if buildah(ctx, "inspect", "--type", "image", tag) == nil {
			return nil
		}
		busybox, err := staticBusybox()
		if err != nil {
			return err
		}
		folder, err := os.MkdirTemp("", "builder-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		dockerfile := fmt.Sprintf(builderDockerfile, values["GOPROXY"], values["GOSUMDB"])
		if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
			return err
		}
		return buildah(ctx, "bud", "--isolation", "chroot",
			"--build-context", "go="+values["GOROOT"],
			"--build-context", "shell="+filepath.Dir(busybox),
			"--build-context", "certificates="+filepath.Dir(certificates),
			"--tag", tag, folder)
	})
}

// saveImage writes the image to archive, which appears only when it is whole.
func saveImage(ctx context.Context, tag, archive string) error {
	partial := archive + ".partial"
	if err := os.RemoveAll(partial); err != nil { // buildah adds to what is there
		return err
	}
	if err := buildah(ctx, "push", tag, "docker-archive:"+partial+":"+tag); err != nil {
		return err
	}
	return os.Rename(partial, archive)
}

// buildah runs one command with the storage driver that works everywhere.
func buildah(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "buildah", args...)
	cmd.Env = append(os.Environ(), "STORAGE_DRIVER=vfs")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("buildah %s: %w\n%s", args[0], err, output)
	}
	return nil
}
