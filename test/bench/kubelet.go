package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// between is the time from the end of one act to the beginning of the next, for
// the deletions of the one not to be in the other.
const between = 500 * time.Millisecond

// kubelet measures the time from the end of a main container to the SIGTERM of
// its sidecar, on a real kubelet, which takes a second or two: it looks
// at its containers once a second. That differs from pod to pod, and in a crowd
// from one crowd to the next, by far more than what matters here. So mains of all
// stoppers end at the same moment, while the reaper and the bare loop both run,
// each for its own pods: the kubelet's part is the same for all.
func (b *bench) kubelet(ctx context.Context) (figures []*figure, err error) {
	s, err := b.newStage(ctx)
	if err != nil {
		return nil, err
	}
	i, err := b.install(ctx)
	if err != nil {
		return nil, errors.Join(err, s.leave(context.WithoutCancel(ctx)))
	}
	defer afterwards(ctx, &err, s.leave, i.uninstall)
	loop := b.loop
	loop.args = append(slices.Clone(loop.args), "--selector="+loopSelector)
	for _, who := range []contender{b.reaper, loop} {
		p, err := b.cluster.start(ctx, who)
		if err != nil {
			return nil, err
		}
		defer p.stop()
	}
	for _, play := range []struct {
		name           string
		acts, together int
	}{
		{"one pod at a time", b.sizes.Acts, 1},
		{fmt.Sprintf("%d mains at once", len(stoppers)*b.sizes.Crowd), 1, b.sizes.Crowd},
	} {
		f := func(than, baseline string) *figure {
			return &figure{Row: "kubelet", Name: "main's exit to SIGTERM, " + play.name + than + ", p50", Unit: "ms", Baseline: baseline}
		}
		looped, native := f("", "bare client-go loop"), f(", and a native sidecar's", "native sidecar")
		looped.Reach, looped.Difference = new(50.0), true
		for i := range b.sizes.Rounds {
			took, err := s.play(ctx, stoppers, play.acts, pauses(play.acts*play.together))
			if err != nil {
				return nil, err
			}
			looped.add(median(took[byReaper]), median(took[byLoop]))
			native.add(median(took[byReaper]), median(took[byKubelet]))
			b.say("kubelet, %s, %d of %d: reaper %.0f ms, loop %.0f ms, native %.0f ms", play.name, i+1, b.sizes.Rounds,
				median(took[byReaper]), median(took[byLoop]), median(took[byKubelet]))
		}
		figures = append(figures, looped, native)
	}
	return figures, nil
}

// stage is where pods of a real kubelet are measured.
type stage struct {
	*bench
	node    string
	records records
	plays   int // so far
}

// newStage is one without the pods of an interrupted run. It is to be left.
func (b *bench) newStage(ctx context.Context) (*stage, error) {
	node, err := b.cluster.kubeletNode(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.cluster.end(ctx); err != nil {
		return nil, err
	}
	records, err := newRecords(b.local.State())
	return &stage{bench: b, node: node, records: records}, err
}

func (s *stage) leave(ctx context.Context) error {
	return errors.Join(s.cluster.end(ctx), s.records.remove())
}

// act is what one pipe starts: after one pause each, mains of all stoppers end.
type act struct {
	starter string // their pipe
	pods    map[stopper][]*corev1.Pod
}

// newPlay are so many acts, each with its share of the pauses, and a pod of every
// stopper for each of these.
func newPlay(number int, node string, by []stopper, acts int, pauses []time.Duration) (play []act, all []*corev1.Pod) {
	together := len(pauses) / acts
	for a := range acts {
		act := act{starter: fmt.Sprintf("start-%d-%d", number, a), pods: map[stopper][]*corev1.Pod{}}
		for i := range together {
			for _, by := range by {
				p := kubeletPod(fmt.Sprintf("%s-%d-%d-%d", by, number, a, i), node, by, act.starter, pauses[a*together+i])
				act.pods[by] = append(act.pods[by], p)
				all = append(all, p)
			}
		}
		play = append(play, act)
	}
	return play, all
}

// play makes all pods first and returns the times of each stopper, in
// milliseconds.
func (s *stage) play(ctx context.Context, by []stopper, acts int, pauses []time.Duration) (milliseconds map[stopper][]float64, err error) {
	play, pods := newPlay(s.plays, s.node, by, acts, pauses)
	s.plays++
	for _, act := range play {
		if err := s.records.pipe(act.starter); err != nil {
			return nil, err
		}
	}
	if err := s.cluster.run(ctx, pods); err != nil {
		return nil, err
	}
	milliseconds = map[stopper][]float64{}
	for _, act := range play {
		if err := act.compare(); err != nil {
			return nil, err
		}
		time.Sleep(between)
		if err := s.act(ctx, act, milliseconds); err != nil {
			return nil, err
		}
	}
	return milliseconds, s.cluster.end(ctx)
}

func (s *stage) act(ctx context.Context, act act, milliseconds map[stopper][]float64) error {
	start, err := s.records.open(act.starter)
	if err != nil {
		return err
	}
	defer start.Close()
	for by, pods := range act.pods {
		took, err := s.records.await(ctx, pods)
		if err != nil {
			return err
		}
		milliseconds[by] = append(milliseconds[by], took...)
	}
	return nil
}
