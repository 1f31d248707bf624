package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// diagnosis is what in the cluster may explain a failure, in lines that follow
// its own. What cannot be read is left out.
func (d *demo) diagnosis(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	lines := slices.Concat(d.unready(ctx), d.waiting(ctx), d.warnings(ctx, optedInNamespace), d.warnings(ctx, plainNamespace))
	return strings.Join(append([]string{""}, lines...), "\n")
}

// unready are the release's Deployments that lack pods.
func (d *demo) unready(ctx context.Context) (lines []string) {
	var deployments appsv1.DeploymentList
	_ = d.cluster.List(ctx, &deployments, client.InNamespace(kube.Release))
	for _, deployment := range deployments.Items {
		if s := deployment.Status; s.ReadyReplicas == 0 || s.ReadyReplicas < s.Replicas {
			lines = append(lines, fmt.Sprintf("Deployment %s: %d of %d pods are ready", deployment.Name, s.ReadyReplicas, s.Replicas))
		}
	}
	return lines
}

// waiting are the release's containers that do not start, as for an image that
// cannot be pulled.
func (d *demo) waiting(ctx context.Context) (lines []string) {
	var pods corev1.PodList
	_ = d.cluster.List(ctx, &pods, client.InNamespace(kube.Release))
	for _, pod := range pods.Items {
		for _, s := range pod.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil {
				lines = append(lines, fmt.Sprintf("Pod %s: %s: %s", pod.Name, w.Reason, w.Message))
			}
		}
	}
	return lines
}

// warnings are the Warning events of a namespace, as for a pod that may not be
// created.
func (d *demo) warnings(ctx context.Context, namespace string) (lines []string) {
	var events corev1.EventList
	_ = d.cluster.List(ctx, &events, client.InNamespace(namespace), client.MatchingFields{"type": corev1.EventTypeWarning})
	for _, e := range events.Items {
		lines = append(lines, fmt.Sprintf("%s %s/%s: %s: %s", e.InvolvedObject.Kind, namespace, e.InvolvedObject.Name, e.Reason, e.Message))
	}
	return lines
}
