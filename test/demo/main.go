// Command demo shows on a real cluster, step by step, what essential containers
// do: see `make demo`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/essential-containers/essential-containers/test/kube"
)

const usage = `Installs the chart in a cluster and shows, step by step with the seconds since the start, what it does:
a mistyped container name is rejected; a Job whose sidecar never ends completes; the same Job in a namespace
that has not opted in hangs. Exits with 0 only if all of that has happened.

The cluster needs cert-manager. The demo replaces the namespaces ` + optedInNamespace + `
and ` + plainNamespace + `, and leaves them in place for you to look around.

Usage: demo --image IMAGE [flags]

`

// settings are the program's flags.
type settings struct {
	kubeconfig, image, helm, chart string
	local                          bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	cluster, err := kube.Connect(s.kubeconfig, s.helm)
	if err != nil {
		return err
	}
	d := newDemo(cluster, out)
	err = d.run(ctx, s)
	if ctx.Err() != nil {
		return errors.New("interrupted; the next run removes what this one leaves")
	}
	return err
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed by main, once
	flags.Usage = func() {}
	flags.StringVar(&s.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "`file` that tells how to reach the cluster; default: KUBECONFIG of the environment")
	flags.StringVar(&s.image, "image", "", "`image`, with a tag, that the cluster's nodes have or can pull")
	flags.StringVar(&s.helm, "helm", "helm", "`path` of the helm program")
	flags.StringVar(&s.chart, "chart", "charts/essential-containers", "`folder` of the chart")
	flags.BoolVar(&s.local, "local", false, "the cluster is the one of make cluster-up: say at the end how to stop it, not how to uninstall")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage, "Flags:\n")
		flags.SetOutput(out)
		flags.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case flags.NArg() > 0:
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case s.kubeconfig == "":
		return s, errors.New("which cluster? give --kubeconfig, or set KUBECONFIG")
	case s.image == "":
		return s, errors.New("which image? give --image")
	}
	return s, nil
}
