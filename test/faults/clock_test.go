package main

import (
	"testing"
	"time"
)

func TestFurthest(t *testing.T) {
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	ahead := step{from: at(10), to: at(30), ahead: time.Minute}
	behind := step{from: at(50), to: at(70), ahead: -time.Minute}
	for sentence, tt := range map[string]struct {
		from, to int
		want     time.Duration
	}{
		"before all steps":                 {0, 9, 0},
		"between two":                      {31, 49, 0},
		"all within one that is ahead":     {15, 25, time.Minute},
		"into it":                          {0, 15, time.Minute},
		"out of it":                        {25, 45, time.Minute},
		"over it":                          {0, 45, time.Minute},
		"all within one that is behind":    {55, 65, -time.Minute},
		"into it, from the right time":     {45, 65, 0},
		"out of it, to the right time":     {55, 75, 0},
		"just after it has begun":          {51, 65, 0},
		"from one that is ahead to behind": {25, 65, time.Minute},
	} {
		if got := furthest([]step{ahead, behind}, at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("%s: %v, want %v", sentence, got, tt.want)
		}
	}
}
