// Command bench measures the reaper and the webhook beside baselines of the same
// run: see `make bench` and docs/performance.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/essential-containers/essential-containers/internal/command"
)

const help = `Measures the reaper and the webhook beside baselines of the same run, in turns, on a real API server that nobody
else uses. Prints a table and writes it, with every round, to a file.`

func main() { command.Main("bench", run) }

// bench is one run.
type bench struct {
	cluster *cluster
	sizes   sizes
	version string
	out     io.Writer

	reaper, loop, informer contender
}

// rows are all measurements, in the order in which they are made.
var rows = []struct {
	name    string
	measure func(*bench, context.Context) ([]*figure, error)
}{
	{"burst", (*bench).burst},
	{"latency", (*bench).latency},
	{"memory", (*bench).memory},
	{"admission", (*bench).admission},
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	log.SetLogger(logr.Discard()) // of libraries
	if len(args) > 0 {
		switch args[0] {
		case loopCommand:
			return bareLoop(ctx, args[1:])
		case informerCommand:
			return stockInformer(ctx, args[1:])
		case "table":
			return again(strings.Join(args[1:], " "), out)
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "`file` that tells how to reach a cluster that nobody else uses")
	reaper := flags.String("reaper", "bin/reaper", "`path` of the reaper program")
	scale := flags.String("scale", "default", "how much is measured: small, default or full")
	selected := flags.String("rows", "", "`names` of the measurements to make, joined by commas; default: all")
	results := flags.String("results", "bench/results.json", "`file` to write")
	if err := command.Parse(flags, args, help, out); err != nil {
		return err
	}
	sizes, err := sizesOf(*scale)
	if err != nil {
		return err
	}
	names, err := selectRows(*selected)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil { // else the logs in it may tell why
			_ = os.RemoveAll(folder)
		}
	}()
	b, err := newBench(ctx, *kubeconfig, *reaper, folder, sizes, out)
	if err != nil {
		return err
	}
	r := report{Scale: *scale, Sizes: sizes, Started: time.Now()}
	if r.Machine, err = b.machine(); err != nil {
		return err
	}
	for _, row := range rows {
		if !slices.Contains(names, row.name) {
			continue
		}
		figures, err := row.measure(b, ctx)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", row.name, err)
		}
		for _, f := range figures {
			f.summarize()
		}
		r.Figures = append(r.Figures, figures...)
	}
	r.Took = time.Since(r.Started).Round(time.Second).String()
	r.print(out)
	return r.write(*results)
}

func newBench(ctx context.Context, kubeconfig, reaper, folder string, sizes sizes, out io.Writer) (*bench, error) {
	c, err := connect(ctx, kubeconfig, folder)
	if err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, reaper, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", reaper, err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &bench{
		cluster: c, sizes: sizes, version: strings.TrimSpace(string(version)), out: out,
		reaper:   contender{name: "reaper", program: reaper, args: []string{"--leader-elect=false"}},
		loop:     contender{name: loopCommand, program: self, args: []string{loopCommand}},
		informer: contender{name: informerCommand, program: self, args: []string{informerCommand}},
	}, nil
}

func selectRows(selected string) (names []string, err error) {
	for _, row := range rows {
		names = append(names, row.name)
	}
	if selected == "" {
		return names, nil
	}
	wanted := strings.Split(selected, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("--rows: %q is none of %s", name, strings.Join(names, ", "))
		}
	}
	return wanted, nil
}

// inTurns measures the contender and its baseline, the other one first in every
// second round.
func (b *bench) inTurns(round int, measure func(own bool) error) error {
	ownFirst := round%2 == 1
	if err := measure(ownFirst); err != nil {
		return err
	}
	return measure(!ownFirst)
}

// say tells how far the run is.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
