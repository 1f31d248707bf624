package main

import (
	"strings"
	"testing"

	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestKeptPodsStay(t *testing.T) {
	for _, fails := range []bool{false, true} {
		p := keptPod("p", "node", "start", fails)
		policies, errs := essential.DefaultPolicies().Override(nil, p.Annotations)
		if len(errs) > 0 || policies.Retention != essential.Forever {
			t.Errorf("fails %t: retention %v, %v", fails, policies.Retention, errs)
		}
		if script := p.Spec.Containers[0].Command[2]; strings.HasSuffix(script, "; exit 3") != fails {
			t.Errorf("fails %t: %s", fails, script)
		}
	}
}

func TestDifferingPodsAreCounted(t *testing.T) {
	before := map[string]string{"a": "1", "b": "2", "c": "3"}
	for sentence, c := range map[string]struct {
		after map[string]string
		want  int
	}{
		"none has changed":   {map[string]string{"a": "1", "b": "2", "c": "3"}, 0},
		"one has changed":    {map[string]string{"a": "1", "b": "9", "c": "3"}, 1},
		"one is gone":        {map[string]string{"a": "1", "b": "2"}, 1},
		"one is new":         {map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}, 1},
		"all three together": {map[string]string{"a": "9", "b": "2", "d": "4"}, 3},
	} {
		if got := differing(before, c.after); got != c.want {
			t.Errorf("%s: %d, want %d", sentence, got, c.want)
		}
	}
}
