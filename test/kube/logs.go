package kube

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Line is one line of a container's log.
type Line struct {
	Time           time.Time // when the container runtime read it
	Pod, Container string
	Text           string
}

// Logs collects what the containers of a namespace print, from their start: a
// reaped pod takes its logs with it.
type Logs struct {
	cluster   *Cluster
	namespace string
	heard     func(Line)

	mu        sync.Mutex
	lines     []Line
	following map[string]bool // by container ID
	streams   sync.WaitGroup
}

// FollowLogs collects until ctx ends. heard, if not nil, is called with every line.
func (c *Cluster) FollowLogs(ctx context.Context, namespace string, heard func(Line)) *Logs {
	l := &Logs{cluster: c, namespace: namespace, heard: heard, following: map[string]bool{}}
	go func() {
		for ctx.Err() == nil {
			l.watch(ctx)
		}
	}()
	return l
}

// watch starts to follow every container that it sees started. A watch ends
// now and then: the next one begins with all pods that exist.
func (l *Logs) watch(ctx context.Context) {
	watch, err := l.cluster.Watch(ctx, &corev1.PodList{}, client.InNamespace(l.namespace))
	if err != nil {
		return
	}
	defer watch.Stop()
	for event := range watch.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		for _, s := range append(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses...) {
			if s.State.Running != nil || s.State.Terminated != nil {
				l.follow(ctx, pod.Name, s)
			}
		}
	}
}

func (l *Logs) follow(ctx context.Context, pod string, status corev1.ContainerStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if status.ContainerID == "" || l.following[status.ContainerID] {
		return
	}
	l.following[status.ContainerID] = true
	l.streams.Add(1)
	go func() {
		defer l.streams.Done()
		l.read(ctx, pod, status.Name)
	}()
}

func (l *Logs) read(ctx context.Context, pod, container string) {
	request := l.cluster.Clientset.CoreV1().Pods(l.namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Follow: true, Timestamps: true})
	stream, err := request.Stream(ctx)
	if err != nil {
		return
	}
	defer stream.Close()
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			continue // the kubelet's own words, such as that the container is gone
		}
		line := Line{at, pod, container, text}
		l.mu.Lock()
		l.lines = append(l.lines, line)
		l.mu.Unlock()
		if l.heard != nil {
			l.heard(line)
		}
	}
}

// Find returns the lines with this text, of pods whose name begins with prefix.
func (l *Logs) Find(prefix, text string) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Line
	for _, line := range l.lines {
		if line.Text == text && strings.HasPrefix(line.Pod, prefix) {
			found = append(found, line)
		}
	}
	return found
}

// Await waits for the text in the log of a pod whose name begins with prefix.
func (l *Logs) Await(ctx context.Context, prefix, text string) (Line, error) {
	err := Await(ctx, 2*time.Minute, func(context.Context) (bool, string) {
		return len(l.Find(prefix, text)) > 0, fmt.Sprintf("%q is not in the logs of %s*", text, prefix)
	})
	if err != nil {
		return Line{}, err
	}
	return l.Find(prefix, text)[0], nil
}

// String is all that was collected, for a failed test.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all strings.Builder
	for _, line := range l.lines {
		fmt.Fprintf(&all, "%s %s/%s: %s\n", line.Time.Format("15:04:05.000"), line.Pod, line.Container, line.Text)
	}
	return all.String()
}
