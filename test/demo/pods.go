package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// pods are the pods of a namespace, those that are gone included.
type pods struct {
	tell func(string)

	mu   sync.Mutex
	seen []*corev1.Pod // as last seen, in the order in which they came
}

// followPods tells until ctx ends what happens to the pods of a namespace.
func followPods(ctx context.Context, cluster *kube.Cluster, namespace string, tell func(string)) *pods {
	p := &pods{tell: tell}
	go func() {
		for ctx.Err() == nil {
			p.watch(ctx, cluster, namespace)
		}
	}()
	return p
}

// watch looks until the watch ends, as it does now and then: the next one
// begins with all pods that exist.
func (p *pods) watch(ctx context.Context, cluster *kube.Cluster, namespace string) {
	w, err := cluster.Watch(ctx, &corev1.PodList{}, client.InNamespace(namespace))
	if err != nil {
		return
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		if pod, ok := event.Object.(*corev1.Pod); ok {
			p.look(pod)
			if event.Type == watch.Deleted {
				p.tell("deleted")
			}
		}
	}
}

func (p *pods) look(pod *corev1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.seen, func(s *corev1.Pod) bool { return s.UID == pod.UID })
	if i < 0 {
		i = len(p.seen)
		p.seen = append(p.seen, &corev1.Pod{})
		p.tell(creation(pod))
	}
	for _, what := range changes(p.seen[i], pod) {
		p.tell(what)
	}
	p.seen[i] = pod
}

// all returns the pods as last seen, in the order in which they came.
func (p *pods) all() []*corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// exitCode returns the exit code of the first pod's container, if that has ended.
func (p *pods) exitCode(container string) (code int32, ended bool) {
	if all := p.all(); len(all) > 0 {
		if t := terminated(all[0], container); t != nil {
			return t.ExitCode, true
		}
	}
	return 0, false
}

func creation(pod *corev1.Pod) string {
	if essential.IsTracked(pod) {
		return fmt.Sprintf("%s created, marked by the webhook: %s=%s",
			pod.Name, api.TrackedAnnotation, pod.Annotations[api.TrackedAnnotation])
	}
	return pod.Name + " created, not marked by the webhook"
}

// changes are what has happened to a pod from one look at it to the next.
func changes(before, now *corev1.Pod) (list []string) {
	for _, s := range now.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil && terminated(before, s.Name) == nil {
			list = append(list, fmt.Sprintf("container %s exited with code %d", s.Name, t.ExitCode))
		}
	}
	if essential.IsStopped(now) && !essential.IsStopped(before) {
		list = append(list, fmt.Sprintf("stopped by the reaper: %s=%s", api.StoppedAnnotation, now.Annotations[api.StoppedAnnotation]))
	}
	if now.Status.Phase != before.Status.Phase {
		list = append(list, "phase "+string(now.Status.Phase))
	}
	return list
}

func terminated(pod *corev1.Pod, container string) *corev1.ContainerStateTerminated {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Terminated
		}
	}
	return nil
}
