//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

func releaseDeployment(name string) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: kube.Release, Name: name}}
}

// components are the release's pods of one component.
func (s *scene) components(component string) []corev1.Pod {
	s.Helper()
	pods, err := cluster.Components(s.ctx, component)
	s.must(err)
	return pods
}

func (s *scene) scaleReaper(replicas int) {
	s.Helper()
	s.scale(kube.ReaperDeployment, "reaper", replicas)
}

func testReaperDown(t *testing.T) {
	s := newScene(t, true)
	s.scaleReaper(0)
	job := kube.Job(s.namespace, "late", stuck(corev1.RestartPolicyNever))
	s.create(job)
	s.awaitLine("late-", kube.MainEnd)
	s.awaitPod("late-", "left with its sidecar", func(p *corev1.Pod) bool {
		main := containerStatus(p, "main")
		return main != nil && main.State.Terminated != nil && !essential.IsStopped(p)
	})
	s.count("late-", kube.Terminated, 0)
	s.scaleReaper(2)
	s.awaitComplete(job)
	s.counted(job, 1)
	s.count("late-", kube.MainStart, 1)
	s.countStopped("late-", 1)
}

// The leader is killed, again and again, without a chance to release its
// Lease, until the other replica has it.
func testLeaderKilled(t *testing.T) {
	s := newScene(t, true)
	killed, err := cluster.Leader(s.ctx)
	s.must(err)
	s.must(kube.Signal("reaper", killed, syscall.SIGKILL))
	s.must(kube.Await(s.ctx, patience, func(ctx context.Context) (bool, string) {
		holder, err := cluster.Leader(ctx)
		if err == nil && holder != killed {
			return true, ""
		}
		_ = kube.Signal("reaper", killed, syscall.SIGKILL) // it is being started again, or has the Lease again
		return false, killed + " still holds the Lease"
	}))
	job := kube.Job(s.namespace, "after", stuck(corev1.RestartPolicyNever))
	s.create(job)
	s.awaitComplete(job)
	s.counted(job, 1)
	s.count("after-", kube.MainStart, 1)
	s.countStopped("after-", 1)
	await(s, releaseDeployment(kube.ReaperDeployment), "available again", func(d *appsv1.Deployment) bool { return d.Status.AvailableReplicas == 2 })
}

// whileAdmitting has that many creators create pods without a pause until do
// returns, and asserts that every one was admitted and tracked.
func (s *scene) whileAdmitting(creators int, do func()) {
	s.Helper()
	s.whileCreating(creators, do, func(pod *corev1.Pod) error {
		if !essential.IsTracked(pod) {
			return errors.New("a pod was admitted untracked")
		}
		return nil
	})
}

// whileCreating has that many creators create labelled pods without a pause until
// do returns, and asserts that every one was admitted as check expects.
func (s *scene) whileCreating(creators int, do func(), check func(*corev1.Pod) error) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var admitted, refused atomic.Int64
	var creating sync.WaitGroup
	for range creators {
		creating.Go(func() {
			for ctx.Err() == nil {
				pod := kube.Pod(s.namespace, "probe", stuck(corev1.RestartPolicyNever))
				err := cluster.Create(ctx, pod, client.DryRunAll)
				if err == nil {
					err = check(pod)
				}
				switch {
				case ctx.Err() != nil:
					return
				case err == nil:
					admitted.Add(1)
				case refused.Add(1) <= 5:
					s.Errorf("admission failed after %d pods: %v", admitted.Load(), err)
				}
			}
		})
	}
	do()
	cancel()
	creating.Wait()
	s.Logf("%d pods were admitted in that time, %d refused", admitted.Load(), refused.Load())
	if admitted.Load() == 0 {
		s.Error("no pod was admitted in that time")
	}
}

func testCertificateRenewed(t *testing.T) {
	s := newScene(t, true)
	before := s.servedCertificates()
	s.whileAdmitting(1, func() {
		s.must(cluster.RenewCertificate(s.ctx))
		s.must(kube.Await(s.ctx, 2*patience, func(context.Context) (bool, string) {
			for pod, expiry := range s.servedCertificates() {
				if expiry <= before[pod] {
					return false, fmt.Sprintf("%s still serves the certificate that expires at %.0f", pod, expiry)
				}
			}
			return true, ""
		}))
	})
	for range restarts {
		s.whileAdmitting(50, s.restartWebhook) // as an upgrade does
	}
}

