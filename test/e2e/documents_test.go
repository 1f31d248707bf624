//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// testSamples does what the README says of the samples: every Job completes, the
// CronJob creates one each minute, and the Deployment's pods are renewed.
func testSamples(t *testing.T) {
	const namespace = "essential-containers-samples"
	f := newFixture(t, false)
	t.Cleanup(func() { f.deleteNamespace(namespace) })
	f.kubectl("apply", "-f", root+"/docs/samples/", "--namespace", namespace)
	list := func(ctx context.Context, objects client.ObjectList) error {
		return f.cluster.List(ctx, objects, client.InNamespace(namespace))
	}
	renewed := map[string]bool{}
	f.must(kube.Await(f.ctx, 2*timeLimit, func(ctx context.Context) (bool, string) {
		var pods corev1.PodList
		if err := list(ctx, &pods); err != nil {
			return false, err.Error()
		}
		for _, pod := range pods.Items {
			if pod.Labels["app"] == "renewed" && essential.IsTracked(&pod) {
				renewed[pod.Name] = true
			}
		}
		var jobs batchv1.JobList
		if err := list(ctx, &jobs); err != nil {
			return false, err.Error()
		}
		once, byCronJob := 0, 0
		for _, job := range jobs.Items {
			if job.Status.Failed > 0 || !kube.JobComplete(&job) {
				return false, "Job " + job.Name + " is not complete: " + job.Status.String()
			}
			if len(job.OwnerReferences) > 0 {
				byCronJob++
			} else {
				once++
			}
		}
		return once >= 3 && byCronJob > 0 && len(renewed) > 1,
			fmt.Sprintf("%d Jobs of their own, %d of the CronJob and %d pods of the Deployment are there", once, byCronJob, len(renewed))
	}))
}

// testDemo runs the demo, which judges itself.
func testDemo(t *testing.T) {
	f := newFixture(t, false)
	t.Cleanup(func() {
		f.deleteNamespace("essential-containers-demo")
		f.deleteNamespace("essential-containers-demo-plain")
	})
	output, err := exec.CommandContext(t.Context(), "go", "run", root+"/test/demo", "--kubeconfig", f.cluster.Kubeconfig,
		"--image", image, "--helm", helm, "--chart", chart).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	t.Logf("%s", output)
}
