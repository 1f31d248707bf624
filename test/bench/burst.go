package main

import (
	"context"
	"fmt"
	"time"
)

// burst measures how fast pods are stopped and deleted that have all completed
// already when somebody begins to look: the API server works for nobody else
// then. The clock starts with the first stop, so that the start of the program
// is not in it. What they ask of the API server is counted along the way.
func (b *bench) burst(ctx context.Context) ([]*figure, error) {
	n := b.sizes.Burst
	baseline := "bare client-go loop"
	stopped := &figure{Row: "burst", Name: fmt.Sprintf("stopped, %d at once", n), Unit: "pods/s", Baseline: baseline, Higher: true}
	reaped := &figure{Row: "burst", Name: fmt.Sprintf("stopped and deleted, %d at once", n), Unit: "pods/s", Baseline: baseline, Higher: true, Reach: new(0.9)}
	cpu := &figure{Row: "burst", Name: "CPU of the process for each pod of it, its start included", Unit: "ms", Baseline: baseline}
	counts := newRequestFigures()
	for i := range b.sizes.Rounds {
		own, base, err := b.burstBoth(ctx, i, n, true)
		if err != nil {
			return nil, err
		}
		stopped.add(own.stops, base.stops)
		reaped.add(own.reaped, base.reaped)
		cpu.add(own.cpu, base.cpu)
		counts.add(own.requests, base.requests, n, true)
		b.say("burst %d of %d: reaper %.0f stops/s, %.0f reaped/s, %.2f ms CPU each; loop %.0f, %.0f, %.2f",
			i+1, b.sizes.Rounds, own.stops, own.reaped, own.cpu, base.stops, base.reaped, base.cpu)
		if own, base, err = b.burstBoth(ctx, i, b.sizes.Unowned, false); err != nil {
			return nil, err
		}
		counts.add(own.requests, base.requests, b.sizes.Unowned, false)
	}
	return append([]*figure{reaped, stopped, cpu}, counts.figures()...), nil
}

// burstResult holds pods per second, milliseconds of CPU for each pod, and what
// the API server was asked.
type burstResult struct {
	stops, reaped float64
	cpu           float64
	requests      requests
}

func (b *bench) burstBoth(ctx context.Context, round, n int, owned bool) (own, base burstResult, err error) {
	err = b.inTurns(round, func(reaper bool) (err error) {
		if reaper {
			own, err = b.burstOnce(ctx, b.reaper, n, owned)
		} else {
			base, err = b.burstOnce(ctx, b.loop, n, owned)
		}
		return err
	})
	return own, base, err
}

func (b *bench) burstOnce(ctx context.Context, who contender, n int, owned bool) (r burstResult, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.clear(ctx); err != nil {
		return r, err
	}
	if _, err := b.cluster.create(ctx, kind{prefix: "burst", tracked: true, owned: owned, status: done}, n); err != nil {
		return r, err
	}
	version, err := b.cluster.resourceVersion(ctx)
	if err != nil {
		return r, err
	}
	node, err := startNode(ctx, b.cluster, version, b.cluster.endStored)
	if err != nil {
		return r, err
	}
	if _, err := b.cluster.audit.next(); err != nil { // of whoever ran before
		return r, err
	}
	p, err := b.cluster.start(ctx, who)
	if err != nil {
		return r, err
	}
	defer p.stop()
	if err := node.awaitGone(ctx, n); err != nil {
		return r, fmt.Errorf("%s: %w", who.name, err)
	}
	if r.requests, err = b.cluster.audit.settle(ctx); err != nil {
		return r, err
	}
	r.stops, r.reaped = rates(node.all())
	p.stop()
	r.cpu = p.cpu() * 1000 / float64(n)
	last, err := b.cluster.audit.settle(ctx) // its watches are written down when they end
	r.requests.add(last)
	return r, err
}

// rates are stops, and whole lives of pods, per second since the first stop.
func rates(all map[string]*times) (stops, reaped float64) {
	var first, lastStop, lastGone time.Time
	for _, t := range all {
		if first.IsZero() || t.stopped.Before(first) {
			first = t.stopped
		}
		if t.stopped.After(lastStop) {
			lastStop = t.stopped
		}
		if t.gone.After(lastGone) {
			lastGone = t.gone
		}
	}
	n := float64(len(all))
	return n / lastStop.Sub(first).Seconds(), n / lastGone.Sub(first).Seconds()
}
