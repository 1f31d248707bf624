//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// testSamples does what the README says of the samples.
func testSamples(t *testing.T) {
	const namespace = "essential-containers-samples"
	t.Cleanup(func() { deleteNamespaces(t, namespace) })
	run(t, kubectl, "--kubeconfig", kubeconfig, "apply", "-f", root+"/docs/samples/")
	var jobs batchv1.JobList
	err := kube.Await(t.Context(), patience, func(ctx context.Context) (bool, string) {
		if err := cluster.List(ctx, &jobs, client.InNamespace(namespace)); err != nil {
			return false, err.Error()
		}
		for _, job := range jobs.Items {
			if !kube.JobComplete(&job) || job.Status.Failed > 0 {
				return false, fmt.Sprintf("Job %s is not complete: %+v", job.Name, job.Status)
			}
		}
		return len(jobs.Items) >= 3, fmt.Sprintf("%d Jobs", len(jobs.Items))
	})
	if err != nil {
		t.Error(err)
	}
}

// testDemo runs the demo, which judges itself.
func testDemo(t *testing.T) {
	t.Cleanup(func() { deleteNamespaces(t, "essential-containers-demo", "essential-containers-demo-plain") })
	output := run(t, "go", "run", root+"/test/demo", "--kubeconfig", kubeconfig, "--image", image, "--helm", helm, "--chart", chart)
	t.Log(output)
}

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, args, err, output)
	}
	return string(output)
}

// deleteNamespaces is for clean-ups.
func deleteNamespaces(t testing.TB, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // t's context is done by now
	defer cancel()
	for _, name := range names {
		if err := cluster.DeleteNamespace(ctx, name); err != nil {
			t.Error(err)
		}
	}
}
