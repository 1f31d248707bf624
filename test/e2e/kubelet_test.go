//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// The kubelet is down when the pod is stopped: its containers keep running, and a
// Warning says so. When it is back it ends them gracefully, and the Job has run
// once.
func testKubeletDown(t *testing.T) {
	f := newFixture(t, true)
	template := annotated(stuck(corev1.RestartPolicyNever), api.StopDelayAnnotation, "10s")
	template.Spec.TerminationGracePeriodSeconds = new(int64(5))
	job := kube.Job(f.namespace, "unattended", template)
	f.create(job)
	kept := *template.DeepCopy()
	kept.Annotations[api.RetentionAnnotation] = "Forever" // its logs can be read again: the stream ends with the kubelet
	keptJob := kube.Job(f.namespace, "kept", kept)
	f.create(keptJob)
	due := func(p *corev1.Pod) bool { _, ok := essential.DueOf(p); return ok }
	keptPod := f.awaitPod("kept-", "due", due)
	pod := f.awaitPod("unattended-", "due", due)
	if essential.IsStopped(pod) || essential.IsStopped(keptPod) {
		t.Fatal("a pod was stopped before its delay was over")
	}
	f.must(f.cluster.Part("stop", "kubelet"))
	t.Cleanup(func() { _ = f.cluster.Part("start", "kubelet") })
	await(f, pod, "stopped", essential.IsStopped)
	f.describes("pod", pod.Name, "StopOverdue", "The pod was stopped, but has not ended after its grace period")
	f.get(pod)
	if pod.DeletionTimestamp != nil || !essential.HasRunningContainers(pod) {
		t.Errorf("the pod whose containers run is being deleted: %v, %+v", pod.DeletionTimestamp, pod.Status.ContainerStatuses)
	}
	f.must(f.cluster.Part("start", "kubelet"))
	f.awaitComplete(job)
	f.awaitGone(pod.DeepCopy())
	f.counted(job, 1)
	if n := f.countEvents(pod, "StopOverdue"); n != 1 {
		t.Errorf("%d Warning events, want 1", n)
	}
	f.awaitComplete(keptJob)
	await(f, keptPod, "stopped, with all ended", func(p *corev1.Pod) bool { return essential.IsTerminal(p) && !essential.HasRunningContainers(p) })
	f.counted(keptJob, 1)
	logs := f.kubectl("logs", keptPod.Name, "-c", "proxy")
	for _, text := range []string{kube.PreStop, kube.Terminated} {
		if n := strings.Count(logs, text); n != 1 {
			t.Errorf("%q is %d times in the sidecar's log, want 1:\n%s", text, n, logs)
		}
	}
}
