// Command plots draws the results of the benchmarks: one SVG for each row, with
// the ratio of every round to its baseline and the goal. It is a module of its
// own, so that the programs do not depend on a plotting library.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// results is what is read of the results file.
type results struct {
	Figures []figure `json:"figures"`
}

type figure struct {
	Row        string   `json:"row"`
	Name       string   `json:"name"`
	Reach      *float64 `json:"reach"`
	Absolute   bool     `json:"absolute"`
	Difference bool     `json:"difference"` // the goal is no ratio
	Within     float64  `json:"within"`     // the goal has two sides
	Rounds     []round  `json:"rounds"`
}

type round struct {
	Own   float64 `json:"own"`
	Base  float64 `json:"base"`
	Pairs []round `json:"pairs"` // their ratios count, if there are any
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "Usage: plots RESULTS.json FOLDER")
		os.Exit(1)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "plots:", err)
		os.Exit(1)
	}
}

func run(file, folder string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r results
	if err := json.Unmarshal(content, &r); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	for _, name := range rows(r.Figures) {
		if err := drawRow(name, compared(r.Figures, name), filepath.Join(folder, name+".svg")); err != nil {
			return fmt.Errorf("drawing %s: %w", name, err)
		}
	}
	return nil
}

// rows are the names of those that have something to draw, in their order.
func rows(figures []figure) (names []string) {
	seen := map[string]bool{}
	for _, f := range figures {
		if !seen[f.Row] && len(compared(figures, f.Row)) > 0 {
			names = append(names, f.Row)
			seen[f.Row] = true
		}
	}
	return names
}

// compared are a row's figures that have a ratio: not those that are counted.
func compared(figures []figure, row string) (list []figure) {
	for _, f := range figures {
		if f.Row == row && !f.Absolute && len(f.ratios()) > 0 {
			list = append(list, f)
		}
	}
	return list
}

func (f figure) ratios() (ratios []float64) {
	for _, r := range f.Rounds {
		if r.Base != 0 {
			ratios = append(ratios, r.ratio())
		}
	}
	return ratios
}

func (r round) ratio() float64 {
	if len(r.Pairs) == 0 {
		return r.Own / r.Base
	}
	ratios := figure{Rounds: r.Pairs}.ratios()
	slices.Sort(ratios)
	middle := len(ratios) / 2
	if len(ratios)%2 == 0 {
		return (ratios[middle-1] + ratios[middle]) / 2
	}
	return ratios[middle]
}

// goals are where the bars stand: one, or the two sides.
func (f figure) goals() []float64 {
	switch {
	case f.Reach == nil || f.Difference:
		return nil
	case f.Within > 0:
		return []float64{*f.Reach - f.Within, *f.Reach + f.Within}
	default:
		return []float64{*f.Reach}
	}
}

// drawRow puts the figures below each other: a dot for each round, a bar for
// the goal, and a line where both are equal.
func drawRow(name string, figures []figure, file string) error {
	p := plot.New()
	p.Title.Text = name
	p.X.Label.Text = "ratio to the baseline of the same round (bar: the goal)"
	p.X.Min = 0
	var labels []string
	var equal plotter.XYs
	for i, f := range figures {
		y := float64(len(figures) - 1 - i) // the first on top
		labels = append([]string{f.Name}, labels...)
		var dots plotter.XYs
		for _, ratio := range f.ratios() {
			dots = append(dots, plotter.XY{X: ratio, Y: y})
		}
		scatter, err := plotter.NewScatter(dots)
		if err != nil {
			return err
		}
		scatter.GlyphStyle = draw.GlyphStyle{Color: plotutil.Color(2), Radius: vg.Points(3), Shape: draw.CircleGlyph{}}
		p.Add(scatter)
		for _, x := range f.goals() {
			goal, err := plotter.NewLine(plotter.XYs{{X: x, Y: y - 0.3}, {X: x, Y: y + 0.3}})
			if err != nil {
				return err
			}
			goal.LineStyle.Color, goal.LineStyle.Width = plotutil.Color(0), vg.Points(2)
			p.Add(goal)
		}
		equal = append(equal, plotter.XY{X: 1, Y: y - 0.5}, plotter.XY{X: 1, Y: y + 0.5})
	}
	line, err := plotter.NewLine(equal)
	if err != nil {
		return err
	}
	line.LineStyle.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	p.Add(line, plotter.NewGrid())
	p.NominalY(labels...)
	p.Y.Min, p.Y.Max = -0.5, float64(len(figures))-0.5
	return p.Save(24*vg.Centimeter, vg.Length(3+1.3*float64(len(figures)))*vg.Centimeter, file)
}
