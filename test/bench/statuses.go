package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// statusWrite is a change of status that a kubelet writes.
type statusWrite struct {
	name          string
	pod           kind
	stopped       bool // the pod, by the reaper
	change        func(*corev1.Pod)
	with, without corev1.PodPhase // the pod's, once it is written
	verdict       bool            // the webhook is asked
}

// statusWrites are all writes that are measured. At those of untracked pods, most
// of a cluster's, the API server looks at nothing but that they have no label.
var statusWrites = []statusWrite{
	{name: "untracked pods that fail", pod: kind{prefix: "untracked", status: done}, change: ended, with: corev1.PodFailed, without: corev1.PodFailed},
	{name: "tracked pods whose main ends", pod: kind{prefix: "tracked", tracked: true, status: running}, change: completed, with: corev1.PodRunning, without: corev1.PodRunning},
	{name: "tracked pods that fail", pod: kind{prefix: "failing", tracked: true, status: done}, stopped: true, change: ended, with: corev1.PodSucceeded, without: corev1.PodFailed, verdict: true},
}

// statuses measures what it costs a kubelet to write the status of a pod that the
// chart is installed: its webhook is for one kind of write, but the API server has
// to find out which that is. The baseline is the same cluster without webhook
// configurations and policies.
func (b *bench) statuses(ctx context.Context) (figures []*figure, err error) {
	if err := b.clear(ctx); err != nil {
		return nil, err
	}
	templates, err := b.statusTemplates(ctx)
	if err != nil {
		return nil, err
	}
	i, err := b.install(ctx)
	if err != nil {
		return nil, err
	}
	defer afterwards(ctx, &err, i.uninstall, b.cluster.clear)
	f := func(w statusWrite, what, unit string) *figure {
		f := &figure{Row: "statuses", Name: fmt.Sprintf(what, w.name), Unit: unit, Baseline: "without webhook configurations and policies"}
		figures = append(figures, f)
		return f
	}
	rates, alone, cpu := map[string]*figure{}, map[string]*figure{}, map[string]*figure{}
	for _, w := range statusWrites {
		rates[w.name] = f(w, fmt.Sprintf("status writes, %d at a time, of %%s", b.sizes.Creators), "1/s")
		rates[w.name].Higher = true
		alone[w.name] = f(w, "status write, 1 at a time, of %s, p50", "ms")
		cpu[w.name] = f(w, "API server's CPU for a status write of %s", "ms")
		if !w.verdict { // nothing measurable is the goal
			rates[w.name].Reach, cpu[w.name].Reach = new(0.95), new(1.05)
		}
	}
	for round := range b.sizes.Rounds {
		took := map[bool]map[string]*written{true: {}, false: {}}
		for turn := range b.sizes.Turns {
			err := b.inTurns(round+turn, func(own bool) error {
				return i.writeAll(ctx, round+turn, own, templates, took[own])
			})
			if err != nil {
				return nil, err
			}
		}
		for _, w := range statusWrites {
			own, base := took[true][w.name], took[false][w.name]
			rates[w.name].add(own.rate(), base.rate())
			alone[w.name].add(median(own.alone), median(base.alone))
			cpu[w.name].add(own.cpu(), base.cpu())
			b.say("statuses of %s, %d of %d: %.0f/s with, %.0f/s without; p50 %.2f ms, %.2f ms; CPU %.2f ms, %.2f ms", w.name, round+1, b.sizes.Rounds,
				own.rate(), base.rate(), median(own.alone), median(base.alone), own.cpu(), base.cpu())
		}
	}
	return figures, nil
}

// written is how long some writes took.
type written struct {
	together   int       // how many, some at a time
	seconds    float64   // for all of these
	alone      []float64 // milliseconds for each of the others
	cpuSeconds float64   // of the API server, for all
}

func (w *written) rate() float64 { return float64(w.together) / w.seconds }
func (w *written) cpu() float64  { return w.cpuSeconds * 1000 / float64(w.together+len(w.alone)) }

