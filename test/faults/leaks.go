package main

// growth bounds how much more a process may have at the end than before: before the
// run, in which a replica may become the leader and start its workers and watches, and
// before the last pods, during which no fault happened. There, one for each pod shows.
var growth = []struct {
	what              string
	of                func(sample) float64
	unit              float64
	overall, lastPods float64
}{
	{"goroutines", func(s sample) float64 { return s.goroutines }, 1, 80, 10},
	{"file descriptors", func(s sample) float64 { return s.fds }, 1, 10, 5},
	{"MiB of memory", func(s sample) float64 { return s.memory }, 1 << 20, 40, 15},
}

// enoughPods is how many of the last pods one reaper must stop: more than the bound of
// goroutines.
const enoughPods = 15

// process is one process in two looks.
type process struct{ first, last sample }

// stops is how many pods the process stopped between the looks.
func (p process) stops() float64 { return p.last.stops - p.first.stops }

// processes returns those that are in the i-th look and in the last one.
func (r *records) processes(i int) (all []process) {
	if i < 0 || i >= len(r.looks) {
		return nil
	}
	for _, first := range r.looks[i] {
		for _, last := range r.looks[len(r.looks)-1] {
			if first.pod == last.pod && first.born == last.born {
				all = append(all, process{first, last})
			}
		}
	}
	return all
}

func (j *judgement) judgeLeaks() {
	stops := 0.0
	for _, p := range j.processes(len(j.looks) - 2) {
		stops = max(stops, p.stops())
		for _, g := range growth {
			j.judgeGrowth(p, g.what, g.of(p.first)/g.unit, g.of(p.last)/g.unit, g.lastPods)
		}
	}
	if stops < enoughPods {
		j.add(observed, "the run", "no reaper stopped %d of the last pods, which show a leak: the most are %.0f", enoughPods, stops)
	}
	for _, p := range j.processes(0) {
		for _, g := range growth {
			j.judgeGrowth(p, g.what, g.of(p.first)/g.unit, g.of(p.last)/g.unit, g.overall)
		}
	}
}

func (j *judgement) judgeGrowth(p process, what string, first, last, bound float64) {
	if last > first+bound {
		j.add(leakless, p.first.pod, "%.0f %s, %.0f before it stopped %.0f pods", last, what, first, p.stops())
	}
}
