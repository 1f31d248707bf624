package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// burst measures how fast pods are stopped and deleted that have all completed
// before the program starts. The API server works for the program alone: the pods
// end in etcd, with the status that the verdict would write. The clock starts with
// the first stop, so that the start of the program is not in it.
func (b *bench) burst(ctx context.Context) ([]*figure, error) {
	n := b.sizes.Burst
	baseline := "bare client-go loop"
	stopped := &figure{Row: "burst", Name: fmt.Sprintf("stopped, %d at once", n), Unit: "pods/s", Baseline: baseline, Higher: true}
	reaped := &figure{Row: "burst", Name: fmt.Sprintf("stopped and deleted, %d at once", n), Unit: "pods/s", Baseline: baseline, Higher: true, Reach: new(0.9)}
	cpu := &figure{Row: "burst", Name: "CPU of the process for each pod of it, its start included", Unit: "ms", Baseline: baseline}
	for i := range b.sizes.Rounds {
		own, base, err := b.burstBoth(ctx, i, n, true, b.cluster.endStored)
		if err != nil {
			return nil, err
		}
		stopped.add(own.stops, base.stops)
		reaped.add(own.reaped, base.reaped)
		cpu.add(own.cpu, base.cpu)
		b.say("burst %d of %d: reaper %.0f stops/s, %.0f reaped/s, %.2f ms CPU each; loop %.0f, %.0f, %.2f",
			i+1, b.sizes.Rounds, own.stops, own.reaped, own.cpu, base.stops, base.reaped, base.cpu)
	}
	return []*figure{reaped, stopped, cpu}, nil
}

// burstResult holds pods per second, milliseconds of CPU for each pod, what the
// API server was asked, and how many verdicts it asked for.
type burstResult struct {
	stops, reaped float64
	cpu           float64
	requests      requests
	verdicts      float64
}

// ending lets a stopped pod end.
type ending func(context.Context, *corev1.Pod) error

func (b *bench) burstBoth(ctx context.Context, round, n int, owned bool, end ending) (own, base burstResult, err error) {
	err = b.inTurns(round, func(reaper bool) (err error) {
		if reaper {
			own, err = b.burstOnce(ctx, b.reaper, n, owned, end)
		} else {
			base, err = b.burstOnce(ctx, b.loop, n, owned, end)
		}
		return err
	})
	return own, base, err
}

func (b *bench) burstOnce(ctx context.Context, who contender, n int, owned bool, end ending) (r burstResult, err error) {
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
	node, err := startNode(ctx, b.cluster, version, end)
	if err != nil {
		return r, err
	}
	if _, err := b.cluster.audit.next(); err != nil { // of the program before
		return r, err
	}
	before, err := b.cluster.load(ctx)
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
	if r.requests, err = b.cluster.audit.settle(ctx); err != nil {
		return r, err
	}
	r.stops, r.reaped = rates(node.all())
	p.stop()
	r.cpu = p.cpu() * 1000 / float64(n)
	last, err := b.cluster.audit.settle(ctx) // its watches are written down when they end
	if err != nil {
		return r, err
	}
	r.requests.add(last)
	after, err := b.cluster.load(ctx)
	r.verdicts = after.asked[statusesWebhook] - before.asked[statusesWebhook]
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
