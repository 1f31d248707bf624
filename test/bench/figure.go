package main

// figure is one line of the table: something that was measured in several
// rounds, each next to its baseline.
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
	Within     float64  `json:"within,omitempty"`     // the goal has two sides, each so far from Reach
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
	// Pairs are what a round consists of whose parts each have their own baseline
	// next to them. Own and Base are medians then.
	Pairs []round `json:"pairs,omitempty"`
}

func (r round) String() string {
	if r.Base == 0 {
		return number(r.Own)
	}
	return number(r.Own) + "/" + number(r.Base)
}

func (f *figure) add(own, base float64) { f.Rounds = append(f.Rounds, round{Own: own, Base: base}) }

// addPairs adds a round of pairs, of each list the first ones, and so on.
func (f *figure) addPairs(own, base []float64) round {
	r := round{Own: median(own), Base: median(base)}
	for i := range own {
		r.Pairs = append(r.Pairs, round{Own: own[i], Base: base[i]})
	}
	f.Rounds = append(f.Rounds, r)
	return r
}

// ratio is that of the medians, or the median of those of the pairs.
func (r round) ratio() float64 {
	if len(r.Pairs) == 0 {
		return r.Own / r.Base
	}
	return ratioOf(r.Pairs)
}

func ratioOf(pairs []round) float64 {
	var ratios []float64
	for _, p := range pairs {
		ratios = append(ratios, p.Own/p.Base)
	}
	return median(ratios)
}

// summarize works out what depends on the rounds. Ratio and difference are taken
// round by round, so that what slows the machine down for a while slows both. The
// pairs of all rounds count together: a round of its own has few.
func (f *figure) summarize() {
	var own, base, ratios, more []float64
	var pairs []round
	for _, r := range f.Rounds {
		own, base = append(own, r.Own), append(base, r.Base)
		if r.Base != 0 {
			ratios, more = append(ratios, r.ratio()), append(more, r.Own-r.Base)
		}
		pairs = append(pairs, r.Pairs...)
	}
	f.Own, f.Base, f.Ratio, f.More = spreadOf(own), spreadOf(base), spreadOf(ratios), spreadOf(more)
	if len(pairs) > 0 {
		f.Ratio.Median = ratioOf(pairs)
	}
	f.Verdict, f.Agree = "", 0
	switch {
	case f.Reach == nil:
	case f.Absolute:
		f.judge(own, f.Own.Median)
	case f.Difference:
		f.judge(more, f.More.Median)
	default:
		f.judge(ratios, f.Ratio.Median)
	}
}

// verdict is whether the goal is reached. The median decides: one
// round in which the machine did something else shall not. The rounds that agree
// are counted next to it, so that a close decision looks like one.
type verdict string

const (
	reached verdict = "yes"
	missed  verdict = "no"
)

func (f *figure) judge(values []float64, decides float64) {
	if len(values) == 0 { // there was nothing to compare with
		return
	}
	within := func(v float64) bool {
		if f.Within > 0 {
			return v >= *f.Reach-f.Within && v <= *f.Reach+f.Within
		}
		if f.Higher {
			return v >= *f.Reach
		}
		return v <= *f.Reach
	}
	ok := within(decides)
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
