package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// warmUp is how many pods complete before anything is measured: a process that
// has run for hours has its connections, and its heap has grown.
const warmUp = 50

// pause follows each completion that is measured alone, so that it does not
// compete with what the one before it left to do, its events for instance.
const pause = 30 * time.Millisecond

// latency measures the time from when a watcher can see that a pod has completed
// to when it can see that the pod is stopped. Nothing is deleted: the node does
// not acknowledge.
func (b *bench) latency(ctx context.Context) (all []*figure, err error) {
	for _, n := range b.sizes.AtOnce {
		baseline := "bare client-go loop, stops only"
		p50 := &figure{Row: "latency", Name: fmt.Sprintf("completion to stop, %d at once, p50", n), Unit: "ms", Baseline: baseline, Reach: new(1.2)}
		p99 := &figure{Row: "latency", Name: fmt.Sprintf("completion to stop, %d at once, p99", n), Unit: "ms", Baseline: baseline, Reach: new(1.2)}
		for i := range b.sizes.Rounds {
			var own, base []float64
			err := b.inTurns(i, func(reaper bool) (err error) {
				if reaper {
					own, err = b.latencyOnce(ctx, b.reaper, n)
				} else {
					base, err = b.latencyOnce(ctx, b.loop, n)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			p50.add(percentile(own, 50), percentile(base, 50))
			p99.add(percentile(own, 99), percentile(base, 99))
			b.say("latency of %d, %d of %d: reaper p50 %.1f ms, p99 %.1f ms; loop %.1f, %.1f", n, i+1, b.sizes.Rounds,
				percentile(own, 50), percentile(own, 99), percentile(base, 50), percentile(base, 99))
		}
		all = append(all, p50, p99)
	}
	return all, nil
}

// latencyOnce returns milliseconds, one for each pod.
func (b *bench) latencyOnce(ctx context.Context, who contender, n int) (milliseconds []float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.cluster.clear(ctx); err != nil {
		return nil, err
	}
	total := n
	if n == 1 {
		total = b.sizes.Singles
	}
	pods, err := b.cluster.create(ctx, "latency", warmUp+total, true, true)
	if err != nil {
		return nil, err
	}
	version, err := b.cluster.resourceVersion(ctx)
	if err != nil {
		return nil, err
	}
	node, err := startNode(ctx, b.cluster, version, false)
	if err != nil {
		return nil, err
	}
	p, err := b.cluster.start(ctx, who)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := b.warmUp(ctx, node, pods[total:]); err != nil {
		return nil, fmt.Errorf("%s: %w", who.name, err)
	}
	for from := 0; from < total; from += n {
		if err := b.cluster.complete(ctx, pods[from:from+n]...); err != nil {
			return nil, err
		}
		if err := node.awaitStopped(ctx, warmUp+from+n); err != nil {
			return nil, fmt.Errorf("%s: %w", who.name, err)
		}
		time.Sleep(pause)
	}
	for name, t := range node.all() {
		if slices.ContainsFunc(pods[total:], func(p *corev1.Pod) bool { return p.Name == name }) {
			continue
		}
		if t.completed.IsZero() {
			return nil, fmt.Errorf("%s: a pod was stopped that was not seen to complete", who.name)
		}
		milliseconds = append(milliseconds, t.stopped.Sub(t.completed).Seconds()*1000)
	}
	return milliseconds, nil
}

func (b *bench) warmUp(ctx context.Context, node *node, pods []*corev1.Pod) error {
	if err := b.cluster.complete(ctx, pods...); err != nil {
		return err
	}
	if err := node.awaitStopped(ctx, len(pods)); err != nil {
		return err
	}
	return b.cluster.settle(ctx)
}
