package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// handler is who the API server asks about a labelled pod.
type handler string

const (
	webhookHandler  handler = "webhook"
	baselineHandler handler = "baseline" // allows everything
	patchingHandler handler = "patching" // allows everything, with the patch that the webhook answers
	noHandler       handler = "none"
)

var handlers = []handler{webhookHandler, baselineHandler, patchingHandler, noHandler}

// handlerLabel on a pod says which handler is asked about it: all are registered
// all the time, so that nothing has to be changed between turns.
const handlerLabel = "example.com/handler"

// batch is how many pods a creator creates until it is another handler's turn.
const batch = 10

// creation measures how long the creation of a labelled pod takes at the API
// server, with the webhook, with handlers that allow everything, and with none.
func (b *bench) creation(ctx context.Context) (figures []*figure, err error) {
	if err := b.clear(ctx); err != nil {
		return nil, err
	}
	stop, err := b.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer afterwards(ctx, &err, stop, b.cluster.clear)
	for _, creators := range []int{1, b.sizes.Creators} {
		f := func(beside, p, baseline string, reach *float64) *figure {
			name := fmt.Sprintf("creation of a pod, %d at a time%s, %s", creators, beside, p)
			return &figure{Row: "creation", Name: name, Unit: "ms", Baseline: baseline, Reach: reach}
		}
		p50, p99 := f("", "p50", "handler that allows everything", new(1.1)), f("", "p99", "handler that allows everything", new(1.1))
		patching := f(", compared with the same patch", "p50", "handler that allows everything, with the webhook's patch", nil)
		none := f(", compared with no webhook", "p50", "no webhook", nil)
		for i := range b.sizes.Rounds {
			took, err := b.createRound(ctx, i, creators)
			if err != nil {
				return nil, err
			}
			at := func(of handler, p float64) float64 { return percentile(took[of], p) }
			p50.add(at(webhookHandler, 50), at(baselineHandler, 50))
			p99.add(at(webhookHandler, 99), at(baselineHandler, 99))
			patching.add(at(webhookHandler, 50), at(patchingHandler, 50))
			none.add(at(webhookHandler, 50), at(noHandler, 50))
			b.say("creation by %d, %d of %d: webhook p50 %.1f ms, p99 %.1f ms; baseline %.1f, %.1f; with the patch %.1f; none %.1f", creators, i+1, b.sizes.Rounds,
				at(webhookHandler, 50), at(webhookHandler, 99), at(baselineHandler, 50), at(baselineHandler, 99), at(patchingHandler, 50), at(noHandler, 50))
		}
		figures = append(figures, p50, p99, patching, none)
	}
	return figures, nil
}

// createRound returns milliseconds for every handler. The API server counts whom
// it asks: what was not asked was not measured.
func (b *bench) createRound(ctx context.Context, round, creators int) (milliseconds map[handler][]float64, err error) {
	if err := b.clear(ctx); err != nil {
		return nil, err
	}
	before, err := b.cluster.load(ctx)
	if err != nil {
		return nil, err
	}
	milliseconds = map[handler][]float64{}
	turns := max(1, b.sizes.Creations/(batch*creators))
	for turn := range turns {
		for i := range handlers {
			of := handlers[(round+turn+i)%len(handlers)]
			took, err := b.createBatch(ctx, of, fmt.Sprintf("%s-%d-%d", of, creators, turn), creators)
			if err != nil {
				return nil, err
			}
			milliseconds[of] = append(milliseconds[of], took...)
		}
	}
	after, err := b.cluster.load(ctx)
	if err != nil {
		return nil, err
	}
	for _, of := range handlers {
		want := float64(turns * creators * batch)
		if of == noHandler {
			want = 0
		}
		if got := after.asked[of.name()] - before.asked[of.name()]; got != want {
			return nil, fmt.Errorf("the API server has asked handler %s %.0f times, not %.0f times", of, got, want)
		}
	}
	return milliseconds, nil
}

func (b *bench) createBatch(ctx context.Context, of handler, prefix string, creators int) (milliseconds []float64, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for creator := range creators {
		group.Go(func() {
			for i := range batch {
				took, failure := b.createOne(ctx, of, fmt.Sprintf("%s-%d-%d", prefix, creator, i))
				mu.Lock()
				milliseconds, err = append(milliseconds, took.Seconds()*1000), errors.Join(err, failure)
				mu.Unlock()
				if failure != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return milliseconds, err
}

// labelledPod is one that no webhook has seen.
func labelledPod(name string, of handler) *corev1.Pod {
	p := pod(name, true, false)
	delete(p.Annotations, api.TrackedAnnotation)
	p.Labels[handlerLabel] = string(of)
	return p
}

func (b *bench) createOne(ctx context.Context, of handler, name string) (took time.Duration, err error) {
	created, took, err := b.cluster.timed(ctx, labelledPod(name, of))
	if err != nil {
		return took, err
	}
	if tracked := essential.IsTracked(created); tracked != (of == webhookHandler || of == patchingHandler) {
		return took, fmt.Errorf("a pod of handler %s is tracked: %t", of, tracked)
	}
	return took, nil
}

// timed creates a pod and takes the time.
func (c *cluster) timed(ctx context.Context, p *corev1.Pod) (created *corev1.Pod, took time.Duration, err error) {
	begin := time.Now()
	created, err = c.CoreV1().Pods(namespace).Create(ctx, p, metav1.CreateOptions{})
	took = time.Since(begin)
	if err != nil {
		err = fmt.Errorf("creating a pod: %w", err)
	}
	return created, took, err
}

// ask has the API server ask the webhook and its baselines about pods, until
// stop.
func (b *bench) ask(ctx context.Context) (stop func(context.Context) error, err error) {
	endpoints, bundle, end, err := b.serveHandlers(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := b.podsWebhook(ctx)
	if err != nil {
		end()
		return nil, err
	}
	unregister, err := b.register(ctx, newRegistration(pods, endpoints, bundle))
	if err != nil {
		end()
		return nil, err
	}
	stop = func(ctx context.Context) error {
		defer end()
		return unregister(ctx)
	}
	if err := b.awaitAsked(ctx); err != nil {
		return nil, errors.Join(err, stop(context.WithoutCancel(ctx)))
	}
	return stop, nil
}

// awaitAsked waits until the API server knows of the handlers. It leaves no pod:
// the node of these has no kubelet that would let one go.
func (b *bench) awaitAsked(ctx context.Context) error {
	return kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		p, err := b.cluster.CoreV1().Pods(namespace).Create(ctx, labelledPod("try", webhookHandler), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil && essential.IsTracked(p), fmt.Sprintf("the webhook is not asked yet (%v)", err)
	})
}
