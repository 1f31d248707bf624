//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// scale sets the replicas of one of the release's Deployments.
func (s *scene) scale(deployment, component string, replicas int) {
	s.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	s.must(cluster.Patch(s.ctx, releaseDeployment(deployment), client.RawPatch(types.MergePatchType, patch)))
	s.must(kube.Await(s.ctx, patience, func(context.Context) (bool, string) {
		pods := s.components(component)
		return len(pods) == replicas, fmt.Sprintf("%d pods of %s, want %d", len(pods), component, replicas)
	}))
}

// metric is the sum of a metric without labels over all reapers.
func (s *scene) metric(name string) (sum float64) {
	s.Helper()
	for _, pod := range s.components("reaper") {
		text, err := cluster.Metrics(s.ctx, pod.Name)
		s.must(err)
		value, _ := kube.Metric(text, name) // only the leader may have it
		sum += value
	}
	return sum
}

// Pods that were there before their namespace opted in: the reaper emits a warning, and
// leaves them alone.
func testUntracked(t *testing.T) {
	s := newScene(t, false)
	pod := kube.Pod(s.namespace, "early", stuck(corev1.RestartPolicyNever))
	s.create(pod)
	s.awaitPod("early", "as it will stay", func(p *corev1.Pod) bool { // no more events of it
		main, proxy := containerStatus(p, "main"), containerStatus(p, "proxy")
		return main != nil && main.State.Terminated != nil && proxy.State.Running != nil
	})
	before := s.metric("essential_containers_pods_untracked")
	s.optIn(s.namespace)
	s.awaitEventOf(pod, "Untracked")
	if after := s.metric("essential_containers_pods_untracked"); after != before+1 {
		t.Errorf("%v pods count as untracked, before there were %v", after, before)
	}
	s.canary(s.namespace)
	s.untouched(pod)
	if n := s.countEvents(pod, "Untracked"); n != 1 {
		t.Errorf("%d events that the pod is not tracked, want 1", n)
	}
}

// With --adopt the reaper tracks what missed admission, in namespaces that
// opted in. Admission is down at that time, and lets pods through: forging gains
// nothing then either, and workloads without the label do not depend on it.
func testAdoption(t *testing.T) {
	s := newScene(t, false)
	outside := s.namespace + "-outside"
	s.must(cluster.CreateNamespace(s.ctx, outside, false))
	t.Cleanup(func() { deleteNamespaces(t, outside) })
	early := kube.Pod(s.namespace, "early", stuck(corev1.RestartPolicyNever))
	s.create(early)
	elsewhere := kube.Pod(outside, "elsewhere", stuck(corev1.RestartPolicyNever))
	s.create(elsewhere)
	s.optIn(s.namespace)

	s.must(cluster.Install(s.ctx, chart, image, func(string) {},
		"reaper.adopt=true", "webhook.failurePolicy=Ignore", "webhook.workloads.failurePolicy=Fail"))
	s.scale(kube.WebhookDeployment, "webhook", 0)
	t.Cleanup(func() { // else the next upgrade is in conflict with this one's number
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":2}}`))
		if err := cluster.Patch(context.Background(), releaseDeployment(kube.WebhookDeployment), patch); err != nil {
			t.Error(err)
		}
	})
	job := kube.Job(s.namespace, "labelled", stuck(corev1.RestartPolicyNever))
	if err := cluster.Create(s.ctx, job.DeepCopy()); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("a labelled Job while its webhook is down: %v", err)
	}
	for kind, workload := range workloads(s.namespace, kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true"))) {
		if err := cluster.Create(s.ctx, workload, client.DryRunAll); err != nil {
			t.Errorf("%s without the label depends on the webhook: %v", kind, err)
		}
	}
	forged := kube.Pod(s.namespace, "forged", annotated(stuck(corev1.RestartPolicyNever), api.TrackedAnnotation, "proxy"))
	if err := cluster.Create(s.ctx, forged); err == nil || !strings.Contains(err.Error(), "which would have written main") {
		t.Errorf("a pod that brings a wrong mark while the webhook is down: %v", err)
	}
	missed := kube.Pod(s.namespace, "missed", stuck(corev1.RestartPolicyNever))
	s.create(missed)
	if essential.IsTracked(missed) {
		t.Fatalf("the pod was tracked at its creation: %v", missed.Annotations)
	}
	wrong := kube.Pod(s.namespace, "wrong", kube.Template(corev1.RestartPolicyNever, new("mian"), kube.Main("sleep 1"), kube.Sidecar("proxy")))
	s.create(wrong)

	s.awaitPod("missed", "stopped", essential.IsStopped)
	s.scale(kube.WebhookDeployment, "webhook", 2) // it decides the phase
	for _, pod := range []*corev1.Pod{early, missed} {
		s.awaitGone(pod.DeepCopy())
		s.countStopped(pod.Name, 1)
		if n := s.countEvents(pod, "Adopted"); n != 1 {
			t.Errorf("%d events that pod %s was adopted, want 1", n, pod.Name)
		}
	}
	if note := s.awaitEventOf(wrong, "InvalidLabel"); !strings.Contains(note, typo) {
		t.Errorf("the event about a wrong label says %q", note)
	}
	s.untouched(wrong)
	s.get(elsewhere)
	if essential.IsTracked(elsewhere) {
		t.Errorf("a pod was adopted whose namespace did not opt in: %v", elsewhere.Annotations)
	}
	s.untouched(elsewhere)
}

// A retained pod is deleted at its time although the reaper that stopped it has
// gone.
func testRetentionAcrossRestart(t *testing.T) {
	s := newScene(t, true)
	pod := kube.Pod(s.namespace, "retained", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, "10s"))
	s.create(pod)
	s.awaitPod("retained", "stopped", essential.IsStopped)
	s.scaleReaper(0)
	s.get(pod)
	if pod.DeletionTimestamp != nil {
		t.Error("the pod was deleted before its time")
	}
	s.scaleReaper(2)
	s.awaitGone(pod)
}
