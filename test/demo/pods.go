package main

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// follow prints what the containers of a namespace print, and what happens to its pods.
func (d *demo) follow(ctx context.Context, namespace, where string) {
	d.logs[namespace] = d.cluster.FollowLogs(ctx, namespace, func(l kube.Line) { d.say("  %-8s  %-7s | %s", where, l.Container, l.Text) })
	go func() {
		for ctx.Err() == nil {
			w, err := d.cluster.Watch(ctx, &corev1.PodList{}, client.InNamespace(namespace))
			if err != nil {
				continue
			}
			for event := range w.ResultChan() { // ends now and then; the next watch begins with all pods
				if pod, ok := event.Object.(*corev1.Pod); ok {
					if text, isNew := d.look(pod, event.Type == watch.Deleted); isNew {
						d.say("  %-8s  pod     | %s", where, text)
					}
				}
			}
		}
	}()
}

// look keeps the pod, and describes it. It returns whether the description is a new one.
func (d *demo) look(pod *corev1.Pod, deleted bool) (text string, isNew bool) {
	text = string(pod.Status.Phase)
	for _, s := range pod.Status.ContainerStatuses {
		text += fmt.Sprintf(", %s %s", s.Name, state(pod, s.Name))
	}
	if essential.IsTracked(pod) {
		text += "; marked by the webhook"
	}
	if essential.IsStopped(pod) {
		text += "; stopped by the reaper"
	}
	if deleted {
		text = "deleted"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.pods[pod.Namespace], func(p *corev1.Pod) bool { return p.UID == pod.UID }); i >= 0 {
		d.pods[pod.Namespace][i] = pod
	} else {
		d.pods[pod.Namespace] = append(d.pods[pod.Namespace], pod)
	}
	isNew = d.said[pod.Name] != text
	d.said[pod.Name] = text
	return text, isNew
}

// seen returns the pods of a namespace, as last seen, the oldest first.
func (d *demo) seen(namespace string) []*corev1.Pod {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.pods[namespace])
}

// state returns the state of a container in words.
func state(pod *corev1.Pod, container string) string {
	for _, s := range pod.Status.ContainerStatuses {
		switch {
		case s.Name == container && s.State.Terminated != nil:
			return fmt.Sprintf("exited with code %d", s.State.Terminated.ExitCode)
		case s.Name == container && s.State.Running != nil:
			return "running"
		}
	}
	return "waiting"
}
