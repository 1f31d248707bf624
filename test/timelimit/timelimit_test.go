package timelimit

import (
	"testing"
	"time"
)

func TestScaled(t *testing.T) {
	for factor, want := range map[string]time.Duration{"": time.Minute, "2.5": 150 * time.Second, "0": time.Minute, "many": time.Minute} {
		t.Setenv(Variable, factor)
		if got := Scaled(time.Minute); got != want {
			t.Errorf("factor %q: %v, want %v", factor, got, want)
		}
	}
}
