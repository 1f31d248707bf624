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

// pauseAfter is how long a wave has what it has left to do, its events for
// instance, for itself, before the next one comes.
func pauseAfter(pods int) time.Duration {
	return max(80*time.Millisecond, time.Duration(pods)*8*time.Millisecond)
}

// idleFold is how many times the pods of a measurement are tracked and idle
// next to them in its crowded form.
const idleFold = 10

// latency measures the time from when a watcher can see that a pod has completed
// to when it can see that the pod is stopped. Nothing is deleted: the pods do not
// end. The baseline of the reaper in a crowd is the reaper without.
func (b *bench) latency(ctx context.Context) (all []*figure, err error) {
	for _, wave := range b.sizes.Waves {
		n, beside := wave.Size, idleFold*wave.Size*wave.Times
		f := func(p int, baseline string, reach float64) *figure {
			name := fmt.Sprintf("completion to stop, %d at once, p%d", n, p)
			if baseline == alone {
				name = fmt.Sprintf("completion to stop, %d at once, with %d idle pods, p%d", n, beside, p)
			}
			return &figure{Row: "latency", Name: name, Unit: "ms", Baseline: baseline, Reach: &reach}
		}
		p50, p99 := f(50, loopStops, 1.2), f(99, loopStops, 1.2)
		crowded50, crowded99 := f(50, alone, 1.1), f(99, alone, 1.1)
		for i := range b.sizes.Rounds {
			took := map[turn][]float64{}
			for _, t := range turns(i, wave.Idle) {
				who, idle := b.reaper, 0
				switch t {
				case loopTurn:
					who = b.loop
				case crowdedTurn:
					idle = beside
				}
				if took[t], err = b.latencyOnce(ctx, who, wave, idle); err != nil {
					return nil, err
				}
			}
			at := func(t turn, p float64) float64 { return percentile(took[t], p) }
			p50.add(at(reaperTurn, 50), at(loopTurn, 50))
			p99.add(at(reaperTurn, 99), at(loopTurn, 99))
			crowded50.add(at(crowdedTurn, 50), at(reaperTurn, 50))
			crowded99.add(at(crowdedTurn, 99), at(reaperTurn, 99))
			b.say("latency of %d, %d of %d: reaper p50 %.1f ms, p99 %.1f ms; loop %.1f, %.1f", n, i+1, b.sizes.Rounds,
				at(reaperTurn, 50), at(reaperTurn, 99), at(loopTurn, 50), at(loopTurn, 99))
			if wave.Idle {
				b.say("latency of %d, the reaper with %d idle pods: p50 %.1f ms, p99 %.1f ms", n, beside, at(crowdedTurn, 50), at(crowdedTurn, 99))
			}
		}
		all = append(all, p50, p99)
		if wave.Idle {
			all = append(all, crowded50, crowded99)
		}
	}
	return all, nil
}

const (
	loopStops = "bare client-go loop, stops only"
	alone     = "the reaper without the idle pods"
)

// turn is one of those that are measured in a round.
type turn int

const (
	reaperTurn turn = iota
	loopTurn
	crowdedTurn
)

// turns are those of a round, another one first in every round.
func turns(round int, crowded bool) []turn {
	all := []turn{reaperTurn, loopTurn, crowdedTurn}
	if !crowded {
		all = all[:2]
	}
	first := round % len(all)
	return slices.Concat(all[first:], all[:first])
}

// latencyOnce returns milliseconds, one for each pod.
func (b *bench) latencyOnce(ctx context.Context, who contender, wave wave, idle int) (milliseconds []float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.clear(ctx); err != nil {
		return nil, err
	}
	if _, err := b.cluster.create(ctx, kind{prefix: "idle", tracked: true, owned: true, status: running}, idle); err != nil {
		return nil, err
	}
	total := wave.Size * wave.Times
	pods, err := b.cluster.create(ctx, kind{prefix: "latency", tracked: true, owned: true, status: running}, warmUp+total)
	if err != nil {
		return nil, err
	}
	version, err := b.cluster.resourceVersion(ctx)
	if err != nil {
		return nil, err
	}
	node, err := startNode(ctx, b.cluster, version, nil)
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
	for i := range wave.Times {
		if i > 0 {
			time.Sleep(pauseAfter(wave.Size))
		}
		if err := b.cluster.complete(ctx, pods[i*wave.Size:(i+1)*wave.Size]...); err != nil {
			return nil, err
		}
		if err := node.awaitStopped(ctx, warmUp+(i+1)*wave.Size); err != nil {
			return nil, fmt.Errorf("%s: %w", who.name, err)
		}
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
	_, err := b.cluster.audit.settle(ctx)
	return err
}
