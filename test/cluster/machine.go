//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// tool is a program that the cluster or its tests need from the distribution.
type tool struct {
	command string
	pkg     string // Debian package
	why     string
	tests   bool // only the tests need it
}

var tools = []tool{
	{"ip", "iproute2", "sets up the cluster's network namespace", false},
	{"nft", "nftables", "kube-proxy programs Services with it", false},
	{"runc", "runc", "starts containers, with seccomp", false},
	{"mount", "mount", "the kubelet mounts volumes with it", false},
	{"busybox", "busybox-static", "is the image of the demo and the tests", false},
	{"buildah", "buildah", "builds the Dockerfile", true},
	{"gcc", "gcc libc6-dev", "the race detector needs it", true},
	{"git", "git", "names the version that is built", true},
}

// prepareMachine makes sure that a cluster can run here. It installs missing programs with apt-get, or returns an error of one
// line that says what to install.
func prepareMachine(ctx context.Context, progress *progress, tests bool) error {
	missing := missingTools(tests)
	if len(missing) == 0 {
		return nil
	}
	var packages, names []string
	for _, t := range missing {
		packages = append(packages, strings.Fields(t.pkg)...)
		names = append(names, t.command+" ("+t.why+")")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine lacks %s; install it with your distribution's package manager (Debian calls the packages: %s)",
			strings.Join(names, ", "), strings.Join(packages, " "))
	}
	progress.begin(1)
	err := progress.run("installing "+strings.Join(packages, " ")+" with apt-get", func() error {
		// A fresh machine has no lists, or old ones.
		for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)} {
			command := exec.CommandContext(ctx, "apt-get", args...)
			command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if output, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, output)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if missing := missingTools(tests); len(missing) > 0 {
		return fmt.Errorf("%s is still missing after installing %s", missing[0].command, missing[0].pkg)
	}
	return nil
}

func missingTools(tests bool) (missing []tool) {
	for _, t := range tools {
		_, err := exec.LookPath(t.command)
		if t.command == "busybox" {
			_, err = staticBusybox() // the distribution has a dynamic one too
		}
		if err != nil && (tests || !t.tests) {
			missing = append(missing, t)
		}
	}
	return missing
}
