package main

import (
	"bytes"
	"os"
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

func TestTheWholeClusterIsWantedFirst(t *testing.T) {
	quiet := false
	for _, row := range rows {
		if row.whole && quiet {
			t.Errorf("%s comes after a measurement that has parts of the cluster stopped", row.name)
		}
		if (row.name == "kubelet" || row.name == "native") && !row.whole {
			t.Error("the kubelet is stopped before it is measured")
		}
		quiet = quiet || !row.whole
	}
}

func TestSettings(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	good := settings{kubeconfig: "kubeconfig", program: program, helm: program, chart: ".", imageArchive: program}
	for sentence, c := range map[string]struct {
		change func(*settings)
		fails  string // empty: it does not
	}{
		"all there":                {func(*settings) {}, ""},
		"an image is not needed":   {func(s *settings) { s.imageArchive = "" }, ""},
		"no cluster":               {func(s *settings) { s.kubeconfig = "" }, "--kubeconfig"},
		"no program there":         {func(s *settings) { s.program = "nowhere/program" }, "--program: "},
		"no helm there":            {func(s *settings) { s.helm = "nowhere/helm" }, "--helm: "},
		"no chart there":           {func(s *settings) { s.chart = "nowhere" }, "--chart: "},
		"an image that is missing": {func(s *settings) { s.imageArchive = "nowhere.tar" }, "--image-archive: "},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := good
			c.change(&s)
			err := s.validate()
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("got %v, want %q", err, c.fails)
			}
		})
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
	slow := &figure{Name: "time", Baseline: "loop", Unit: "ms", Reach: new(1.2), Rounds: []round{{Own: 13, Base: 10}, {Own: 150.4, Base: 100}, {Own: 14, Base: 10}}}
	fast := &figure{Name: "rate", Baseline: "loop", Unit: "1/s", Reach: new(0.9), Higher: true, Rounds: []round{{Own: 1000, Base: 1000}}}
	count := &figure{Name: "writes", Baseline: "loop", Unit: "per pod", Reach: new(2.0), Absolute: true, Rounds: []round{{Own: 2, Base: 0}}}
	later := &figure{Name: "delay", Baseline: "loop", Unit: "ms", Reach: new(50.0), Difference: true, Rounds: []round{{Own: 1510, Base: 1500}, {Own: 1440, Base: 1500}, {Own: 1530, Base: 1500}}}
	same := &figure{Name: "same", Baseline: "by hand", Unit: "ms", Reach: new(1.0), Within: 0.05}
	same.addPairs([]float64{640, 300, 2000}, []float64{650, 300, 250})
	same.addPairs([]float64{700}, []float64{600})
	same.addPairs([]float64{644}, []float64{633})
	record := &figure{Name: "size", Unit: "MiB", Rounds: []round{{Own: 36.25, Base: 0}}}
	alone := &figure{Name: "start", Unit: "ms", Reach: new(1000.0), Absolute: true, Rounds: []round{{Own: 900, Base: 0}, {Own: 1100, Base: 0}, {Own: 950, Base: 0}}}
	r := report{Scale: "small", Figures: []*figure{slow, fast, count, later, same, record, alone}}
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
		"| delay | ms | 1510 | 1500 | +10 ms (-60 to +30) | ≤ +50 ms | yes |",
		"| same | ms | 644 | 600 | 1.02 (1.00–1.17) | 1.00 ± 0.05× | yes, in 2 of 3 rounds |",
		"| size | MiB | 36.2 | – | – | – | – |",
		"| start | ms | 950 (900–1100) | – | – | ≤ 1000 ms | yes, in 2 of 3 rounds |",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}