// restarts is how often the webhook's pods are replaced under load. A connection
// that is closed with a request on it shows in one of several.
const restarts = 2

// restartWebhook replaces all pods of the webhook, and waits until they are gone.
func (s *scene) restartWebhook() {
	s.Helper()
	restart := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"restarted":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	deployment := releaseDeployment(kube.WebhookDeployment)
	s.must(cluster.Patch(s.ctx, deployment, client.RawPatch(types.MergePatchType, restart)))
	generation := deployment.Generation
	await(s, deployment, "rolled out", func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration >= generation && d.Status.UpdatedReplicas == 2 && d.Status.AvailableReplicas == 2 && d.Status.Replicas == 2
	})
	s.must(kube.Await(s.ctx, patience, func(context.Context) (bool, string) {
		return len(s.components("webhook")) == 2, "old webhook pods are still there"
	}))
}

// servedCertificates is when the certificate expires that each webhook serves,
// from its own metrics.
func (s *scene) servedCertificates() map[string]float64 {
	s.Helper()
	expiries := map[string]float64{}
	for _, pod := range s.components("webhook") {
		text, err := cluster.Metrics(s.ctx, pod.Name)
		s.must(err)
		expiry, found := kube.Metric(text, "essential_containers_certificate_expiration_timestamp_seconds")
		if !found {
			s.Fatalf("%s has no metric of its certificate's expiry:\n%s", pod.Name, text)
		}
		expiries[pod.Name] = expiry
	}
	return expiries
}

// testUninstall removes the release: nothing without a namespace remains, pods that
// run, tracked or not, keep running, and what a Job has counted remains counted.
func testUninstall(t *testing.T, before map[string]bool) {
	s := newScene(t, true)
	pod := kube.Pod(s.namespace, "running", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 40"), kube.Sidecar("proxy")))
	s.create(pod)
	delayed := kube.Pod(s.namespace, "delayed", annotated(stuck(corev1.RestartPolicyNever), api.StopDelayAnnotation, "1h"))
	s.create(delayed)
	kept := kube.Job(s.namespace, "kept", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, "Forever"))
	kept.Spec.BackoffLimit = new(int32(0))
	s.create(kept)
	s.awaitComplete(kept)
	await(s, delayed, "due", func(p *corev1.Pod) bool { _, ok := essential.DueOf(p); return ok })
	s.awaitLine("running", kube.MainStart)
	s.uninstalled.Store(true)
	s.uninstall(cluster, before)
	s.awaitLine("running", kube.MainEnd)
	s.untouched(pod)
	s.untouched(delayed)
	s.counted(kept, 1)
	s.count("kept-", kube.MainStart, 1)
	// Labelled pods are created as if there had never been a webhook.
	after := kube.Pod(s.namespace, "after", stuck(corev1.RestartPolicyNever))
	s.create(after)
	if essential.IsTracked(after) {
		t.Errorf("a pod is tracked although no webhook answered: %v", after.Annotations)
	}
	s.must(cluster.DeleteNamespace(s.ctx, kube.Release)) // cert-manager's Secrets
}

// uninstall removes the release. While that happens no labelled pod is refused,
// and nothing without a namespace remains that was not there before.
func (s *scene) uninstall(c *kube.Cluster, before map[string]bool) {
	s.Helper()
	s.whileCreating(1, func() { s.must(c.Uninstall(s.ctx)) }, func(*corev1.Pod) error { return nil })
	for object := range clusterWide(s) {
		if !before[object] {
			s.Errorf("%s was left behind", object)
		}
	}
}

// clusterWide lists the objects without a namespace that bear the release's
// name, of every kind that the API server knows.
func clusterWide(t testing.TB) map[string]bool {
	t.Helper()
	lists, err := cluster.Clientset.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range list.APIResources {
			if resource.Namespaced || !strings.Contains(strings.Join(resource.Verbs, " "), "list") || resource.Kind == "Namespace" {
				continue
			}
			var objects metav1.PartialObjectMetadataList
			objects.SetGroupVersionKind(version.WithKind(resource.Kind + "List"))
			if err := cluster.List(t.Context(), &objects); err != nil {
				t.Fatalf("listing %s: %v", resource.Name, err)
			}
			for _, object := range objects.Items {
				if strings.Contains(object.Name, kube.Release) || object.Labels["app.kubernetes.io/instance"] == kube.Release {
					found[resource.Name+"/"+object.Name] = true
				}
			}
		}
	}
	return found
}
