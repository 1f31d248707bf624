package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// times are when one pod was seen, on the node's own watch, to have completed,
// to have been stopped and to be gone: one clock for all contenders.
type times struct{ completed, stopped, gone time.Time }

// node is the kubelet of the pods for the API server: it watches them and writes
// their statuses, but runs nothing.
type node struct {
	end ending // nil: stopped pods keep running

	mu      sync.Mutex
	seen    map[string]*times
	changed chan struct{} // has room for one: look again
	stopped chan *corev1.Pod
	err     error
}

// writers is how many statuses are written at the same time.
const writers = 16

// startNode watches until ctx ends. resourceVersion is where the watch begins.
func startNode(ctx context.Context, clients kubernetes.Interface, resourceVersion string, end ending) (*node, error) {
	watcher, err := watchPods(ctx, clients, namespace, api.Label, resourceVersion)
	if err != nil {
		return nil, fmt.Errorf("watching the node's pods: %w", err)
	}
	n := &node{
		end: end, seen: map[string]*times{},
		changed: make(chan struct{}, 1), stopped: make(chan *corev1.Pod, 1<<17),
	}
	go n.watch(ctx, watcher)
	for range writers {
		go n.endStopped(ctx)
	}
	return n, nil
}

// watchPods watches from there on, and resumes where it was if the API server
// ends the watch: it does that to those that are slow, on a busy machine.
func watchPods(ctx context.Context, clients kubernetes.Interface, namespace, selector, resourceVersion string) (watch.Interface, error) {
	return watchtools.NewRetryWatcherWithContext(ctx, resourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = selector
			return clients.CoreV1().Pods(namespace).Watch(ctx, options)
		},
	})
}

func (n *node) watch(ctx context.Context, watcher watch.Interface) {
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		now := time.Now()
		switch object := event.Object.(type) {
		case *corev1.Pod:
			n.note(event.Type, object, now)
		default:
			n.fail(fmt.Errorf("the node's watch: %w", apierrors.FromObject(object)))
		}
	}
	if ctx.Err() == nil {
		n.fail(errors.New("the node's watch ended: what it missed cannot be measured"))
	}
}

func (n *node) note(kind watch.EventType, p *corev1.Pod, now time.Time) {
	n.mu.Lock()
	t := n.seen[p.Name]
	if t == nil {
		t = &times{}
		n.seen[p.Name] = t
	}
	ends := false
	switch {
	case kind == watch.Deleted:
		t.gone = now
	case essential.IsStopped(p):
		if t.stopped.IsZero() {
			t.stopped = now
			ends = n.end != nil
		}
	case isCompleted(p) && t.completed.IsZero():
		t.completed = now
	}
	n.mu.Unlock()
	if ends {
		n.stopped <- p
	}
	n.wake()
}

func (n *node) wake() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *node) fail(err error) {
	n.mu.Lock()
	n.err = errors.Join(n.err, err)
	n.mu.Unlock()
	n.wake()
}

func (n *node) endStopped(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-n.stopped:
			if err := n.end(ctx, p); err != nil && ctx.Err() == nil {
				n.fail(fmt.Errorf("ending pod %s: %w", p.Name, err))
			}
		}
	}
}

// await returns when the count of the pods of which reached holds is at least
// count.
func (n *node) await(ctx context.Context, what string, count int, reached func(*times) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		n.mu.Lock()
		have, err := 0, n.err
		for _, t := range n.seen {
			if reached(t) {
				have++
			}
		}
		n.mu.Unlock()
		switch {
		case err != nil:
			return err
		case have >= count:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d pods are %s: %w", have, count, what, ctx.Err())
		case <-n.changed:
		}
		// Counting at every event would keep a core busy.
		pause := min(time.Duration(count)*20*time.Microsecond, 50*time.Millisecond)
		time.Sleep(pause)
	}
}

func (n *node) awaitStopped(ctx context.Context, count int) error {
	return n.await(ctx, "stopped", count, func(t *times) bool { return !t.stopped.IsZero() })
}

func (n *node) awaitGone(ctx context.Context, count int) error {
	return n.await(ctx, "gone", count, func(t *times) bool { return !t.gone.IsZero() })
}

// all are the times of all pods, by name; nothing may be measured any more.
func (n *node) all() map[string]*times {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.seen
}
