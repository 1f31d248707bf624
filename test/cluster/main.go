//go:build linux

// Command cluster runs a Kubernetes of real parts on one Linux machine: etcd,
// API server, controller-manager, scheduler, kubelet, containerd, kube-proxy
// and cert-manager's controllers, all built from Go modules. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `A Kubernetes of real parts on this machine, for tests and for the demo.

Usage: cluster [flags] COMMAND

Commands:
  build        build all parts; what is built already is not built again
  up           build, start, and wait until the cluster is ready
  image TAG FOLDER ARCHIVE
               build FOLDER's Dockerfile as TAG, without any registry, into ARCHIVE
  load ARCHIVE...
               load container images into the cluster
  status       say whether the cluster is up, and list its processes
  stop PART    end one of the cluster's parts; it stays stopped until start, restart or up
  start PART   run it again; done when its process is there, ready or not
  restart PART stop it and start it
  pid          print the pid of the supervisor, whose namespaces are the cluster's
  down         end every process of the cluster and remove all it left

Flags:
`

func main() {
	// A user who becomes root by plain su keeps a PATH without root's programs.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":"+systemPath); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
	if err := run(os.Args[1:], os.Stdout); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "cluster:", err)
			os.Exit(1)
		}
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	name := flags.String("name", "default", "which cluster: several can run beside each other")
	sources := flags.String("sources", "test/cluster", "this program's source folder")
	binDir := flags.String("bin-dir", "bin", "where to link the built programs (kubectl, helm, ...)")
	kubernetes := flags.String("kubernetes", kubernetesVersion, "version of Kubernetes that build and up take: "+strings.Join(kubernetesVersions, ", "))
	kubelet := flags.String("kubelet", "", "version of the kubelet, if it is another one")
	auditPolicy := flags.String("audit", "", "`file` with the audit policy of the API server that up starts, which then writes logs/audit.log; default: no audit")
	kill := flags.Bool("kill", false, "stop and restart send SIGKILL instead of SIGTERM")
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
	command, rest := words[0], words[1:]
	if command == superviseCommand {
		return supervise(rest)
	}
	c, err := newCluster(*name)
	if err != nil {
		return err
	}
	v, err := newVersions(*kubernetes, *kubelet)
	if err != nil {
		return err
	}
	// An interrupted command leaves a state that the next one takes up.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	progress := newProgress(out)
	switch {
	case command == "load":
		return c.load(ctx, rest)
	case command == "image" && len(rest) == 3:
		return buildImage(ctx, progress, rest[0], rest[1], rest[2])
	case command == "image":
		return errors.New("image needs TAG FOLDER ARCHIVE")
	case (command == "stop" || command == "start" || command == "restart") && len(rest) == 1:
		return c.order(ctx, command, Order{Part: rest[0], Kill: *kill})
	case command == "stop" || command == "start" || command == "restart":
		return fmt.Errorf("%s needs one PART", command)
	case len(rest) > 0:
		return fmt.Errorf("%s takes no arguments, got %q", command, strings.Join(rest, " "))
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
	if os.Geteuid() != 0 && slices.Contains([]string{"build", "up", "down"}, command) {
		return notRoot(args)
	}
	switch command {
	case "build":
		return buildAll(ctx, progress, source, *binDir, v)
	case "up":
		if err := buildAll(ctx, progress, source, *binDir, v); err != nil {
			return err
		}
		return c.up(ctx, progress, source, v, audit)
	case "down":
		return c.down(progress)
	case "status":
		return c.status(ctx, out)
	case "pid":
		return c.printPID(out)
	}
	flags.Usage()
	return fmt.Errorf("unknown command %q", command)
}

// notRoot names a command that works with these arguments. Plain sudo does not
// find Go: it has a PATH of its own.
func notRoot(args []string) error {
	return fmt.Errorf(`packages, namespaces, mounts and cgroups need root: run it again with: sudo env PATH="$PATH" go run ./test/cluster %s`, strings.Join(args, " "))
}

// parse takes flags wherever they stand, behind the command too, and returns
// the other words.
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

// poll calls done every interval until it reports true, returns an error, or
// ctx ends.
func poll(ctx context.Context, interval time.Duration, done func() (bool, error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
