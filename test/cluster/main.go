//go:build linux

// Command cluster runs a Kubernetes of real parts on one Linux machine: etcd, API server, controller-manager, scheduler,
// kubelet, containerd, kube-proxy and cert-manager's controllers, all built from Go modules. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const usage = `A Kubernetes of real parts on this machine, for the tests and the demo.

Usage: cluster [flags] COMMAND

Commands:
  build        build the parts of a cluster and Helm, or find them in the cache
  build-helm   build Helm alone
  up           build, start, and wait until the cluster is ready
  image TAG PROGRAM ARCHIVE
               write an image of the built program essential-containers, without any registry
  load ARCHIVE load a container image into the cluster
  status       print whether the cluster is up, and its processes
  stop PART    end one of the cluster's parts; it remains stopped until start, restart or up
  start PART   run it again; returns when its process exists, ready or not
  restart PART stop it and start it
  down         end every process of the cluster and remove everything that belongs to it

Flags:
`

func main() {
	// A user who becomes root by plain su keeps a PATH without root's programs.
	err := os.Setenv("PATH", os.Getenv("PATH")+":"+systemPath)
	if err == nil {
		err = run(os.Args[1:], os.Stdout)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	name := flags.String("name", "default", "name of the cluster; several can run at the same time")
	sources := flags.String("sources", "test/cluster", "this program's source folder")
	binDir := flags.String("bin-dir", "bin", "folder for links to the built programs (kubectl, helm, ...)")
	kubernetes := flags.String("kubernetes", kubernetesVersion, "version of Kubernetes that build and up use: "+strings.Join(kubernetesVersions, ", "))
	kubelet := flags.String("kubelet", "", "version of the kubelet, if it is another one")
	auditPolicy := flags.String("audit", "", "`file` with the audit policy of the API server that up starts, which then writes logs/audit.log; default: no audit log")
	tests := flags.Bool("tests", false, "build: also Helm 3, and the distribution's programs that only the tests need")
	kill := flags.Bool("kill", false, "stop and restart: send SIGKILL instead of SIGTERM")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	words, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		flags.Usage()
		return errors.New("no command given")
	}
	if words[0] == superviseCommand {
		return supervise(words[1:])
	}
	c, err := newCluster(*name)
	if err != nil {
		return err
	}
	v := versions{*kubernetes, cmp.Or(*kubelet, *kubernetes)}
	if err := v.validate(); err != nil {
		return err
	}
	source, err := filepath.Abs(*sources)
	if err != nil {
		return err
	}
	var audit []byte
	if *auditPolicy != "" {
		if audit, err = os.ReadFile(*auditPolicy); err != nil {
			return fmt.Errorf("--audit: %w", err)
		}
	}
	ending := syscall.SIGTERM
	if *kill {
		ending = syscall.SIGKILL
	}
	// The next command continues from the state that an interrupted one leaves.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	progress := &progress{out: out}
	buildParts := func() error {
		if err := prepareMachine(ctx, progress, *tests); err != nil {
			return err
		}
		parts := append(clusterParts(v), helm)
		if *tests {
			parts = append(parts, helm3)
		}
		return buildAll(ctx, progress, source, *binDir, parts)
	}
	commands := map[string]struct {
		arguments string
		root      bool
		run       func(args []string) error
	}{
		"build":      {"", true, func([]string) error { return buildParts() }},
		"build-helm": {"", false, func([]string) error { return buildAll(ctx, progress, source, *binDir, []part{helm}) }},
		"up": {"", true, func([]string) error {
			if err := buildParts(); err != nil {
				return err
			}
			return c.up(ctx, progress, source, v, audit)
		}},
		"image":   {"TAG PROGRAM ARCHIVE", false, func(a []string) error { return productImage(a[0], a[1]).write(a[2]) }},
		"load":    {"ARCHIVE", false, func(a []string) error { return c.load(ctx, a[0]) }},
		"status":  {"", false, func([]string) error { return c.status(ctx, out) }},
		"stop":    {"PART", false, func(a []string) error { return c.stop(ctx, a[0], ending) }},
		"start":   {"PART", false, func(a []string) error { return c.start(ctx, a[0]) }},
		"restart": {"PART", false, func(a []string) error { return c.restart(ctx, a[0], ending) }},
		"down":    {"", true, func([]string) error { return c.down(progress) }},
	}
	command, known := commands[words[0]]
	switch wanted := len(strings.Fields(command.arguments)); {
	case !known:
		flags.Usage()
		return fmt.Errorf("unknown command %q", words[0])
	case len(words)-1 != wanted && wanted == 0:
		return fmt.Errorf("%s takes no arguments, got %q", words[0], strings.Join(words[1:], " "))
	case len(words)-1 != wanted:
		return fmt.Errorf("%s needs %s", words[0], command.arguments)
	case command.root && os.Geteuid() != 0:
		// Plain sudo does not find Go: it has a PATH of its own.
		return fmt.Errorf(`packages, namespaces, mounts and cgroups need root: run it again with: sudo env PATH="$PATH" go run ./test/cluster %s`, strings.Join(args, " "))
	}
	return command.run(words[1:])
}

// parse accepts flags anywhere, also after the command, and returns the other words.
func parse(flags *flag.FlagSet, args []string) (words []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, flags.Arg(0)), flags.Args()[1:]
	}
}
