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
}

var tools = []tool{
	{"ip", "iproute2", "sets up the cluster's network namespace"},
	{"nft", "nftables", "kube-proxy programs Services with it"},
	{"runc", "runc", "starts containers, with seccomp"},
	{"mount", "mount", "the kubelet mounts volumes with it"},
	{"busybox", "busybox-static", "is the test image"},
	{"buildah", "buildah", "builds the images"},
	{"gcc", "gcc libc6-dev", "the race detector needs it"},
	{"git", "git", "names the version that is built"},
}

// prepareMachine makes sure that a cluster can run here. It installs missing
// programs where apt-get is there, and else says in one line what to install.
func prepareMachine(ctx context.Context, progress *progress) error {
	missing := missingTools()
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
		// Lists first: on a fresh machine there are none, or old ones.
		for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, packages...)} {
			cmd := exec.CommandContext(ctx, "apt-get", args...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if output, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, output)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if missing := missingTools(); len(missing) > 0 {
		return fmt.Errorf("%s is still missing after installing %s", missing[0].command, missing[0].pkg)
	}
	return nil
}

func missingTools() []tool {
	var missing []tool
	if _, err := os.Stat(certificates); err != nil {
		missing = append(missing, tool{certificates, "ca-certificates", "images are built with modules from a TLS server"})
	}
	for _, t := range tools {
		_, err := exec.LookPath(t.command)
		if t.command == "busybox" {
			_, err = staticBusybox() // the distribution has a dynamic one too
		}
		if err != nil {
			missing = append(missing, t)
		}
	}
	return missing
}
