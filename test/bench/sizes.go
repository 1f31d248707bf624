package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sizes are how much of everything one run measures.
type sizes struct {
	Rounds    int    `json:"rounds"`
	Burst     int    `json:"burst"`     // pods that have completed at once, to be stopped and deleted
	Reaped    int    `json:"reaped"`    // pods whose requests are counted, from completion to deletion, in each round
	Waves     []wave `json:"waves"`     // pods that complete together, to be stopped
	Tracked   int    `json:"tracked"`   // pods in the memory of the watchers
	Others    int    `json:"others"`    // pods without the label, in addition
	Starts    int    `json:"starts"`    // of each program in a round
	Reviews   int    `json:"reviews"`   // admission requests of a round, of the smallest pod
	PodSizes  []int  `json:"podSizes"`  // bytes of a pod under admission
	Reviewers int    `json:"reviewers"` // that ask at the same time
	Acts      int    `json:"acts"`      // how often one main alone ends on the real kubelet, in each round
	Crowd     int    `json:"crowd"`     // mains of each kind that end at once there
	Pairs     int    `json:"pairs"`     // of a pod that the webhook has converted and one written by hand, in each round
	Creations int    `json:"creations"` // pods created for each handler in a round
	Creators  int    `json:"creators"`  // that create at the same time
	Sidecars  []int  `json:"sidecars"`  // of a pod that is converted
	Converted int    `json:"converted"` // pods created in each mode in a round
	Kept      int    `json:"kept"`      // pods of the real kubelet that stay after their end
	Window    int    `json:"window"`    // seconds in each round in which its requests for them are counted
	Statuses  int    `json:"statuses"`  // pods whose status is written, of each kind in each turn
	Turns     int    `json:"turns"`     // with and without the installation, in each round
}

// wave is some pods that complete at once.
type wave struct {
	Size  int  `json:"size"`
	Times int  `json:"times"` // how often, one after another, in each turn
	Idle  bool `json:"idle"`  // measured with idle pods too
}

var scales = map[string]sizes{
	"small": {
		Rounds: 5, Burst: 300, Reaped: 50, Waves: []wave{{1, 50, true}, {100, 1, true}},
		Tracked: 1000, Others: 5000, Starts: 2,
		Reviews: 1000, PodSizes: []int{4 << 10, 64 << 10, 1 << 20}, Reviewers: 4,
		Acts: 5, Crowd: 10, Pairs: 8, Creations: 200, Creators: 4, Sidecars: []int{1, 5, 20}, Converted: 40,
		Statuses: 400, Turns: 1, Kept: 20, Window: 10,
	},
	"default": {
		Rounds: 5, Burst: 5000, Reaped: 200, Waves: []wave{{1, 130, false}, {100, 3, true}, {1000, 1, false}},
		Tracked: 10000, Others: 50000, Starts: 4,
		Reviews: 4000, PodSizes: []int{4 << 10, 64 << 10, 1 << 20}, Reviewers: 4,
		Acts: 4, Crowd: 10, Pairs: 15, Creations: 300, Creators: 4, Sidecars: []int{1, 5, 20}, Converted: 100,
		Statuses: 500, Turns: 2, Kept: 100, Window: 10,
	},
	"full": {
		Rounds: 5, Burst: 5000, Reaped: 200, Waves: []wave{{1, 200, true}, {100, 10, true}, {1000, 2, true}},
		Tracked: 50000, Others: 100000, Starts: 10,
		Reviews: 20000, PodSizes: []int{4 << 10, 64 << 10, 1 << 20}, Reviewers: 4,
		Acts: 10, Crowd: 34, Pairs: 40, Creations: 2000, Creators: 4, Sidecars: []int{1, 5, 20}, Converted: 500,
		Statuses: 2000, Turns: 10, Kept: 100, Window: 30,
	},
}

func sizesOf(scale string) (sizes, error) {
	s, ok := scales[scale]
	if !ok {
		return s, fmt.Errorf("--scale: %q is none of %s", scale, strings.Join(slices.Sorted(maps.Keys(scales)), ", "))
	}
	return s, nil
}