// statusTemplates are a pod for each kind of write, as the API server stores it
// before that.
func (b *bench) statusTemplates(ctx context.Context) (map[string]*corev1.Pod, error) {
	templates := map[string]*corev1.Pod{}
	for _, w := range statusWrites {
		if err := b.cluster.createFirst(ctx, w.pod); err != nil {
			return nil, err
		}
		p, err := b.cluster.stored(ctx, w.pod.name(0))
		if err != nil {
			return nil, err
		}
		if w.stopped {
			stop, err := stopPatch(p, time.Now())
			if err != nil {
				return nil, err
			}
			if _, err := b.cluster.CoreV1().Pods(namespace).Patch(ctx, p.Name, types.MergePatchType, stop, metav1.PatchOptions{}); err != nil {
				return nil, fmt.Errorf("stopping a pod: %w", err)
			}
			if p, err = b.cluster.stored(ctx, p.Name); err != nil {
				return nil, err
			}
		}
		templates[w.name] = p
	}
	return templates, nil
}

// writeAll measures all kinds of write, in another order each turn, with the
// installation switched on or off. What the API server makes of the writes, and
// how often it asks, is checked: the run fails if it is something else.
func (i *installation) writeAll(ctx context.Context, turn int, on bool, templates map[string]*corev1.Pod, took map[string]*written) error {
	turned := i.off
	if on {
		turned = i.on
	}
	if err := turned(ctx); err != nil {
		return err
	}
	for n := range statusWrites {
		w := statusWrites[(turn+n)%len(statusWrites)]
		if took[w.name] == nil {
			took[w.name] = &written{}
		}
		if err := i.writeStatuses(ctx, w, on, templates[w.name], took[w.name]); err != nil {
			return fmt.Errorf("%s, with the installation %t: %w", w.name, on, err)
		}
	}
	return nil
}

// check fails unless the API server has asked for a verdict on each of the writes,
// or on none.
func (w statusWrite) check(on bool, writes int, verdicts float64) error {
	want := 0
	if on && w.verdict {
		want = writes
	}
	if verdicts != float64(want) {
		return fmt.Errorf("the API server has asked for %.0f verdicts, not %d", verdicts, want)
	}
	return nil
}

func (w statusWrite) phase(on bool) corev1.PodPhase {
	if on {
		return w.with
	}
	return w.without
}

// writeStatuses writes the status of pods of their own, first some at a time and
// then one at a time.
func (i *installation) writeStatuses(ctx context.Context, w statusWrite, on bool, template *corev1.Pod, took *written) error {
	if err := i.clear(ctx); err != nil {
		return err
	}
	together, alone := i.sizes.Statuses, i.sizes.Statuses/4
	pods, patches := make([]*corev1.Pod, together+alone), make([][]byte, together+alone)
	err := each(writers, len(pods), func(n int) (err error) {
		pods[n] = copyNamed(template, w.pod.name(n))
		if patches[n], err = statusPatch(pods[n], w.change); err != nil {
			return err
		}
		return i.cluster.store(ctx, pods[n])
	})
	if err != nil {
		return err
	}
	before, err := i.cluster.load(ctx)
	if err != nil {
		return err
	}
	write := func(n int) error {
		p, err := i.cluster.CoreV1().Pods(namespace).Patch(ctx, pods[n].Name, types.StrategicMergePatchType, patches[n], metav1.PatchOptions{}, "status")
		if err != nil {
			return fmt.Errorf("writing the status of a pod: %w", err)
		}
		if want := w.phase(on); p.Status.Phase != want {
			return fmt.Errorf("a pod is %s, not %s", p.Status.Phase, want)
		}
		return nil
	}
	start := time.Now()
	if err := each(i.sizes.Creators, together, write); err != nil {
		return err
	}
	took.together, took.seconds = took.together+together, took.seconds+time.Since(start).Seconds()
	for n := range alone {
		start := time.Now()
		if err := write(together + n); err != nil {
			return err
		}
		took.alone = append(took.alone, time.Since(start).Seconds()*1000)
	}
	after, err := i.cluster.load(ctx)
	took.cpuSeconds += after.cpu - before.cpu
	return errors.Join(err, w.check(on, len(pods), after.asked[statusesWebhook]-before.asked[statusesWebhook]))
}
