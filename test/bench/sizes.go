package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sizes are how much of everything one run measures.
type sizes struct {
	Rounds    int   `json:"rounds"`
	Burst     int   `json:"burst"`     // pods that have completed at once, to be stopped and deleted
	AtOnce    []int `json:"atOnce"`    // pods that complete at once, to be stopped
	Singles   int   `json:"singles"`   // how often one pod alone completes, in each round
	Tracked   int   `json:"tracked"`   // pods in the memory of the watchers
	Others    int   `json:"others"`    // pods beside them that nobody asked for
	Reviews   int   `json:"reviews"`   // admission requests of a round, of the smallest pod
	PodSizes  []int `json:"podSizes"`  // bytes of a pod under admission
	Reviewers int   `json:"reviewers"` // that ask at the same time
}

var scales = map[string]sizes{
	"small": {
		Rounds: 5, Burst: 300, AtOnce: []int{1, 100}, Singles: 50, Tracked: 1000, Others: 5000,
		Reviews: 1000, PodSizes: []int{4 << 10, 64 << 10, 1 << 20}, Reviewers: 4,
	},
	"default": {
		Rounds: 5, Burst: 1000, AtOnce: []int{1, 100, 1000}, Singles: 100, Tracked: 2000, Others: 10000,
		Reviews: 4000, PodSizes: []int{4 << 10, 64 << 10, 1 << 20}, Reviewers: 4,
	},
	"full": {
		Rounds: 5, Burst: 5000, AtOnce: []int{1, 100, 1000}, Singles: 200, Tracked: 20000, Others: 100000,
		Reviews: 20000, PodSizes: []int{4 << 10, 64 << 10, 1 << 20}, Reviewers: 4,
	},
}

func sizesOf(scale string) (sizes, error) {
	s, ok := scales[scale]
	if !ok {
		return s, fmt.Errorf("--scale: %q is none of %s", scale, strings.Join(slices.Sorted(maps.Keys(scales)), ", "))
	}
	return s, nil
}
