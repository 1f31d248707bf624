package main

// figure is one line of the table: something that was measured in several
// rounds, each beside its baseline.
type figure struct {
	Row      string `json:"row"` // the group of figures that one measurement makes
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	Baseline string `json:"baseline,omitempty"` // what Base is; empty: there is none
	// Reach is the goal: of the ratio to the baseline, or, where Counted, of the
	// value itself. Without one, the figure is for the record.
	Reach   *float64 `json:"reach,omitempty"`
	Higher  bool     `json:"higherIsBetter"`
	Counted bool     `json:"counted"` // not timed: the same on every machine
	Rounds  []round  `json:"rounds"`

	// What the rounds come to; see summarize.
	Own     spread  `json:"own"`
	Base    spread  `json:"base"`
	Ratio   spread  `json:"ratio"`
	Verdict verdict `json:"verdict,omitempty"`
}

// round is one measurement and the one of the baseline next to it.
type round struct {
	Own  float64 `json:"own"`
	Base float64 `json:"base"`
}

func (f *figure) add(own, base float64) { f.Rounds = append(f.Rounds, round{own, base}) }

// summarize works out what depends on the rounds. The ratio is taken round by
// round, so that what slows the machine down for a while slows both.
func (f *figure) summarize() {
	var own, base, ratios []float64
	for _, r := range f.Rounds {
		own, base = append(own, r.Own), append(base, r.Base)
		if r.Base != 0 {
			ratios = append(ratios, r.Own/r.Base)
		}
	}
	f.Own, f.Base, f.Ratio = spreadOf(own), spreadOf(base), spreadOf(ratios)
	f.Verdict = ""
	switch {
	case f.Reach == nil, len(f.Rounds) == 0:
	case f.Counted:
		f.Verdict = judge(f.Own, *f.Reach, f.Higher)
	case len(ratios) > 0: // else there is nothing to compare with
		f.Verdict = judge(f.Ratio, *f.Reach, f.Higher)
	}
}

// verdict is whether the goal is reached. Rounds that do not agree decide
// nothing: the machine was too busy, or the difference is too small.
type verdict string

const (
	reached verdict = "yes"
	missed  verdict = "no"
	unclear verdict = "unclear"
)

func judge(s spread, reach float64, higher bool) verdict {
	smallest, largest := s.Min <= reach, s.Max <= reach
	if higher {
		smallest, largest = s.Min >= reach, s.Max >= reach
	}
	switch {
	case smallest && largest:
		return reached
	case !smallest && !largest:
		return missed
	default:
		return unclear
	}
}
