package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestRowsAreSelected(t *testing.T) {
	all, err := selectRows("")
	if err != nil || len(all) != len(rows) {
		t.Errorf("%v, %v", all, err)
	}
	if got, err := selectRows("memory,burst"); err != nil || !slices.Equal(got, []string{"memory", "burst"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := selectRows("memory,bust"); err == nil {
		t.Errorf("%v", got)
	}
	if got, err := sizesOf("huge"); err == nil {
		t.Errorf("%v", got)
	}
}

func TestEachIsFirstInTurn(t *testing.T) {
	var order []bool
	for i := range 4 {
		if err := new(bench).inTurns(i, func(own bool) error { order = append(order, own); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if want := []bool{false, true, true, false, false, true, true, false}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

func TestTheTable(t *testing.T) {
	slow := &figure{Name: "time", Unit: "ms", Reach: new(1.2), Rounds: []round{{13, 10}, {150.4, 100}, {14, 10}}}
	fast := &figure{Name: "rate", Unit: "1/s", Reach: new(0.9), Higher: true, Rounds: []round{{1000, 1000}}}
	count := &figure{Name: "writes", Unit: "per pod", Reach: new(2.0), Counted: true, Rounds: []round{{2, 0}}}
	record := &figure{Name: "size", Unit: "MiB", Rounds: []round{{36.25, 0}}}
	r := report{Scale: "small", Figures: []*figure{slow, fast, count, record}}
	for _, f := range r.Figures {
		f.summarize()
	}
	var out bytes.Buffer
	r.print(&out)
	var lines []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "|") {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	want := []string{
		"| figure | unit | here | baseline | ratio (spread) | reach | reached |",
		"| --- | --- | --- | --- | --- | --- | --- |",
		"| time | ms | 14 | 10 | 1.40 (1.30–1.50) | ≤ 1.20× | **no** |",
		"| rate | 1/s | 1000 | 1000 | 1.00 (1.00–1.00) | ≥ 0.90× | yes |",
		"| writes | per pod | 2 | 0 | – | ≤ 2 per pod | yes |",
		"| size | MiB | 36.2 | 0 | – | – | – |",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
