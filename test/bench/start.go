package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// start measures how long both programs take from the start of the process to
// where it is ready, and how large they are.
func (b *bench) start(ctx context.Context) (figures []*figure, err error) {
	if err := b.clear(ctx); err != nil {
		return nil, err
	}
	tls := filepath.Join(b.cluster.folder, "start-tls")
	if _, err := writeCertificate(tls); err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	reaper, webhook := startFigure("reaper"), startFigure("webhook")
	for range b.sizes.Rounds {
		for _, of := range []*figure{reaper, webhook} {
			var milliseconds []float64
			for range b.sizes.Starts {
				var p *process
				if of == reaper {
					p, err = b.cluster.start(ctx, b.reaper)
				} else {
					p, err = b.startWebhook(ctx, tls)
				}
				if err != nil {
					return nil, err
				}
				milliseconds = append(milliseconds, p.took.Seconds()*1000)
				p.stop()
			}
			of.add(median(milliseconds), 0)
		}
	}
	b.say("start, ms: reaper %v, webhook %v", reaper.Rounds, webhook.Rounds)
	sizes, err := b.fileSizes()
	return append([]*figure{reaper, webhook}, sizes...), err
}

func startFigure(name string) *figure {
	return &figure{Row: "start", Name: "start of the " + name + ", until it is ready", Unit: "ms", Absolute: true, Reach: new(1000.0)}
}

// startWebhook runs the program outside the network of the cluster: nothing calls
// it.
func (b *bench) startWebhook(ctx context.Context, tls string) (*process, error) {
	p := &process{ended: make(chan error, 1), log: filepath.Join(b.cluster.folder, "webhook-start.log")}
	var address string
	if err := freeAddresses(&address, &p.health, &p.metrics); err != nil {
		return nil, err
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.command = exec.Command(b.program, "webhook", "--cert-dir="+tls, "--shutdown-delay=0s",
		"--bind-address="+address, "--health-probe-bind-address="+p.health, "--metrics-bind-address="+p.metrics)
	p.command.Stderr = log
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, p.run(ctx, "webhook")
}

// fileSizes are those of the program and of the image, which has only what they
// need.
func (b *bench) fileSizes() (figures []*figure, err error) {
	f := func(name string, size int64, reach *float64) {
		figures = append(figures, &figure{
			Row: "start", Name: name, Unit: "MiB", Absolute: true, Reach: reach,
			Rounds: []round{{Own: float64(size) / (1 << 20)}},
		})
	}
	file, err := os.Stat(b.program)
	if err != nil {
		return nil, err
	}
	f("reaper and webhook, one file", file.Size(), nil)
	if b.imageArchive == "" {
		return figures, nil
	}
	unpacked, compressed, err := imageSize(b.imageArchive)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", b.imageArchive, err)
	}
	f("image, unpacked", unpacked, new(40.0))
	f("image, its layers compressed as registries keep them", compressed, nil)
	return figures, nil
}
