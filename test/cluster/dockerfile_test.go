//go:build linux && e2e

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// builderDockerfile makes an image to build Go programs in from this machine's Go: no registry is needed.
const builderDockerfile = `FROM scratch
COPY --from=go / /usr/local/go
COPY --from=shell busybox /bin/busybox
COPY --from=certificates ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -m 1777 /tmp
ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local GOPROXY=%s GOSUMDB=%s
`

// TestDockerfile builds the Dockerfile. Its image must be the one that the local clusters run, which needs no second compiler run:
// the same files and links, the same user and entry point. The program that it builds must start.
func TestDockerfile(t *testing.T) {
	values := map[string]string{}
	for _, name := range []string{"GOROOT", "GOVERSION", "GOPROXY", "GOSUMDB"} {
		output, err := exec.Command("go", "env", name).Output()
		must(t, err)
		values[name] = strings.TrimSpace(string(output))
	}
	folder := t.TempDir()
	builder := "localhost/essential-containers-builder:" + values["GOVERSION"]
	if exec.Command("buildah", "--storage-driver=vfs", "inspect", "--type=image", builder).Run() != nil {
		busybox, err := staticBusybox()
		must(t, err)
		must(t, os.WriteFile(filepath.Join(folder, "Dockerfile"), fmt.Appendf(nil, builderDockerfile, values["GOPROXY"], values["GOSUMDB"]), 0o644))
		buildah(t, "bud", "--isolation=chroot", "--build-context=go="+values["GOROOT"], "--build-context=shell="+filepath.Dir(busybox),
			"--build-context=certificates=/etc/ssl/certs", "--tag="+builder, folder)
	}
	const tag = "localhost/essential-containers:test"
	buildah(t, "bud", "--isolation=chroot", "--layers", "--build-arg=BUILDER="+builder, "--build-arg=BASE=scratch", "--build-arg=VERSION=test", "--tag="+tag, "../..")
	built, assembled := filepath.Join(folder, "built.tar"), filepath.Join(folder, "assembled.tar")
	buildah(t, "push", tag, "docker-archive:"+built+":"+tag)
	program := filepath.Join(folder, "essential-containers")
	got := readImage(t, built, program)
	must(t, productImage(tag, program).write(assembled))
	if want := readImage(t, assembled, program); got != want {
		t.Errorf("the Dockerfile's image is\n%s\nthe one of the local clusters\n%s", got, want)
	}
	if output, err := exec.Command(program, "version").CombinedOutput(); err != nil || string(output) != "test\n" {
		t.Errorf("the program prints %q, error %v", output, err)
	}
}

func buildah(t *testing.T, args ...string) {
	t.Helper()
	if output, err := exec.Command("buildah", append([]string{"--storage-driver=vfs"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("buildah %s: %v\n%s", args[0], err, output)
	}
}

// readImage describes the image in an archive, and writes its program to a file.
func readImage(t *testing.T, archive, program string) string {
	t.Helper()
	content, err := os.ReadFile(archive)
	must(t, err)
	files, _ := untar(t, content)
	var manifest []struct {
		Config string
		Layers []string
	}
	must(t, json.Unmarshal(files["manifest.json"], &manifest))
	var image struct {
		OS     string
		Config struct {
			User                        string
			Entrypoint, Cmd, Env, Shell []string
		}
	}
	must(t, json.Unmarshal(files[manifest[0].Config], &image))
	image.Config.Env = nil // buildah adds the usual PATH
	var all []string
	for _, layer := range manifest[0].Layers {
		files, headers := untar(t, files[layer])
		all = append(all, headers...)
		if text, ok := files["essential-containers"]; ok {
			must(t, os.WriteFile(program, text, 0o755))
		}
	}
	slices.Sort(all)
	return fmt.Sprintf("%+v %q", image, all)
}

// untar returns the files of a tar archive, and a description of every entry.
func untar(t *testing.T, archive []byte) (files map[string][]byte, headers []string) {
	t.Helper()
	files = map[string][]byte{}
	for reader := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, headers
		}
		must(t, err)
		files[header.Name], err = io.ReadAll(reader)
		must(t, err)
		headers = append(headers, fmt.Sprintf("%s %o %d %s", header.Name, header.Mode&0o777, header.Size, header.Linkname))
	}
}
