package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

const (
	clockFolder = "/var/lib/faults-clock" // on the node: where stepped reads how far its clock is ahead
	clockFile   = "offset"
)

// step is a time in which the reapers' clock was not the machine's.
type step struct {
	from, to time.Time
	ahead    time.Duration // behind, if it is negative
}

// blurred is for how long, on either side of a step's begin and end, what the
// reapers do may go by either time.
const blurred = 2 * time.Second

// within reports whether the step was in force all the time.
func (s step) within(from, to time.Time) bool {
	return from.After(s.from.Add(blurred)) && to.Before(s.to.Add(-blurred))
}

// touches reports whether it was in force at any time.
func (s step) touches(from, to time.Time) bool { return !from.After(s.to) && !to.Before(s.from) }

// furthest is how far the reapers' clock was ahead at the most.
func furthest(steps []step, from, to time.Time) (ahead time.Duration) {
	for _, s := range steps {
		switch {
		case s.within(from, to):
			return s.ahead
		case s.touches(from, to):
			ahead = max(ahead, s.ahead)
		}
	}
	return ahead
}

// stepped has the reapers' clock be ahead or behind while do runs.
func (w *world) stepped(r *rand.Rand, do func()) error {
	// Small steps meet delays and retentions that are about as long; large ones outlast them.
	ahead := time.Duration(2 * math.Pow(45, r.Float64()) * float64(time.Second)).Round(time.Millisecond)
	if r.IntN(2) == 0 {
		ahead = -ahead
	}
	s := step{from: time.Now(), ahead: ahead}
	err := w.setClock(ahead)
	do()
	err = errors.Join(err, w.setClock(0))
	s.to = time.Now()
	w.steps = append(w.steps, s)
	return err
}

// setClock replaces the file in one go: the reapers read it all the time.
func (w *world) setClock(ahead time.Duration) error {
	folder := filepath.Join(w.cluster.State(), clockFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	draft := filepath.Join(folder, "draft")
	if err := os.WriteFile(draft, []byte(ahead.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(draft, filepath.Join(folder, clockFile))
}

// runStepped has the reaper's Deployment run the same program with a clock that
// can be stepped.
func (t *trial) runStepped(ctx context.Context) error {
	if err := t.setClock(0); err != nil {
		return fmt.Errorf("setting the reapers' clock: %w", err)
	}
	return t.runProgram(ctx, "stepped")
}

// dated counts the reaper's stops that were written while its clock was stepped,
// and those of them that carry the time of that clock.
func dated(r records) (during, shown int) {
	for _, w := range r.writes {
		stop, ok := essential.StopOf(&w.pod)
		if !ok || w.by != kube.ReaperUser || w.verb == "delete" {
			continue
		}
		for _, s := range r.steps {
			if s.within(w.at, w.at) {
				during++
				if off := stop.At.Sub(w.at); (off - s.ahead).Abs() < off.Abs() {
					shown++
				}
			}
		}
	}
	return during, shown
}

// stepsOf lists them.
func stepsOf(steps []step) string {
	var all []string
	for _, s := range steps {
		all = append(all, fmt.Sprintf("%+.0f s", s.ahead.Seconds()))
	}
	return strings.Join(all, ", ")
}
