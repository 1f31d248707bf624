// Command faults runs Jobs with sidecars that never end on a local cluster while its
// parts and the project's own programs are killed, halted and cut off. Then it judges
// the outcome: see docs/reliability.md and `make faults`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/test/program"
)

const help = `Creates Jobs with sidecars that never end, at a steady rate, on a local cluster that keeps an audit log
(go run ./test/cluster --audit=test/faults/audit.yaml up), and injects faults in a random order. Then it waits until
all works have ended, and judges every pod and Job by the audit log and by what the containers wrote. If all is well,
it runs a broken reaper for a minute more, to prove that the judge finds what that one does.
Exits with 0 only if nothing is wrong and each fault could be injected.`

// settings are the program's flags.
type settings struct {
	kubeconfig, image, helm, chart, evidence, only string
	minutes                                        float64
	seed                                           uint64
	values                                         []string
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
	good := newTrial(cluster, s, out)
	good.faults, good.deck, good.pace = chosen, weighed(), steady
	found, err := good.run(ctx)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		err = fmt.Errorf("%d violations", len(found))
	}
	if err := errors.Join(err, good.notInjected); err != nil {
		return err
	}
	s.minutes, s.evidence = 0.5, filepath.Join(s.evidence, "broken")
	broken := newTrial(cluster, s, out)
	broken.broken, broken.deck, broken.pace = true, brokenKinds(), steady*2/5
	if found, err = broken.run(ctx); err != nil {
		return err
	}
	if differences := missed(found); len(differences) > 0 {
		return fmt.Errorf("the judge did not find exactly what was broken:\n  %s", strings.Join(differences, "\n  "))
	}
	for _, b := range breakages {
		broken.say("%s found: %s", b.found, b.what)
	}
	return nil
}

func parse(args []string, out io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "`file` in the state folder of the local cluster")
	flags.StringVar(&s.image, "image", "", "`image`, with a tag, that the cluster has")
	flags.StringVar(&s.helm, "helm", "helm", "`path` of the helm program")
	flags.StringVar(&s.chart, "chart", "charts/essential-containers", "`folder` of the chart")
	flags.StringVar(&s.evidence, "evidence", "bin/faults", "`folder` for the report, the audit log, the containers' words and all logs")
	flags.StringVar(&s.only, "only", "", "the faults to inject, joined by commas; default: all of them: "+faultNames())
	flags.Float64Var(&s.minutes, "minutes", 10, "how long Jobs are created and faults injected")
	flags.Uint64Var(&s.seed, "seed", 0, "draws the same Jobs and the same order of faults again; 0: a new seed")
	flags.Func("set", "a `value` of the chart, such as defaults.onFailure=Ignore, that breaks an invariant; may be repeated", func(v string) error {
		s.values = append(s.values, v)
		return nil
	})
	if err := program.Parse(flags, args, help, out); err != nil {
		return s, err
	}
	switch {
	case s.kubeconfig == "":
		return s, errors.New("--kubeconfig is missing")
	case s.image == "":
		return s, errors.New("--image is missing")
	case s.minutes <= 0:
		return s, fmt.Errorf("--minutes %v: must be more than 0", s.minutes)
	}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	return s, nil
}
