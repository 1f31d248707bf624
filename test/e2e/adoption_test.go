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
func (f *fixture) scale(deployment, component string, replicas int) {
	f.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	f.must(f.cluster.Patch(f.ctx, releaseDeployment(deployment), client.RawPatch(types.MergePatchType, patch)))
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		pods := f.components(component)
		return len(pods) == replicas, fmt.Sprintf("%d pods of %s, want %d", len(pods), component, replicas)
	}))
}

// metric is the sum of a metric without labels over all reapers.
func (f *fixture) metric(name string) (sum float64) {
	f.Helper()
	for _, pod := range f.components("reaper") {
		text, err := f.cluster.Metrics(f.ctx, pod.Name)
		f.must(err)
		value, _ := kube.Metric(text, name) // only the leader may have it
		sum += value
	}
	return sum
}

// Pods that were there before their namespace opted in: the reaper emits a warning, and
// leaves them alone.
func testUntracked(t *testing.T) {
	f := newFixture(t, false)
	pod := kube.Pod(f.namespace, "early", stuck(corev1.RestartPolicyNever))
	f.create(pod)
	f.awaitPod("early", "as it will stay", func(p *corev1.Pod) bool { // no more events of it
		main, proxy := containerStatus(p, "main"), containerStatus(p, "proxy")
		return main != nil && main.State.Terminated != nil && proxy.State.Running != nil
	})
	f.optIn(f.namespace)
	f.awaitEventOf(pod, "Untracked")
	f.canary(f.namespace)
	f.notReaped(pod)
	if n := f.countEvents(pod, "Untracked"); n != 1 {
		t.Errorf("%d events that the pod is not tracked, want 1", n)
	}
}

// With --adopt the reaper tracks what missed admission, in namespaces that
// opted in. Admission is down at that time, and lets pods through: forging gains
// nothing then either, and workloads without the label do not depend on it.
func testAdoption(t *testing.T) {
	f := newFixture(t, false)
	outside := f.anotherNamespace("-outside", false)
	early := kube.Pod(f.namespace, "early", stuck(corev1.RestartPolicyNever))
	f.create(early)
	elsewhere := kube.Pod(outside, "elsewhere", stuck(corev1.RestartPolicyNever))
	f.create(elsewhere)
	f.optIn(f.namespace)
	f.awaitEventOf(early, "Untracked")
	if n := f.metric("essential_containers_pods_untracked"); n != 1 { // no other case runs at the same time
		t.Errorf("%v pods count as untracked, want 1", n)
	}

	f.must(f.cluster.Install(f.ctx, chart, image, func(string) {},
		"reaper.adopt=true", "webhook.failurePolicy=Ignore", "webhook.workloads.failurePolicy=Fail"))
	f.scale(kube.WebhookDeployment, "webhook", 0)
	t.Cleanup(func() { // else the next upgrade is in conflict with this one's number
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":2}}`))
		if err := f.cluster.Patch(context.Background(), releaseDeployment(kube.WebhookDeployment), patch); err != nil {
			t.Error(err)
		}
	})
	job := kube.Job(f.namespace, "labelled", stuck(corev1.RestartPolicyNever))
	if err := f.cluster.Create(f.ctx, job.DeepCopy()); err == nil || !strings.Contains(err.Error(), "failed calling webhook") {
		t.Errorf("a labelled Job while its webhook is down: %v", err)
	}
	for kind, workload := range workloads(f.namespace, kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true"))) {
		if err := f.cluster.Create(f.ctx, workload, client.DryRunAll); err != nil {
			t.Errorf("%s without the label depends on the webhook: %v", kind, err)
		}
	}
	forged := kube.Pod(f.namespace, "forged", annotated(stuck(corev1.RestartPolicyNever), api.TrackedAnnotation, "proxy"))
	if err := f.cluster.Create(f.ctx, forged); err == nil || !strings.Contains(err.Error(), "must be main, which only the webhook writes") {
		t.Errorf("a pod that brings a wrong mark while the webhook is down: %v", err)
	}
	missed := kube.Pod(f.namespace, "missed", stuck(corev1.RestartPolicyNever))
	f.create(missed)
	if essential.IsTracked(missed) {
		t.Fatalf("the pod was tracked at its creation: %v", missed.Annotations)
	}
	wrong := kube.Pod(f.namespace, "wrong", kube.Template(corev1.RestartPolicyNever, new("mian"), kube.Main("sleep 1"), kube.Sidecar("proxy")))
	f.create(wrong)

	f.awaitPod("missed", "stopped", essential.IsStopped)
	f.scale(kube.WebhookDeployment, "webhook", 2) // it decides the phase
	for _, pod := range []*corev1.Pod{early, missed} {
		f.awaitGone(pod.DeepCopy())
		f.countStopped(pod.Name, 1)
		if n := f.countEvents(pod, "Adopted"); n != 1 {
			t.Errorf("%d events that pod %s was adopted, want 1", n, pod.Name)
		}
	}
	if note := f.awaitEventOf(wrong, "InvalidLabel"); !strings.Contains(note, typo) {
		t.Errorf("the event about a wrong label says %q", note)
	}
	f.notReaped(wrong)
	f.get(elsewhere)
	if essential.IsTracked(elsewhere) {
		t.Errorf("a pod was adopted whose namespace did not opt in: %v", elsewhere.Annotations)
	}
	f.notReaped(elsewhere)
}

// A retained pod is deleted at its time although the reaper that stopped it has
// gone.
func testRetentionAcrossRestart(t *testing.T, o outage) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "retained", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, "10s"))
	f.create(pod)
	f.awaitPod("retained", "stopped", essential.IsStopped)
	o.begin()
	f.get(pod)
	if pod.DeletionTimestamp != nil {
		t.Error("the pod was deleted before its time")
	}
	o.end()
	f.awaitGone(pod)
}
