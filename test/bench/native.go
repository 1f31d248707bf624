package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// native measures the time from main's exit to the sidecar's SIGTERM of pods that
// the webhook has converted, compared with the same pods written by hand. The kubelet
// ends both, without a reaper. It looks once a second, so that one pod's time
// differs from the next one's by up to that: mains of a pair end at the same
// moment, one pair after another, and the median of their ratios counts.
func (b *bench) native(ctx context.Context) (figures []*figure, err error) {
	s, err := b.newStage(ctx)
	if err != nil {
		return nil, err
	}
	stop, err := b.ask(ctx)
	if err != nil {
		return nil, errors.Join(err, s.leave(context.WithoutCancel(ctx)))
	}
	defer afterwards(ctx, &err, stop, s.leave)
	f := &figure{
		Row: "native", Name: fmt.Sprintf("main's exit to SIGTERM, %d pods that the webhook has converted, p50", b.sizes.Rounds*b.sizes.Pairs), Unit: "ms",
		Baseline: "the same pods written with a native sidecar", Reach: new(1.0), Within: 0.05,
	}
	for i := range b.sizes.Rounds {
		took, err := s.play(ctx, []stopper{byWebhook, byKubelet}, 1, oneByOne(b.sizes.Pairs))
		if err != nil {
			return nil, err
		}
		r := f.addPairs(took[byWebhook], took[byKubelet])
		b.say("native, %d of %d: converted %.0f ms, written by hand %.0f ms, median ratio %.2f", i+1, b.sizes.Rounds, r.Own, r.Base, r.ratio())
	}
	return []*figure{f}, nil
}

// apart is how far mains end from each other on average that end one by one.
const apart = 500 * time.Millisecond

// oneByOne are pauses in random order, of two seconds and more, each with a
// random part of [apart].
func oneByOne(count int) []time.Duration {
	list := make([]time.Duration, count)
	for i := range list {
		list[i] = 2*time.Second + time.Duration((float64(i)+rand.Float64())*float64(apart))
	}
	rand.Shuffle(count, func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// compare fails unless the webhook has tracked the pods of the reaper and of the
// loop, and has made of each pod that it converts the one that is written by hand.
func (a act) compare() error {
	for _, p := range slices.Concat(a.pods[byReaper], a.pods[byLoop]) {
		if !essential.IsTracked(p) {
			return fmt.Errorf("the webhook has not tracked pod %s", p.Name)
		}
	}
	for i, p := range a.pods[byWebhook] {
		got, err := specOf(p)
		if err != nil {
			return err
		}
		want, err := specOf(a.pods[byKubelet][i])
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("the webhook has not made of pod %s what is written by hand: it is\n%s, not\n%s", p.Name, got, want)
		}
	}
	return nil
}

// specOf leaves out the pod's name, which is in its scripts.
func specOf(p *corev1.Pod) (string, error) {
	spec, err := json.Marshal(p.Spec)
	return strings.ReplaceAll(string(spec), p.Name, "NAME"), err
}
