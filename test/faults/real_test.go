//go:build linux && e2e

package main

import (
	"os"
	"strings"
	"testing"
)

// TestFaults is what `make faults` runs, with the flags of FAULTS_FLAGS, so that
// it runs beside the other tests on real clusters.
func TestFaults(t *testing.T) {
	if err := run(t.Context(), strings.Fields(os.Getenv("FAULTS_FLAGS")), os.Stdout); err != nil {
		t.Fatal(err)
	}
}
