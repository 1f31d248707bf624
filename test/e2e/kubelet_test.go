//go:build e2e

package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// part stops, starts or restarts a process of the cluster.
func (s *scene) part(verb, part string) {
	s.Helper()
	name := filepath.Base(filepath.Dir(kubeconfig))
	// Not the scene's context: what was stopped must be started whatever happens.
	if output, err := exec.CommandContext(context.Background(), "go", "run", "../cluster", "--name="+name, verb, part).CombinedOutput(); err != nil {
		s.Fatalf("%s %s: %v\n%s", verb, part, err, output)
	}
}

// The kubelet is down when the pod is stopped: nothing ends its containers, and
// a Warning says so. It comes back, ends them gracefully, and the Job has run
// once.
func testKubeletDown(t *testing.T) {
	s := newScene(t, true)
	template := annotated(stuck(corev1.RestartPolicyNever), essential.StopDelayAnnotation, "5s")
	template.Spec.TerminationGracePeriodSeconds = new(int64(5))
	job := kube.Job(s.namespace, "unattended", template)
	s.create(job)
	pod := s.awaitPod("unattended-", "due", func(p *corev1.Pod) bool { return essential.Condition(p, essential.StoppedCondition) != nil })
	if essential.Stopped(pod) {
		t.Fatal("the pod was stopped before its delay was over")
	}
	s.part("stop", "kubelet")
	t.Cleanup(func() { s.part("start", "kubelet") })
	await(s, pod, "stopped", essential.Stopped)
	first := pod.Annotations[essential.StoppedAnnotation]
	await(s, pod, "stopped again", func(p *corev1.Pod) bool { return p.Annotations[essential.StoppedAnnotation] != first })
	s.describes("pod", pod.Name, "The pod was stopped, but containers still run past their grace period")
	if pod.DeletionTimestamp != nil || !essential.Running(pod) {
		t.Errorf("the pod whose containers run is being deleted: %v, %+v", pod.DeletionTimestamp, pod.Status.ContainerStatuses)
	}
	s.part("start", "kubelet")
	s.awaitComplete(job)
	s.awaitGone(pod.DeepCopy())
	s.counted(job, 1)
	if n := s.countEvents(pod, "StopRepeated"); n != 1 {
		t.Errorf("%d Warning events, want 1", n)
	}
	// The logs were read through the kubelet, and a log that is read anew is
	// read from its beginning.
	if n := len(s.logs.Find("unattended-", kube.Terminated)); n == 0 {
		t.Log("the sidecar's last line was lost with the kubelet")
	}
}
