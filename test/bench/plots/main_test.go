package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const example = `{"figures": [
  {"row": "latency", "name": "one at once", "reach": 1.2, "rounds": [{"own": 13, "base": 10}, {"own": 12, "base": 10}]},
  {"row": "requests", "name": "writes", "absolute": true, "rounds": [{"own": 2, "base": 2}]},
  {"row": "memory", "name": "nothing to compare with", "rounds": [{"own": 2, "base": 0}]}
]}`

func TestRowsWithRatiosAreDrawn(t *testing.T) {
	folder := t.TempDir()
	results := filepath.Join(folder, "results.json")
	if err := os.WriteFile(results, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(results, folder); err != nil {
		t.Fatal(err)
	}
	drawn, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	if err != nil || len(drawn) != 1 || filepath.Base(drawn[0]) != "latency.svg" {
		t.Fatalf("drawn: %v, %v", drawn, err)
	}
	picture, err := os.ReadFile(drawn[0])
	if err != nil {
		t.Fatal(err)
	}
	if text := string(picture); !strings.Contains(text, "one at once") {
		t.Errorf("the figure's name is not in the picture of %d bytes", len(text))
	}
}

func TestGoals(t *testing.T) {
	reach := 1.25
	for sentence, c := range map[string]struct {
		figure figure
		want   []float64
	}{
		"none":                     {figure{}, nil},
		"one":                      {figure{Reach: &reach}, []float64{1.25}},
		"two sides":                {figure{Reach: &reach, Within: 0.5}, []float64{0.75, 1.75}},
		"a difference is no ratio": {figure{Reach: &reach, Difference: true}, nil},
	} {
		if got := c.figure.goals(); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", sentence, got, c.want)
		}
	}
}

func TestPairsHaveTheRatioOfTheirRound(t *testing.T) {
	three := round{Own: 9, Base: 1, Pairs: []round{{Own: 3, Base: 1}, {Own: 10, Base: 10}, {Own: 2, Base: 1}}}
	two := round{Own: 9, Base: 1, Pairs: three.Pairs[:2]}
	if got := (figure{Rounds: []round{three, two, {Own: 5, Base: 2}}}).ratios(); !slices.Equal(got, []float64{2, 2, 2.5}) {
		t.Errorf("got %v", got)
	}
}
