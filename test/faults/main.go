// Command faults has Jobs with stuck sidecars run on a local cluster while its
// parts and the project's own programs are killed, halted and cut off, and then
// judges what became of them: see docs/reliability.md and `make faults`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/test/program"
)

const help = `Creates Jobs with sidecars that never end, at a steady rate, on a local cluster that keeps an audit log
(go run ./test/cluster --audit=test/faults/audit.yaml up), and injects faults in a random order. Then it waits until
all is quiet and judges, from the audit log and from what the containers wrote, what became of every pod and Job.
Exits with 0 only if nothing is wrong.`

// settings are the program's flags.
type settings struct {
	kubeconfig, image, helm, chart string
	minutes                        float64
	seed                           uint64
	only                           string
	values                         []string
	evidence                       string
	patience                       time.Duration
	bite                           bool
}

func main() { program.Main("faults", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if err != nil {
		return err
	}
	chosen, err := named(s.only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	ctrllog.SetLogger(logr.Discard())
	cluster, err := kube.Connect(s.kubeconfig, s.helm)
	if err != nil {
		return err
	}
	t := newTrial(cluster, s, out)
	t.faults, t.deck, t.pace = chosen, weighed(), steady
	found, err := t.run(ctx)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%d violations", len(found))
	}
	if s.bite {
		return bite(ctx, newTrial(cluster, s, out))
	}
	return nil
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "`file` in the state folder of the local cluster")
	flags.StringVar(&s.image, "image", "", "`image`, with a tag, that the cluster has")
	flags.StringVar(&s.helm, "helm", "helm", "`path` of the helm program")
	flags.StringVar(&s.chart, "chart", "charts/essential-containers", "`folder` of the chart")
	flags.Float64Var(&s.minutes, "minutes", 10, "for how long Jobs are created and faults injected")
	flags.Uint64Var(&s.seed, "seed", 0, "draws the same Jobs and the same order of faults again; 0: a new seed")
	flags.StringVar(&s.only, "only", "", "the faults to inject, joined by commas; default: all of them: "+strings.Join(faultNames(), ", "))
	flags.Func("set", "a `value` of the chart, such as defaults.onFailure=Ignore, that breaks an invariant; may be repeated", func(v string) error {
		s.values = append(s.values, v)
		return nil
	})
	flags.StringVar(&s.evidence, "evidence", "bin/faults", "`folder` for the report, the audit log, the containers' words and both programs' logs")
	flags.DurationVar(&s.patience, "patience", 8*time.Minute, "how long to wait for quiet: a container that was killed several times is started again only after minutes")
	flags.BoolVar(&s.bite, "bite", true, "if nothing is wrong, prove that the judge would find it: run a broken reaper for a minute more")
	if err := program.Parse(flags, args, help, out); err != nil {
		return s, err
	}
	switch {
	case s.kubeconfig == "":
		return s, errors.New("which cluster? give --kubeconfig")
	case s.image == "":
		return s, errors.New("which image? give --image")
	case s.minutes <= 0:
		return s, fmt.Errorf("--minutes %v: must be more than 0", s.minutes)
	}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	return s, nil
}
