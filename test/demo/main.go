// Command demo shows on a real cluster, step by step, what essential containers
// do: see `make demo`.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"

	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/test/program"
)

const help = `Installs the chart in a cluster and shows, step by step with the seconds since the start, what it does:
a mistyped container name is rejected; a Job whose sidecar never ends completes; the same Job in a namespace
that has not opted in hangs. Exits with 0 only if all of that has happened.

The cluster needs cert-manager. The demo replaces the namespaces ` + optedInNamespace + `
and ` + plainNamespace + `, and leaves them in place for you to look around.`

// settings are the program's flags.
type settings struct {
	kubeconfig, image, helm, chart string
	local                          bool
}

func main() { program.Main("demo", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
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
	flags.StringVar(&s.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "`file` that tells how to reach the cluster; default: KUBECONFIG of the environment")
	flags.StringVar(&s.image, "image", "", "`image`, with a tag, that the cluster's nodes have or can pull")
	flags.StringVar(&s.helm, "helm", "helm", "`path` of the helm program")
	flags.StringVar(&s.chart, "chart", "charts/essential-containers", "`folder` of the chart")
	flags.BoolVar(&s.local, "local", false, "the cluster is the one of make cluster-up: say at the end how to stop it, not how to uninstall")
	if err := program.Parse(flags, args, help, out); err != nil {
		return s, err
	}
	switch {
	case s.kubeconfig == "":
		return s, errors.New("which cluster? give --kubeconfig, or set KUBECONFIG")
	case s.image == "":
		return s, errors.New("which image? give --image")
	}
	return s, nil
}
