package main

// figure is one line of the table: something that was measured in several
// rounds, each beside its baseline.
type figure struct {
	Row      string `json:"row"` // the group of figures that one measurement makes
	Name     string `json:"name"`
	Unit     string `json:"unit"`
	Baseline string `json:"baseline,omitempty"` // what Base is; empty: there is none
	// Reach is the goal: of the ratio to the baseline, or, where Absolute, of the
	// value itself. Without one, the figure is for the record.
	Reach      *float64 `json:"reach,omitempty"`
	Higher     bool     `json:"higherIsBetter"`
	Absolute   bool     `json:"absolute,omitempty"`   // the goal is of the value itself
	Difference bool     `json:"difference,omitempty"` // the goal is of the difference to the baseline, not of the ratio
	Rounds     []round  `json:"rounds"`

	// What the rounds come to; see summarize.
	Own     spread  `json:"own"`
	Base    spread  `json:"base"`
	Ratio   spread  `json:"ratio"`
	More    spread  `json:"more"` // than the baseline
	Verdict verdict `json:"verdict,omitempty"`
	Agree   int     `json:"agree,omitempty"` // how many rounds alone would have come to the verdict
}

// round is one measurement and the one of the baseline next to it.
type round struct {
	Own  float64 `json:"own"`
	Base float64 `json:"base"`
}

func (r round) String() string {
	if r.Base == 0 {
		return number(r.Own)
	}
	return number(r.Own) + "/" + number(r.Base)
}

func (f *figure) add(own, base float64) { f.Rounds = append(f.Rounds, round{own, base}) }

// summarize works out what depends on the rounds. Ratio and difference are taken
// round by round, so that what slows the machine down for a while slows both.
func (f *figure) summarize() {
	var own, base, ratios, more []float64
	for _, r := range f.Rounds {
		own, base = append(own, r.Own), append(base, r.Base)
		if r.Base != 0 {
			ratios, more = append(ratios, r.Own/r.Base), append(more, r.Own-r.Base)
		}
	}
	f.Own, f.Base, f.Ratio, f.More = spreadOf(own), spreadOf(base), spreadOf(ratios), spreadOf(more)
	f.Verdict, f.Agree = "", 0
	switch {
	case f.Reach == nil:
	case f.Absolute:
		f.judge(own)
	case f.Difference:
		f.judge(more)
	default:
		f.judge(ratios)
	}
}

// verdict is whether the goal is reached. The median of the rounds decides: one
// round in which the machine did something else shall not. The rounds that agree
// are counted beside it, so that a close decision looks like one.
type verdict string

const (
	reached verdict = "yes"
	missed  verdict = "no"
)

func (f *figure) judge(values []float64) {
	if len(values) == 0 { // there was nothing to compare with
		return
	}
	within := func(v float64) bool {
		if f.Higher {
			return v >= *f.Reach
		}
		return v <= *f.Reach
	}
	ok := within(median(values))
	f.Verdict = missed
	if ok {
		f.Verdict = reached
	}
	for _, v := range values {
		if within(v) == ok {
			f.Agree++
		}
	}
}
