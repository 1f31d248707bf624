//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// cgroups returns the folders of a group of this name: one in each hierarchy of cgroup v1, and in the one of v2. A machine
// has one of both kinds, or both.
func cgroups(name string) (v1, v2 []string, err error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		switch folder := filepath.Join(fields[1], name); fields[2] {
		case "cgroup":
			v1 = append(v1, folder)
		case "cgroup2":
			v2 = append(v2, folder)
		}
	}
	return v1, v2, err
}

// createCgroups makes the group that holds all pods of the cluster. The kubelet expects it in every hierarchy.
func createCgroups(name string) error {
	v1, v2, err := cgroups(name)
	if err != nil {
		return err
	}
	for _, folder := range slices.Concat(v1, v2) {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("creating cgroup: %w", err)
		}
	}
	if len(v1) > 0 {
		return nil // all controllers belong to v1
	}
	for _, folder := range v2 {
		root := filepath.Dir(folder)
		controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
		if err != nil {
			return fmt.Errorf("reading cgroup controllers: %w", err)
		}
		for _, controller := range strings.Fields(string(controllers)) {
			for _, group := range []string{root, folder} {
				if err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
					return fmt.Errorf("enabling cgroup controller %s in %s: %w", controller, group, err)
				}
			}
		}
	}
	return nil
}

// removeCgroups removes the group and all below it, whose processes must have ended.
func removeCgroups(name string) error {
	v1, v2, err := cgroups(name)
	if err != nil {
		return err
	}
	var groups []string
	for _, folder := range slices.Concat(v1, v2) {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// A group's files disappear with it: only rmdir works here, the innermost group first.
	for _, group := range slices.Backward(groups) {
		if err := syscall.Rmdir(group); err != nil && err != syscall.ENOENT {
			return fmt.Errorf("removing cgroup %s: %w", group, err)
		}
	}
	return nil
}
