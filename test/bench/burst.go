package main

import (
	"context"
	"fmt"
	"time"
)

// burst measures how fast pods are stopped and deleted that have all completed
// already when somebody begins to look: the API server works for nobody else
// then. The clock starts with the first stop, so that the start of the program
// is not in it.
func (b *bench) burst(ctx context.Context) ([]*figure, error) {
	n := b.sizes.Burst
	baseline := "bare client-go loop"
	stopped := &figure{Row: "burst", Name: fmt.Sprintf("stops, %d completed pods of Jobs waiting", n), Unit: "pods/s", Baseline: baseline, Higher: true}
	reaped := &figure{Row: "burst", Name: fmt.Sprintf("stopped and deleted, %d at once", n), Unit: "pods/s", Baseline: baseline, Higher: true, Reach: new(0.9)}
	unowned := &figure{Row: "burst", Name: fmt.Sprintf("stopped and deleted, %d at once, pods without an owner", n), Unit: "pods/s", Baseline: baseline, Higher: true}
	cpu := &figure{Row: "burst", Name: "CPU of the process for each pod of it, its start included", Unit: "ms", Baseline: baseline}
	counts := newRequestFigures()
	for i := range b.sizes.Rounds {
		for _, owned := range []bool{true, false} {
			var own, base burstResult
			err := b.inTurns(i, func(reaper bool) (err error) {
				if reaper {
					own, err = b.burstOnce(ctx, b.reaper, n, owned)
				} else {
					base, err = b.burstOnce(ctx, b.loop, n, owned)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			if owned {
				stopped.add(own.stops, base.stops)
				cpu.add(own.cpu, base.cpu)
				reaped.add(own.reaped, base.reaped)
			} else {
				unowned.add(own.reaped, base.reaped)
			}
			counts.add(own.requests, base.requests, n, owned)
			b.say("burst %d of %d, owned %t: reaper %.0f stops/s, %.0f reaped/s, %.2f ms CPU each; loop %.0f, %.0f, %.2f",
				i+1, b.sizes.Rounds, owned, own.stops, own.reaped, own.cpu, base.stops, base.reaped, base.cpu)
		}
	}
	return append([]*figure{reaped, unowned, stopped, cpu}, counts.figures()...), nil
}

// burstResult holds pods per second, milliseconds of CPU for each pod, and what
// the API server was asked.
type burstResult struct {
	stops, reaped float64
	cpu           float64
	requests      requests
}

func (b *bench) burstOnce(ctx context.Context, who contender, n int, owned bool) (r burstResult, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.cluster.clear(ctx); err != nil {
		return r, err
	}
	pods, err := b.cluster.create(ctx, "burst", n, true, owned)
	if err != nil {
		return r, err
	}
	if err := b.cluster.complete(ctx, pods...); err != nil {
		return r, err
	}
	version, err := b.cluster.resourceVersion(ctx)
	if err != nil {
		return r, err
	}
	node, err := startNode(ctx, b.cluster, version, true)
	if err != nil {
		return r, err
	}
	before, err := b.cluster.requests(ctx)
	if err != nil {
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
	if err := b.cluster.settle(ctx); err != nil { // events come last
		return r, err
	}
	after, err := b.cluster.requests(ctx)
	if err != nil {
		return r, err
	}
	r.requests = after.since(before)
	r.stops, r.reaped = rates(node.all())
	p.stop()
	r.cpu = p.cpu() * 1000 / float64(n)
	return r, nil
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
