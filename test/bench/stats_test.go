package main

import "testing"

func TestMedian(t *testing.T) {
	for sentence, c := range map[string]struct {
		values []float64
		want   float64
	}{
		"of nothing":          {nil, 0},
		"of one":              {[]float64{7}, 7},
		"of an odd number":    {[]float64{9, 1, 5}, 5},
		"of an even number":   {[]float64{9, 1, 4, 6}, 5},
		"is no mean":          {[]float64{1, 2, 300}, 2},
		"counts what repeats": {[]float64{1, 1, 1, 8, 9}, 1},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("%s: %v, want %v", sentence, got, c.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for sentence, c := range map[string]struct {
		values  []float64
		p, want float64
	}{
		"of nothing":                    {nil, 99, 0},
		"of one":                        {[]float64{3}, 50, 3},
		"half of a hundred":             {hundred, 50, 50},
		"99 of a hundred":               {hundred, 99, 99},
		"all of a hundred":              {hundred, 100, 100},
		"none is the smallest":          {hundred, 0, 1},
		"of few, it was measured":       {[]float64{10, 20, 30}, 50, 20},
		"of few, the 99th is the worst": {[]float64{10, 20, 30}, 99, 30},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("%s: %v, want %v", sentence, got, c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	values := []float64{4, 2, 9}
	if got, want := spreadOf(values), (spread{Median: 4, Min: 2, Max: 9}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if values[0] != 4 || values[2] != 9 {
		t.Errorf("the rounds are out of order: %v", values)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("of nothing: %v", got)
	}
}
