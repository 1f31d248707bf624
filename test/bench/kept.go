package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
)

// kept measures what pods cost that stay after their end: their kubelet reads and
// writes the status of each every ten seconds, because the API server has another
// one than it has written. Half of the pods have succeeded and half have failed,
// each stopped by the reaper. The baseline is the same cluster before they are
// there.
func (b *bench) kept(ctx context.Context) (figures []*figure, err error) {
	s, err := b.newStage(ctx)
	if err != nil {
		return nil, err
	}
	i, err := b.install(ctx)
	if err != nil {
		return nil, errors.Join(err, s.leave(context.WithoutCancel(ctx)))
	}
	defer afterwards(ctx, &err, s.leave, i.uninstall)
	reaper, err := b.cluster.start(ctx, b.reaper)
	if err != nil {
		return nil, err
	}
	defer reaper.stop()
	f := func(name, unit string) *figure {
		f := &figure{Row: "kept", Name: fmt.Sprintf("%d kept pods, %s", b.sizes.Kept, name), Unit: unit, Baseline: "no pods"}
		figures = append(figures, f)
		return f
	}
	pods, verdicts := f("reads and writes of pods by the kubelet", "1/min"), f("verdicts of the webhook", "1/min")
	server, webhook := f("CPU of the API server", "% of a core"), f("CPU of the webhook", "% of a core")
	changed := f("pods that the writes have changed", "pods")
	changed.Baseline, changed.Absolute, changed.Reach = "", true, new(0.0)

	base, err := i.spend(ctx)
	if err != nil {
		return nil, err
	}
	versions, err := s.keep(ctx)
	if err != nil {
		return nil, err
	}
	own, err := i.spend(ctx)
	if err != nil {
		return nil, err
	}
	for round := range own {
		pods.add(own[round].pods, base[round].pods)
		verdicts.add(own[round].verdicts, base[round].verdicts)
		server.add(own[round].server, base[round].server)
		webhook.add(own[round].webhook, base[round].webhook)
	}
	now, err := b.cluster.versions(ctx)
	if err != nil {
		return nil, err
	}
	changed.add(float64(differing(versions, now)), 0)
	b.say("kept, with %d pods: %v requests/min, %v verdicts/min, %v and %v %% of a core for API server and webhook; changed: %v",
		b.sizes.Kept, pods.Rounds, verdicts.Rounds, server.Rounds, webhook.Rounds, changed.Rounds)
	return figures, nil
}

// spent is what a minute costs, and percents of a core.
type spent struct{ pods, verdicts, server, webhook float64 }

// spend takes one window after the other. What came before has a window to settle.
func (i *installation) spend(ctx context.Context) (windows []spent, err error) {
	type sample struct {
		load
		webhook float64
		at      time.Time
	}
	take := func() (s sample, err error) {
		if s.load, err = i.cluster.load(ctx); err != nil {
			return s, err
		}
		s.webhook, err = i.webhookCPU(ctx)
		s.at = time.Now()
		return s, err
	}
	window := time.Duration(i.sizes.Window) * time.Second
	time.Sleep(window)
	before, err := take()
	if err != nil {
		return nil, err
	}
	for range i.sizes.Rounds {
		time.Sleep(window - time.Since(before.at))
		after, err := take()
		if err != nil {
			return nil, err
		}
		seconds := after.at.Sub(before.at).Seconds()
		windows = append(windows, spent{
			pods:     (after.pods - before.pods) / seconds * 60,
			verdicts: (after.asked[statusesWebhook] - before.asked[statusesWebhook]) / seconds * 60,
			server:   (after.cpu - before.cpu) / seconds * 100,
			webhook:  (after.webhook - before.webhook) / seconds * 100,
		})
		before = after
	}
	return windows, nil
}

func (i *installation) webhookCPU(ctx context.Context) (float64, error) {
	metrics, err := getBy(ctx, i.inCluster(), "http://"+i.webhook.metrics+"/metrics")
	if err != nil {
		return 0, fmt.Errorf("getting the webhook's metrics: %w", err)
	}
	return numberIn(metrics, `process_cpu_seconds_total (\S+)`)
}

// keep has pods run, end and stay, and returns their versions.
func (s *stage) keep(ctx context.Context) (map[string]string, error) {
	const starter = "start-kept"
	if err := s.records.pipe(starter); err != nil {
		return nil, err
	}
	pods := make([]*corev1.Pod, s.sizes.Kept)
	for n := range pods {
		pods[n] = keptPod(fmt.Sprintf("kept-%d", n), s.node, starter, n%2 == 1)
	}
	if err := s.cluster.run(ctx, pods); err != nil {
		return nil, err
	}
	start, err := s.records.open(starter)
	if err != nil {
		return nil, err
	}
	defer start.Close()
	if err := kube.Await(ctx, 3*time.Minute, s.cluster.allKept); err != nil {
		return nil, err
	}
	time.Sleep(time.Duration(s.sizes.Window) * time.Second) // what the kubelet reports once more, of the pods' end, is no repetition
	return s.cluster.versions(ctx)
}

// keptPod is one that the reaper stops and does not delete.
func keptPod(name, node, starter string, fails bool) *corev1.Pod {
	p := kubeletPod(name, node, byReaper, starter, 0)
	p.Annotations[api.RetentionAnnotation] = "Forever"
	if fails {
		p.Spec.Containers[0].Command[2] += "; exit 3"
	}
	return p
}

// allKept reports whether every pod has the verdict on it, whatever that is.
func (c *cluster) allKept(ctx context.Context) (bool, string) {
	list, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err.Error()
	}
	decided := 0
	for i := range list.Items {
		if s := &list.Items[i].Status; s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed && s.Reason == api.FailedReason {
			decided++
		}
	}
	return decided == len(list.Items), fmt.Sprintf("%d of %d pods have ended as they should", decided, len(list.Items))
}

// versions are the pods' resourceVersions, by name.
func (c *cluster) versions(ctx context.Context) (map[string]string, error) {
	list, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	versions := map[string]string{}
	for i := range list.Items {
		versions[list.Items[i].Name] = list.Items[i].ResourceVersion
	}
	return versions, nil
}

// differing counts the pods that have changed, are gone or are new.
func differing(before, after map[string]string) (count int) {
	for name, version := range before {
		if after[name] != version {
			count++
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			count++
		}
	}
	return count
}
