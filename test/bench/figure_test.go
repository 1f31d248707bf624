package main

import "testing"

func TestSummarize(t *testing.T) {
	for sentence, c := range map[string]struct {
		figure  figure
		ratio   spread
		verdict verdict
		agree   int
	}{
		"a rate that is high enough in most rounds": {
			figure{Reach: new(0.9), Higher: true, Rounds: []round{{Own: 90, Base: 100}, {Own: 95, Base: 100}, {Own: 80, Base: 100}}},
			spread{Median: 0.9, Min: 0.8, Max: 0.95}, reached, 2,
		},
		"a rate that is high enough": {
			figure{Reach: new(0.9), Higher: true, Rounds: []round{{Own: 90, Base: 100}, {Own: 95, Base: 100}}},
			spread{Median: 0.925, Min: 0.9, Max: 0.95}, reached, 2,
		},
		"a rate that is too low": {
			figure{Reach: new(0.9), Higher: true, Rounds: []round{{Own: 89, Base: 100}}},
			spread{Median: 0.89, Min: 0.89, Max: 0.89}, missed, 1,
		},
		"a time that is short enough": {
			figure{Reach: new(1.2), Rounds: []round{{Own: 12, Base: 10}}},
			spread{Median: 1.2, Min: 1.2, Max: 1.2}, reached, 1,
		},
		"a time that is too long": {
			figure{Reach: new(1.2), Rounds: []round{{Own: 13, Base: 10}}},
			spread{Median: 1.3, Min: 1.3, Max: 1.3}, missed, 1,
		},
		"the ratio is one of rounds, not of medians": {
			figure{Reach: new(1.2), Rounds: []round{{Own: 10, Base: 10}, {Own: 100, Base: 20}, {Own: 20, Base: 100}}},
			spread{Median: 1, Min: 0.2, Max: 5}, reached, 2,
		},
		"a count is compared with its goal": {
			figure{Reach: new(2.0), Absolute: true, Rounds: []round{{Own: 2, Base: 1}}},
			spread{Median: 2, Min: 2, Max: 2}, reached, 1,
		},
		"a count above its goal": {
			figure{Reach: new(2.0), Absolute: true, Rounds: []round{{Own: 2.1, Base: 0}}},
			spread{}, missed, 1,
		},
		"a difference that is small enough": {
			figure{Reach: new(50.0), Difference: true, Rounds: []round{{Own: 40, Base: 10}, {Own: 1500, Base: 1450}}},
			spread{Median: (4 + 1500.0/1450) / 2, Min: 1500.0 / 1450, Max: 4}, reached, 2,
		},
		"a difference that is too large": {
			figure{Reach: new(50.0), Difference: true, Rounds: []round{{Own: 200, Base: 100}}},
			spread{Median: 2, Min: 2, Max: 2}, missed, 1,
		},
		"a difference to nothing": {figure: figure{Reach: new(50.0), Difference: true, Rounds: []round{{Own: 1, Base: 0}}}},
		"a ratio at one side of its goal": {
			figure{Reach: new(1.0), Within: 0.05, Rounds: []round{{Own: 95, Base: 100}}},
			spread{Median: 0.95, Min: 0.95, Max: 0.95}, reached, 1,
		},
		"a ratio at the other side": {
			figure{Reach: new(1.0), Within: 0.05, Rounds: []round{{Own: 105, Base: 100}}},
			spread{Median: 1.05, Min: 1.05, Max: 1.05}, reached, 1,
		},
		"a ratio that is too low for a goal with two sides": {
			figure{Reach: new(1.0), Within: 0.05, Rounds: []round{{Own: 94, Base: 100}}},
			spread{Median: 0.94, Min: 0.94, Max: 0.94}, missed, 1,
		},
		"a ratio that is too high for it": {
			figure{Reach: new(1.0), Within: 0.05, Rounds: []round{{Own: 106, Base: 100}}},
			spread{Median: 1.06, Min: 1.06, Max: 1.06}, missed, 1,
		},
		"the pairs of all rounds decide, and the rounds are their spread": {
			figure{Reach: new(1.0), Within: 0.05, Rounds: []round{
				{Own: 300, Base: 100, Pairs: []round{{Own: 120, Base: 100}, {Own: 102, Base: 100}, {Own: 300, Base: 100}}},
				{Own: 100, Base: 100, Pairs: []round{{Own: 80, Base: 100}, {Own: 900, Base: 900}, {Own: 4, Base: 40}}},
				{Own: 100, Base: 100, Pairs: []round{{Own: 103, Base: 100}}},
			}},
			spread{Median: 1.02, Min: 0.8, Max: 1.2}, reached, 1,
		},
		"nothing to compare with": {figure: figure{Reach: new(2.0), Rounds: []round{{Own: 1, Base: 0}}}},
		"no goal":                 {figure{Rounds: []round{{Own: 1, Base: 2}}}, spread{Median: 0.5, Min: 0.5, Max: 0.5}, "", 0},
		"no rounds":               {figure: figure{Reach: new(2.0), Absolute: true}},
	} {
		t.Run(sentence, func(t *testing.T) {
			f := c.figure
			f.summarize()
			if f.Ratio != c.ratio {
				t.Errorf("ratio %v, want %v", f.Ratio, c.ratio)
			}
			if f.Verdict != c.verdict || f.Agree != c.agree {
				t.Errorf("verdict %q of %d rounds, want %q of %d", f.Verdict, f.Agree, c.verdict, c.agree)
			}
		})
	}
}
