package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// sample is what a process says of itself in its metrics.
type sample struct {
	at         time.Time
	pod        string
	born       float64 // when the process started: a killed one has a successor in the same pod
	goroutines float64
	fds        float64
	memory     float64 // resident bytes
}

// judgedAge is for how long a process must have been seen to be judged.
const judgedAge = 40 * time.Second

// growth is how much more a process may have in the end, when all is quiet, than
// when it was first seen. A replica that becomes the leader starts its workers
// and watches; beyond that, a leak of one for each pod, Job or fault shows.
var growth = []struct {
	what  string
	of    func(sample) float64
	limit float64
	unit  float64
}{
	{"goroutines", func(s sample) float64 { return s.goroutines }, 80, 1},
	{"file descriptors", func(s sample) float64 { return s.fds }, 10, 1},
	{"MiB of memory", func(s sample) float64 { return s.memory }, 40, 1 << 20},
}

// process is one process's first and last sample.
type process struct{ first, last sample }

func (p process) judged() bool { return p.last.at.Sub(p.first.at) >= judgedAge }

// processesOf are all processes that were seen, in the order in which they were.
func processesOf(samples []sample) []process {
	type key struct {
		pod  string
		born float64
	}
	var all []process
	index := map[key]int{}
	for _, s := range samples {
		i, seen := index[key{s.pod, s.born}]
		if !seen {
			index[key{s.pod, s.born}] = len(all)
			all = append(all, process{s, s})
			continue
		}
		all[i].last = s
	}
	return all
}

// highest is the most resident memory that one of a component's processes had.
func highest(samples []sample, component string) (bytes float64) {
	for _, s := range samples {
		if strings.Contains(s.pod, "-"+component+"-") {
			bytes = max(bytes, s.memory)
		}
	}
	return bytes
}

func leaks(samples []sample) (found []violation) {
	for _, p := range processesOf(samples) {
		if !p.judged() {
			continue
		}
		for _, g := range growth {
			first, last := g.of(p.first)/g.unit, g.of(p.last)/g.unit
			if last > first+g.limit {
				found = append(found, violation{leakless, p.first.pod, fmt.Sprintf("%.0f %s, %.0f %v before", last, g.what, first, p.last.at.Sub(p.first.at).Round(time.Second))})
			}
		}
	}
	return found
}

// sampler reads the metrics of both programs now and then.
type sampler struct {
	cluster *kube.Cluster

	mu      sync.Mutex
	samples []sample
	exits   map[string]exit // by container ID
}

// exit is the end of a process.
type exit struct {
	pod    string
	code   int32
	reason string
}

// panicked is the exit code of a Go program that panics.
const panicked = 2

// exitsOf are those that the pod's status knows, by container ID.
func exitsOf(pod *corev1.Pod) map[string]exit {
	found := map[string]exit{}
	for _, s := range pod.Status.ContainerStatuses {
		for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
			if t != nil {
				found[t.ContainerID] = exit{pod.Name, t.ExitCode, t.Reason}
			}
		}
	}
	return found
}

func (s *sampler) run(ctx context.Context, every time.Duration) {
	for {
		_ = s.sample(ctx) // while the API server is away there is none
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// sample reads the metrics of every process of the release.
func (s *sampler) sample(ctx context.Context) error {
	var pods corev1.PodList
	if err := within(ctx, func(ctx context.Context) error { return s.cluster.List(ctx, &pods, client.InNamespace(kube.Release)) }); err != nil {
		return err
	}
	for _, pod := range pods.Items {
		s.mu.Lock()
		maps.Copy(s.exits, exitsOf(&pod))
		s.mu.Unlock()
		if pod.DeletionTimestamp != nil {
			continue // its address may be nobody's already, and not even refuse
		}
		var text []byte
		err := within(ctx, func(ctx context.Context) (err error) {
			text, err = s.cluster.Metrics(ctx, pod.Name)
			return err
		})
		if err != nil {
			continue // it is being restarted
		}
		taken, err := parseSample(pod.Name, text)
		if err != nil {
			return err
		}
		taken.at = time.Now()
		s.mu.Lock()
		s.samples = append(s.samples, taken)
		s.mu.Unlock()
	}
	return nil
}

// within bounds one request, so that one that gets no answer does not cost the
// others theirs.
func within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return do(ctx)
}

func (s *sampler) taken() ([]sample, []exit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples, slices.Collect(maps.Values(s.exits))
}

func parseSample(pod string, metrics []byte) (sample, error) {
	s := sample{pod: pod}
	for name, target := range map[string]*float64{
		"process_start_time_seconds":    &s.born,
		"go_goroutines":                 &s.goroutines,
		"process_open_fds":              &s.fds,
		"process_resident_memory_bytes": &s.memory,
	} {
		value, found := kube.Metric(metrics, name)
		if !found {
			return s, fmt.Errorf("%s has no metric %s", pod, name)
		}
		*target = value
	}
	return s, nil
}
