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
			figure{Reach: new(0.9), Higher: true, Rounds: []round{{90, 100}, {95, 100}, {80, 100}}},
			spread{Median: 0.9, Min: 0.8, Max: 0.95}, reached, 2,
		},
		"a rate that is high enough": {
			figure{Reach: new(0.9), Higher: true, Rounds: []round{{90, 100}, {95, 100}}},
			spread{Median: 0.925, Min: 0.9, Max: 0.95}, reached, 2,
		},
		"a rate that is too low": {
			figure{Reach: new(0.9), Higher: true, Rounds: []round{{89, 100}}},
			spread{Median: 0.89, Min: 0.89, Max: 0.89}, missed, 1,
		},
		"a time that is short enough": {
			figure{Reach: new(1.2), Rounds: []round{{12, 10}}},
			spread{Median: 1.2, Min: 1.2, Max: 1.2}, reached, 1,
		},
		"a time that is too long": {
			figure{Reach: new(1.2), Rounds: []round{{13, 10}}},
			spread{Median: 1.3, Min: 1.3, Max: 1.3}, missed, 1,
		},
		"the ratio is one of rounds, not of medians": {
			figure{Reach: new(1.2), Rounds: []round{{10, 10}, {100, 20}, {20, 100}}},
			spread{Median: 1, Min: 0.2, Max: 5}, reached, 2,
		},
		"a count is compared with its goal": {
			figure{Reach: new(2.0), Absolute: true, Rounds: []round{{2, 1}}},
			spread{Median: 2, Min: 2, Max: 2}, reached, 1,
		},
		"a count above its goal": {
			figure{Reach: new(2.0), Absolute: true, Rounds: []round{{2.1, 0}}},
			spread{}, missed, 1,
		},
		"a difference that is small enough": {
			figure{Reach: new(50.0), Difference: true, Rounds: []round{{40, 10}, {1500, 1450}}},
			spread{Median: (4 + 1500.0/1450) / 2, Min: 1500.0 / 1450, Max: 4}, reached, 2,
		},
		"a difference that is too large": {
			figure{Reach: new(50.0), Difference: true, Rounds: []round{{200, 100}}},
			spread{Median: 2, Min: 2, Max: 2}, missed, 1,
		},
		"a difference to nothing": {figure: figure{Reach: new(50.0), Difference: true, Rounds: []round{{1, 0}}}},
		"nothing to compare with": {figure: figure{Reach: new(2.0), Rounds: []round{{1, 0}}}},
		"no goal":                 {figure{Rounds: []round{{1, 2}}}, spread{Median: 0.5, Min: 0.5, Max: 0.5}, "", 0},
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
