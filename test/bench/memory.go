package main

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// memory measures what a pod costs a process that watches: the growth of its
// memory between no pods, tracked pods, and tracked pods among others. Each is a
// process of its own. The others have no status, and weigh less in the baseline
// than pods that run.
func (b *bench) memory(ctx context.Context) ([]*figure, error) {
	tracked, others := b.sizes.Tracked, b.sizes.Others
	samples := [populations]map[bool][]footprint{} // by who is in the cluster; of the reaper or not
	for p := range samples {
		samples[p] = map[bool][]footprint{}
		if err := b.populate(ctx, population(p)); err != nil {
			return nil, err
		}
		for i := range b.sizes.Rounds {
			err := b.inTurns(i, func(reaper bool) error {
				who := b.informer
				if reaper {
					who = b.reaper
				}
				m, err := b.footprint(ctx, who)
				samples[p][reaper] = append(samples[p][reaper], m)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		b.say("memory with %s: reaper %v; informer %v", population(p), samples[p][true], samples[p][false])
	}

	f := func(name, unit string, reach float64) *figure {
		return &figure{Row: "memory", Name: name, Unit: unit, Baseline: "stock controller-runtime Pod informer", Reach: &reach}
	}
	bytesEach := f(fmt.Sprintf("live heap, per tracked pod (%d), in bytes", tracked), "B", 2048)
	bytesEach.Absolute = true
	live := f("live heap, per tracked pod", "B", 0.25)
	inUse := f("heap in use, with its free room, per tracked pod", "B", 0.25)
	other := f(fmt.Sprintf("live heap, per other pod (%d of them)", others), "B", 0.02)
	resident := f("resident memory with all of them, just after the list", "MiB", 0.25)
	idle := f("resident memory, no pods", "MiB", 0)
	idle.Reach = nil
	for i := range b.sizes.Rounds {
		grown := func(reaper bool, from, to population, of func(footprint) float64, pods int) float64 {
			return (of(samples[to][reaper][i]) - of(samples[from][reaper][i])) / float64(pods)
		}
		add := func(f *figure, from, to population, of func(footprint) float64, pods int) {
			f.add(grown(true, from, to, of, pods), grown(false, from, to, of, pods))
		}
		add(bytesEach, nobody, trackedOnly, footprint.liveHeap, tracked)
		add(live, nobody, trackedOnly, footprint.liveHeap, tracked)
		add(inUse, nobody, trackedOnly, footprint.heapInUse, tracked)
		add(other, trackedOnly, everybody, footprint.liveHeap, others)
		resident.add(samples[everybody][true][i].resident/(1<<20), samples[everybody][false][i].resident/(1<<20))
		idle.add(samples[nobody][true][i].resident/(1<<20), samples[nobody][false][i].resident/(1<<20))
	}
	return []*figure{bytesEach, live, inUse, other, resident, idle}, nil
}

// population is which pods are in the cluster.
type population int

const (
	nobody population = iota
	trackedOnly
	everybody
	populations
)

func (p population) String() string {
	return [...]string{"no pods", "tracked pods", "tracked and other pods"}[p]
}

// populate adds the pods of the population to those of the one before.
func (b *bench) populate(ctx context.Context, p population) (err error) {
	switch p {
	case nobody:
		err = b.clear(ctx)
	case trackedOnly:
		_, err = b.cluster.create(ctx, kind{prefix: "tracked", tracked: true, owned: true, status: running}, b.sizes.Tracked)
	case everybody:
		_, err = b.cluster.create(ctx, kind{prefix: "other", owned: true}, b.sizes.Others)
	}
	return err
}

// footprint is a process's memory in bytes.
type footprint struct{ live, inUse, resident float64 }

func (f footprint) liveHeap() float64  { return f.live }
func (f footprint) heapInUse() float64 { return f.inUse }

// String shows MiB.
func (f footprint) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("%.1f live, %.1f in use, %.1f resident", f.live/mib, f.inUse/mib, f.resident/mib)
}

// footprint starts the contender and reads its memory once it has its list. What
// the heap holds after a collection lives; the rest of what is in use is room
// between them. Collected until it no longer shrinks: what a pool held goes with
// the second time, and a list that has just come still passes through. The
// resident memory is read before, as it would be without the measurement.
func (b *bench) footprint(ctx context.Context, who contender) (m footprint, err error) {
	var profiles string
	if err := freeAddresses(&profiles); err != nil {
		return m, err
	}
	who.args = append(append([]string(nil), who.args...), "--pprof-addr="+profiles)
	p, err := b.cluster.start(ctx, who)
	if err != nil {
		return m, err
	}
	defer p.stop()
	metrics, err := get(ctx, "http://"+p.metrics+"/metrics")
	if err != nil {
		return m, fmt.Errorf("%s: %w", who.name, err)
	}
	if m.resident, err = numberIn(metrics, `process_resident_memory_bytes (\S+)`); err != nil {
		return m, err
	}
	for last := math.Inf(1); ; last = m.live {
		heap, err := get(ctx, "http://"+profiles+"/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			return m, fmt.Errorf("%s: %w", who.name, err)
		}
		if m.live, err = numberIn(heap, `# HeapAlloc = (\d+)`); err != nil {
			return m, err
		}
		if m.live > 0.99*last {
			m.inUse, err = numberIn(heap, `# HeapInuse = (\d+)`)
			return m, err
		}
		time.Sleep(time.Second)
	}
}

// numberIn is the number in the first line of the text that is like the pattern.
func numberIn(text, pattern string) (float64, error) {
	match := regexp.MustCompile(`(?m)^` + pattern + `$`).FindStringSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("no line is like %q", pattern)
	}
	return strconv.ParseFloat(match[1], 64)
}
