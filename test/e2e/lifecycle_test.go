//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// Helm reads the logs of its test pods when they have ended (case F10). Reports:
// helm/helm 9098, 8018, 31579.
func testHelmTest(t *testing.T) {
	f := newFixture(t, true)
	dir := t.TempDir()
	write := func(file string, content []byte) {
		path := filepath.Join(dir, file)
		f.must(os.MkdirAll(filepath.Dir(path), 0o755))
		f.must(os.WriteFile(path, content, 0o600))
	}
	write("Chart.yaml", []byte("apiVersion: v2\nname: tested\nversion: 0.1.0\n"))
	for name, seconds := range map[string]string{"first": "1", "second": "8"} {
		pod := kube.Pod("", "test-"+name, annotated(
			kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep "+seconds+"; echo '"+name+" passed'"), kube.Sidecar("proxy")),
			"helm.sh/hook", "test"))
		pod.APIVersion, pod.Kind = "v1", "Pod"
		manifest, err := json.Marshal(pod)
		f.must(err)
		write("templates/"+name+".yaml", manifest)
	}
	helm := func(args ...string) string {
		output, err := f.cluster.RunHelm(f.ctx, append(args, "--namespace", f.namespace)...)
		f.must(err)
		return output
	}
	helm("install", "tested", dir)
	output := helm("test", "tested", "--logs", "--timeout", "2m")
	for _, line := range []string{"first passed", "second passed"} {
		if !strings.Contains(output, line) {
			t.Errorf("helm test --logs lacks %q:\n%s", line, output)
		}
	}
}

// testHelm installs, upgrades, rolls back and uninstalls the chart with one version
// of Helm. Pods are admitted all the time.
func testHelm(t *testing.T, program string, before map[string]bool) {
	f := newFixture(t, true)
	_, err := f.cluster.RunHelm(f.ctx, "uninstall", kube.Release, "--namespace", kube.Release, "--ignore-not-found", "--wait")
	f.must(err)
	helm := *f.cluster
	helm.Helm = program
	replicas := func(want int32) {
		deployment := releaseDeployment(kube.WebhookDeployment)
		if f.get(deployment); *deployment.Spec.Replicas != want || deployment.Status.AvailableReplicas < want {
			t.Errorf("the webhook has %d replicas, %d of them available, want %d", *deployment.Spec.Replicas, deployment.Status.AvailableReplicas, want)
		}
	}
	f.must(helm.Install(f.ctx, chart, image, func(string) {}))
	replicas(2)
	f.whileAdmitting(1, func() { f.must(helm.Install(f.ctx, chart, image, func(string) {}, "webhook.replicas=3")) })
	replicas(3)
	f.whileAdmitting(1, func() {
		_, err := helm.RunHelm(f.ctx, "rollback", kube.Release, "--namespace", kube.Release, "--wait")
		f.must(err)
	})
	replicas(2)
	f.canary(f.namespace)
	f.uninstalls(&helm, before)
}

// Pods that version 0.1 has delayed, stopped, and kept, as they are found after an
// upgrade: it recorded that in a condition, and stopped a pod by its phase, which
// the kubelet could take back.
func testFromOldVersion(t *testing.T, o outage) {
	f := newFixture(t, true)
	o.begin()
	reaper := f.as(kube.ReaperUser, "system:masters")
	jobs := map[string]*batchv1.Job{}
	old := func(name, conditionStatus, phase string, template corev1.PodTemplateSpec) {
		job := kube.Job(f.namespace, name, template)
		f.create(job)
		jobs[name] = job
		pod := f.awaitPod(name+"-", "left with its sidecar", func(p *corev1.Pod) bool {
			main, proxy := containerStatus(p, "main"), containerStatus(p, "proxy")
			return main != nil && main.State.Terminated != nil && proxy.State.Running != nil
		})
		if conditionStatus == "True" {
			body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
				api.StoppedAnnotation: time.Now().UTC().Format(time.RFC3339Nano)}}})
			f.must(err)
			f.must(reaper.Patch(f.ctx, pod, client.RawPatch(types.MergePatchType, body)))
		}
		status := map[string]any{"conditions": []any{map[string]any{
			"type": essential.OldStoppedCondition, "status": conditionStatus, "reason": "EssentialContainerCompleted", "message": completed,
			"lastTransitionTime": time.Now().UTC().Format(time.RFC3339),
		}}}
		if phase != "" {
			status["phase"] = phase
		}
		body, err := json.Marshal(map[string]any{"status": status})
		f.must(err)
		f.must(f.cluster.Status().Patch(f.ctx, pod, client.RawPatch(types.StrategicMergePatchType, body)))
	}
	old("delayed", "False", "", annotated(stuck(corev1.RestartPolicyNever), api.StopDelayAnnotation, "10s"))
	old("back", "True", "", stuck(corev1.RestartPolicyNever)) // the kubelet has taken the phase back
	old("stopped", "True", "Succeeded", stuck(corev1.RestartPolicyNever))
	old("kept", "True", "Succeeded", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, "Forever"))
	o.end()
	for name, job := range jobs {
		f.succeeds(job, 1)
		f.countStopped(name+"-", 1)
		for _, pod := range f.pods(name + "-") {
			if name != "kept" {
				f.awaitGone(&pod)
			}
		}
	}
	f.awaitPod("kept-", "ended and kept", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded && !essential.HasRunningContainers(p)
	})
}
