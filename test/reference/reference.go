// Package reference keeps docs/reference.md true: tests hand it what the code
// says, and it compares that with the page's tables.
package reference

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// page is docs/reference.md as seen from a package at this depth.
func page(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; folder != "/"; folder = filepath.Dir(folder) {
		name := filepath.Join(folder, "docs", "reference.md")
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	t.Fatal("docs/reference.md is in no folder above")
	return ""
}

// Table compares the first table below the heading with rows, cell by cell, and
// with UPDATE_REFERENCE=1 in the environment replaces it. The table's own
// header stays.
func Table(t testing.TB, heading string, rows [][]string) {
	t.Helper()
	name, lines, first, last := read(t, heading)
	want := make([]string, len(rows))
	for i, row := range rows {
		want[i] = format(row)
	}
	if slices.Equal(want, lines[first:last]) {
		return
	}
	if os.Getenv("UPDATE_REFERENCE") != "" {
		if err := os.WriteFile(name, []byte(strings.Join(slices.Replace(lines, first, last, want...), "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("docs/reference.md, %s, does not say what the code says; UPDATE_REFERENCE=1 go test ./... writes it\nthe page:\n%s\nthe code:\n%s",
		heading, strings.Join(lines[first:last], "\n"), strings.Join(want, "\n"))
}

// FirstColumn returns the first column of the first table below the heading,
// without code marks: for tables whose text is written by people.
func FirstColumn(t testing.TB, heading string) (column []string) {
	t.Helper()
	_, lines, first, last := read(t, heading)
	for _, line := range lines[first:last] {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		column = append(column, strings.Trim(cell, "`"))
	}
	return column
}

// read returns the page's name and lines, and where the table's rows are.
func read(t testing.TB, heading string) (name string, lines []string, first, last int) {
	t.Helper()
	name = page(t)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines = strings.Split(string(text), "\n")
	if first, last = find(lines, heading); first < 0 {
		t.Fatalf("docs/reference.md has no table below %q", heading)
	}
	return name, lines, first, last
}

// find returns where the rows of the table below the heading begin and end.
func find(lines []string, heading string) (first, last int) {
	at := slices.Index(lines, heading)
	if at < 0 {
		return -1, -1
	}
	for i := at + 1; i < len(lines) && !strings.HasPrefix(lines[i], "#"); i++ {
		if !strings.HasPrefix(lines[i], "| ---") {
			continue
		}
		for last = i + 1; last < len(lines) && strings.HasPrefix(lines[last], "|"); {
			last++
		}
		return i + 1, last
	}
	return -1, -1
}

func format(row []string) string {
	cells := make([]string, len(row))
	for i, cell := range row {
		cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(cell), " "), "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// Flags are the rows of a program's own flags: name, default, meaning.
func Flags(flags *flag.FlagSet) (rows [][]string) {
	flags.VisitAll(func(f *flag.Flag) {
		def := ""
		if f.DefValue != "" {
			def = "`" + f.DefValue + "`"
		}
		rows = append(rows, []string{"`--" + f.Name + "`", def, strings.ReplaceAll(f.Usage, "`", "")})
	})
	return rows
}

// Metrics are the rows of what is registered: name with labels, type, help. A
// metric with labels must have at least one series.
func Metrics(t testing.TB, gatherer prometheus.Gatherer) (rows [][]string) {
	t.Helper()
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		var labels []string
		for _, label := range family.Metric[0].Label {
			labels = append(labels, label.GetName())
		}
		name := family.GetName()
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		rows = append(rows, []string{"`" + name + "`", strings.ToLower(family.GetType().String()), family.GetHelp()})
	}
	if len(rows) == 0 {
		t.Fatal(fmt.Errorf("no metric is registered"))
	}
	return rows
}
