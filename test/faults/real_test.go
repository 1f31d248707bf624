//go:build linux && e2e

package main

import (
	"os"
	"strings"
	"testing"
)

// TestFaults does what `make faults` does, at the same time as the other tests on
// real clusters. FAULTS_FLAGS are its flags.
func TestFaults(t *testing.T) {
	if err := run(t.Context(), strings.Fields(os.Getenv("FAULTS_FLAGS")), os.Stdout); err != nil {
		t.Fatal(err)
	}
}
