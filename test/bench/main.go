// Command bench measures the reaper and the webhook, compared with baselines of the same
// run: see `make bench` and docs/performance.md.
package main

import (
	"context"
	"errors"
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

	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/test/program"
)

const help = `Measures the reaper and the webhook and baselines in the same run, in turns, on a real API server that nothing
else uses, of a local cluster (go run ./test/cluster up). Prints a table and writes it, with every round, to a file.
Only the measurements of the kubelet want all parts of the cluster: the others have those stopped that would compete with
what is measured.`

func main() { program.Main("bench", run) }

// bench is one run.
type bench struct {
	cluster *cluster
	local   *kube.Cluster
	sizes   sizes
	version string
	out     io.Writer

	reaper, loop, informer contender
	program, helm          string // paths
	chart                  string // folder
	imageArchive           string // empty: there is none

	quiet bool // the parts of the cluster that would compete are stopped
}

// settings are the flags that say what is measured where.
type settings struct{ kubeconfig, program, helm, chart, imageArchive string }

// rows are all measurements, in the order in which they are made: those that
// want the whole cluster come first.
var rows = []struct {
	name    string
	whole   bool // with every part of the cluster up
	measure func(*bench, context.Context) ([]*figure, error)
}{
	{"kubelet", true, (*bench).kubelet},
	{"native", true, (*bench).native},
	{"kept", true, (*bench).kept},
	{"latency", false, (*bench).latency},
	{"burst", false, (*bench).burst}, // leaves the most events behind
	{"requests", false, (*bench).requests},
	{"admission", false, (*bench).admission},
	{"creation", false, (*bench).creation},
	{"conversion", false, (*bench).conversion},
	{"statuses", false, (*bench).statuses},
	{"start", false, (*bench).start},
	{"memory", false, (*bench).memory}, // leaves most pods behind
}

// competitors are the parts of the cluster that would judge or run the pods of a
// node that is made up, or work on their own.
var competitors = []string{"cert-manager", "kube-proxy", "kubelet", "containerd", "kube-scheduler", "kube-controller-manager"}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	log.SetLogger(logr.Discard()) // of libraries
	if len(args) > 0 {
		switch args[0] {
		case loopCommand:
			return bareLoop(ctx, args[1:])
		case informerCommand:
			return stockInformer(ctx, args[1:])
		case allowCommand:
			return allowServer(ctx, args[1:])
		case "table":
			return again(strings.Join(args[1:], " "), out)
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var s settings
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "`file` in the state folder of a local cluster that nothing else uses")
	flags.StringVar(&s.program, "program", "bin/essential-containers", "`path` of the program")
	flags.StringVar(&s.helm, "helm", "bin/helm", "`path` of the helm program")
	flags.StringVar(&s.chart, "chart", "charts/essential-containers", "`folder` of the chart")
	flags.StringVar(&s.imageArchive, "image-archive", "", "`file` with the image of the program; default: its size is not measured")
	scale := flags.String("scale", "default", "how much is measured: small, default or full")
	selected := flags.String("rows", "", "`names` of the measurements to make, joined by commas; default: all")
	results := flags.String("results", "bench/results.json", "`file` to write")
	if err := program.Parse(flags, args, help, out); err != nil {
		return err
	}
	if err := s.validate(); err != nil {
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
		if err == nil { // else the logs in it may show why
			_ = os.RemoveAll(folder)
		}
		_ = os.Remove(folder) // if there are none
	}()
	b, err := newBench(ctx, s, folder, sizes, out)
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
		if !row.whole {
			if err := b.quieten(); err != nil {
				return err
			}
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

func (s settings) validate() error {
	if s.kubeconfig == "" {
		return errors.New("which cluster? give --kubeconfig")
	}
	for _, f := range []struct{ flag, path string }{{"program", s.program}, {"helm", s.helm}} {
		if _, err := exec.LookPath(f.path); err != nil {
			return fmt.Errorf("--%s: %w", f.flag, err)
		}
	}
	for _, f := range []struct{ flag, path string }{{"chart", s.chart}, {"image-archive", s.imageArchive}} {
		if _, err := os.Stat(f.path); err != nil && f.path != "" {
			return fmt.Errorf("--%s: %w", f.flag, err)
		}
	}
	return nil
}

func newBench(ctx context.Context, s settings, folder string, sizes sizes, out io.Writer) (*bench, error) {
	local, err := kube.Connect(s.kubeconfig, "")
	if err != nil {
		return nil, err
	}
	if _, err := local.Supervisor(); err != nil {
		return nil, err
	}
	c, err := connect(ctx, local, s.kubeconfig, folder)
	if err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, s.program, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its version: %w", s.program, err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bench{
		cluster: c, local: local, sizes: sizes, version: strings.TrimSpace(string(version)), out: out,
		reaper:   contender{name: "reaper", program: s.program, args: []string{"reaper", "--leader-elect=false"}},
		loop:     contender{name: loopCommand, program: self, args: []string{loopCommand}},
		informer: contender{name: informerCommand, program: self, args: []string{informerCommand}},
		program:  s.program, helm: s.helm, chart: s.chart, imageArchive: s.imageArchive,
	}
	reaper, err := b.render(ctx, rights)
	if err != nil {
		return nil, err
	}
	return b, b.replace(ctx, reaper)
}

// quieten stops the parts of the cluster that would compete with what is
// measured; `up` starts them again.
func (b *bench) quieten() error {
	if b.quiet {
		return nil
	}
	for _, part := range competitors {
		if err := b.local.Part("stop", part); err != nil {
			return err
		}
	}
	b.quiet = true
	return nil
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

// say prints the progress of the run.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
