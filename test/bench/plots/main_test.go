package main

import (
	"os"
	"path/filepath"
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
