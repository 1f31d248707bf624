//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
)

// image is a container image of one static program. It needs neither a registry nor a base image.
type image struct {
	reference string
	program   string         // the file on this machine
	path      string         // its path in the image
	links     []string       // links to it in the same folder
	config    map[string]any // entry point, user, ...
}

// productImage is what the Dockerfile builds on an empty base; TestDockerfile compares both.
func productImage(reference, program string) image {
	config := map[string]any{"User": "65532:65532", "Entrypoint": []string{"/essential-containers"}}
	return image{reference, program, "/essential-containers", nil, config}
}

// ownImages returns the images that every cluster has: the pause image and the one of the tests.
func ownImages(pause string) ([]image, error) {
	busybox, err := staticBusybox()
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("listing the applets of busybox: %w", err)
	}
	return []image{
		{"docker.io/local/pause:1", pause, "/pause", nil, map[string]any{"Entrypoint": []string{"/pause"}}},
		{"docker.io/library/busybox:1.36", busybox, "/bin/busybox", strings.Fields(string(applets)), map[string]any{"Cmd": []string{"sh"}}},
	}, nil
}

// staticBusybox finds a busybox that needs no libraries: its image has none.
func staticBusybox() (string, error) {
	program, err := exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	f, err := elf.Open(program)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", program, err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		return "", fmt.Errorf("%s is not static: install busybox-static", program)
	}
	return program, nil
}

// write writes the image as `docker save` does. The archive appears when it is complete.
func (i image) write(archive string) error {
	program, err := os.ReadFile(i.program)
	if err != nil {
		return err
	}
	folder, name := path.Split(i.path)
	files := []file{{tar.Header{Name: i.path, Mode: 0o755}, program}}
	for _, link := range i.links {
		if link != name {
			files = append(files, file{tar.Header{Typeflag: tar.TypeSymlink, Name: folder + link, Linkname: name, Mode: 0o777}, nil})
		}
	}
	layer, err := tarball(files)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": i.config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{i.reference}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	all, err := tarball([]file{
		{tar.Header{Name: "manifest.json", Mode: 0o644}, manifest},
		{tar.Header{Name: "config.json", Mode: 0o644}, config},
		{tar.Header{Name: "layer.tar", Mode: 0o644}, layer},
	})
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(archive+".partial", all, 0o644), os.Rename(archive+".partial", archive))
}

// file is one in an archive.
type file struct {
	header  tar.Header
	content []byte
}

func tarball(files []file) ([]byte, error) {
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	for _, f := range files {
		f.header.Name = strings.TrimPrefix(f.header.Name, "/")
		f.header.Size = int64(len(f.content))
		if err := writer.WriteHeader(&f.header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := writer.Close()
	return archive.Bytes(), err
}
