//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// cgroupRoots are the mount points of the machine's cgroup hierarchies: one of
// cgroup v2, or one a controller of v1, or both.
func cgroupRoots() (v1, v2 []string, err error) {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		switch fields[2] {
		case "cgroup":
			v1 = append(v1, fields[1])
		case "cgroup2":
			v2 = append(v2, fields[1])
		}
	}
	return v1, v2, lines.Err()
}

// createCgroups makes the group that holds all pods of the cluster. The
// kubelet wants it to exist in every hierarchy.
func createCgroups(name string) error {
	v1, v2, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range v1 {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return fmt.Errorf("creating cgroup: %w", err)
		}
	}
	for _, root := range v2 {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("creating cgroup: %w", err)
		}
		if len(v1) > 0 {
			continue // hybrid: the controllers belong to v1
		}
		controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("reading cgroup controllers: %w", err)
		}
		for _, c := range strings.Fields(string(controllers)) {
			for _, d := range []string{root, dir} {
				if err := os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil {
					return fmt.Errorf("enabling cgroup controller %s in %s: %w", c, d, err)
				}
			}
		}
	}
	return nil
}

// removeCgroups removes the group and all below it; its processes must have
// ended.
func removeCgroups(name string) error {
	v1, v2, err := cgroupRoots()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range append(v1, v2...) {
		errs = append(errs, removeCgroup(filepath.Join(root, name)))
	}
	return errors.Join(errs...)
}

func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	// A group's files go with it: only rmdir works here.
	if err := syscall.Rmdir(dir); err != nil && err != syscall.ENOENT {
		return fmt.Errorf("removing cgroup %s: %w", dir, err)
	}
	return nil
}
