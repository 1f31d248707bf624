package main

import (
	"slices"
	"testing"
)

func TestEveryTurnIsOnceInARoundAndFirstInTurn(t *testing.T) {
	for _, c := range []struct {
		crowded bool
		of      int
	}{{false, 2}, {true, 3}} {
		firsts := map[turn]int{}
		for round := range 2 * c.of {
			all := turns(round, c.crowded)
			firsts[all[0]]++
			slices.Sort(all)
			if len(slices.Compact(all)) != c.of || len(all) != c.of {
				t.Errorf("crowded %t, round %d: %v", c.crowded, round, all)
			}
		}
		for turn, count := range firsts {
			if count != 2 || len(firsts) != c.of {
				t.Errorf("crowded %t: %d is first %d times, of %v", c.crowded, turn, count, firsts)
			}
		}
	}
}
