package main

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// memory measures what a pod costs a process that watches: the growth of the
// heap in use and of the resident memory between no pods, tracked pods, and
// tracked pods beside others. Each is a process of its own.
func (b *bench) memory(ctx context.Context) ([]*figure, error) {
	tracked, others := float64(b.sizes.Tracked), float64(b.sizes.Others)
	baseline := "stock controller-runtime Pod informer"
	f := func(name, unit string, reach *float64) *figure {
		return &figure{Row: "memory", Name: name, Unit: unit, Baseline: baseline, Reach: reach}
	}
	perTracked := f(fmt.Sprintf("heap in use, per tracked pod (%.0f)", tracked), "B", new(0.25))
	perTrackedAbsolute := f("heap in use, per tracked pod, in bytes", "B", new(2048.0))
	perTrackedAbsolute.Counted = true
	perOther := f(fmt.Sprintf("heap in use, per other pod (%.0f beside them)", others), "B", new(0.02))
	resident := f(fmt.Sprintf("resident memory, %.0f tracked pods and %.0f others", tracked, others), "MiB", new(0.25))
	idle := f("resident memory, no pods", "MiB", nil)

	if err := b.cluster.clear(ctx); err != nil {
		return nil, err
	}
	var samples [3]map[bool][]footprint // by population, reaper or not
	for population := range samples {
		samples[population] = map[bool][]footprint{}
		var err error
		switch population {
		case 1:
			_, err = b.cluster.create(ctx, "tracked", b.sizes.Tracked, true, true)
		case 2:
			_, err = b.cluster.create(ctx, "other", b.sizes.Others, false, true)
		}
		if err != nil {
			return nil, err
		}
		for i := range b.sizes.Rounds {
			err := b.inTurns(i, func(reaper bool) error {
				who := b.informer
				if reaper {
					who = b.reaper
				}
				m, err := b.footprint(ctx, who)
				samples[population][reaper] = append(samples[population][reaper], m)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
		b.say("memory with population %d: reaper %v; informer %v", population, samples[population][true], samples[population][false])
	}
	for i := range b.sizes.Rounds {
		per := func(reaper bool, from, to int, pods float64) float64 {
			return (samples[to][reaper][i].heap - samples[from][reaper][i].heap) / pods
		}
		perTracked.add(per(true, 0, 1, tracked), per(false, 0, 1, tracked))
		perTrackedAbsolute.add(per(true, 0, 1, tracked), per(false, 0, 1, tracked))
		perOther.add(per(true, 1, 2, others), per(false, 1, 2, others))
		resident.add(samples[2][true][i].resident/(1<<20), samples[2][false][i].resident/(1<<20))
		idle.add(samples[0][true][i].resident/(1<<20), samples[0][false][i].resident/(1<<20))
	}
	return []*figure{perTrackedAbsolute, perTracked, perOther, resident, idle}, b.cluster.clear(ctx)
}

// footprint is a process's memory in bytes.
type footprint struct{ heap, resident float64 }

// footprint starts the contender and reads its metrics until its heap has been
// collected a few times: the smallest heap of these holds the least garbage.
func (b *bench) footprint(ctx context.Context, who contender) (footprint, error) {
	p, err := b.cluster.start(ctx, who)
	if err != nil {
		return footprint{}, err
	}
	defer p.stop()
	m := footprint{heap: math.Inf(1)}
	const collections, patience = 6, 5000
	first := math.NaN()
	for range patience {
		metrics, err := get(ctx, "http://"+p.metrics+"/metrics")
		if err != nil {
			return m, fmt.Errorf("%s: %w", who.name, err)
		}
		cycles, err := gauge(metrics, "go_gc_duration_seconds_count")
		if err != nil {
			return m, err
		}
		if math.IsNaN(first) {
			first = cycles
		}
		heap, err := gauge(metrics, "go_memstats_heap_inuse_bytes")
		if err != nil {
			return m, err
		}
		if cycles > first {
			m.heap = min(m.heap, heap)
		}
		if m.resident, err = gauge(metrics, "process_resident_memory_bytes"); err != nil {
			return m, err
		}
		if cycles-first >= collections {
			return m, nil
		}
	}
	return m, fmt.Errorf("the heap of the %s was not collected %d times", who.name, collections)
}

// gauge is the value of a metric without labels.
func gauge(metrics, name string) (float64, error) {
	match := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
	if match == nil {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return strconv.ParseFloat(match[1], 64)
}
