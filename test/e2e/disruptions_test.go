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
func (f *fixture) components(component string) []corev1.Pod {
	f.Helper()
	pods, err := f.cluster.Components(f.ctx, component)
	f.must(err)
	return pods
}

func (f *fixture) scaleReaper(replicas int) {
	f.Helper()
	f.scale(kube.ReaperDeployment, "reaper", replicas)
}

// outage is one outage of the reaper that several cases share: begin and end
// return once it has begun and ended for all of them.
type outage struct{ begin, end func() }

func testReaperDown(t *testing.T) {
	cases := map[string]func(*testing.T, outage){
		"Late":                   testLateReaper,
		"FromOldVersion":         testFromOldVersion,
		"NativeWithoutReaper":    testNativeWithoutReaper,
		"RetentionAcrossRestart": testRetentionAcrossRestart,
	}
	began, ended := make(chan struct{}), make(chan struct{})
	var before, during sync.WaitGroup
	before.Add(len(cases))
	during.Add(len(cases))
	t.Run("Outage", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t, false)
		begin := sync.OnceFunc(func() { close(began) })
		defer close(ended) // whatever fails
		defer begin()
		before.Wait()
		f.scaleReaper(0)
		begin()
		during.Wait()
		f.scaleReaper(2)
	})
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ready, done := sync.OnceFunc(before.Done), sync.OnceFunc(during.Done)
			t.Cleanup(func() { ready(); done() }) // a case that has failed
			test(t, outage{func() { ready(); <-began }, func() { done(); <-ended }})
		})
	}
}

// The container ends while no reaper is there.
func testLateReaper(t *testing.T, o outage) {
	f := newFixture(t, true)
	o.begin()
	job := kube.Job(f.namespace, "late", stuck(corev1.RestartPolicyNever))
	f.create(job)
	f.awaitLine("late-", kube.MainEnd)
	f.awaitPod("late-", "left with its sidecar", func(p *corev1.Pod) bool {
		main := containerStatus(p, "main")
		return main != nil && main.State.Terminated != nil && !essential.IsStopped(p)
	})
	f.count("late-", kube.Terminated, 0)
	o.end()
	f.awaitComplete(job)
	f.counted(job, 1)
	f.count("late-", kube.MainStart, 1)
	f.countStopped("late-", 1)
}

// The leader is killed, again and again, without a chance to release its
// Lease, until the other replica has it.
func testLeaderKilled(t *testing.T) {
	f := newFixture(t, true)
	killed, err := f.cluster.Leader(f.ctx)
	f.must(err)
	f.must(kube.Signal("reaper", killed, syscall.SIGKILL))
	f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
		holder, err := f.cluster.Leader(ctx)
		if err == nil && holder != killed {
			return true, ""
		}
		_ = kube.Signal("reaper", killed, syscall.SIGKILL) // it is being started again, or has the Lease again
		return false, killed + " still holds the Lease"
	}))
	job := kube.Job(f.namespace, "after", stuck(corev1.RestartPolicyNever))
	f.create(job)
	f.awaitComplete(job)
	f.counted(job, 1)
	f.count("after-", kube.MainStart, 1)
	f.countStopped("after-", 1)
	await(f, releaseDeployment(kube.ReaperDeployment), "available again", func(d *appsv1.Deployment) bool { return d.Status.AvailableReplicas == 2 })
}

// whileAdmitting has that many creators create pods without a pause until do
// returns, and asserts that every one was admitted and tracked.
func (f *fixture) whileAdmitting(creators int, do func()) {
	f.Helper()
	f.whileCreating(creators, do, func(pod *corev1.Pod) error {
		if !essential.IsTracked(pod) {
			return errors.New("a pod was admitted untracked")
		}
		return nil
	})
}

// whileCreating has that many creators create labelled pods without a pause until
// do returns, and asserts that every one was admitted as check expects.
func (f *fixture) whileCreating(creators int, do func(), check func(*corev1.Pod) error) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	var admitted, refused atomic.Int64
	var creating sync.WaitGroup
	for range creators {
		creating.Go(func() {
			for ctx.Err() == nil {
				pod := kube.Pod(f.namespace, "probe", stuck(corev1.RestartPolicyNever))
				err := f.cluster.Create(ctx, pod, client.DryRunAll)
				if err == nil {
					err = check(pod)
				}
				switch {
				case ctx.Err() != nil:
					return
				case err == nil:
					admitted.Add(1)
				case refused.Add(1) <= 5:
					f.Errorf("admission failed after %d pods: %v", admitted.Load(), err)
				}
			}
		})
	}
	do()
	cancel()
	creating.Wait()
	f.Logf("%d pods were admitted in that time, %d refused", admitted.Load(), refused.Load())
	if admitted.Load() == 0 {
		f.Error("no pod was admitted in that time")
	}
}

func testCertificateRenewed(t *testing.T) {
	f := newFixture(t, true)
	before := f.servedCertificates()
	f.whileAdmitting(1, func() {
		f.must(f.cluster.RenewCertificate(f.ctx))
		f.must(kube.Await(f.ctx, 2*timeLimit, func(context.Context) (bool, string) {
			for pod, expiry := range f.servedCertificates() {
				if expiry <= before[pod] {
					return false, fmt.Sprintf("%s still serves the certificate that expires at %.0f", pod, expiry)
				}
			}
			return true, ""
		}))
	})
	for range restarts {
		f.whileAdmitting(50, f.restartWebhook) // as an upgrade does
	}
}

// restarts is how often the webhook's pods are replaced under load. A connection
// that is closed with a request on it shows in one of several.
const restarts = 2

// restartWebhook replaces all pods of the webhook, and waits until they are gone.
func (f *fixture) restartWebhook() {
	f.Helper()
	restart := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"restarted":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	deployment := releaseDeployment(kube.WebhookDeployment)
	f.must(f.cluster.Patch(f.ctx, deployment, client.RawPatch(types.MergePatchType, restart)))
	generation := deployment.Generation
	await(f, deployment, "rolled out", func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration >= generation && d.Status.UpdatedReplicas == 2 && d.Status.AvailableReplicas == 2 && d.Status.Replicas == 2
	})
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		return len(f.components("webhook")) == 2, "old webhook pods are still there"
	}))
}

// servedCertificates is when the certificate expires that each webhook serves,
// from its own metrics.
func (f *fixture) servedCertificates() map[string]float64 {
	f.Helper()
	expiries := map[string]float64{}
	for _, pod := range f.components("webhook") {
		text, err := f.cluster.Metrics(f.ctx, pod.Name)
		f.must(err)
		expiry, found := kube.Metric(text, "essential_containers_certificate_expiration_timestamp_seconds")
		if !found {
			f.Fatalf("%s has no metric of its certificate's expiry:\n%s", pod.Name, text)
		}
		expiries[pod.Name] = expiry
	}
	return expiries
}

// uninstalls removes the release: nothing without a namespace remains, pods that
// run, tracked or not, keep running, and what a Job has counted remains counted.
func (f *fixture) uninstalls(c *kube.Cluster, before map[string]bool) {
	f.Helper()
	pod := kube.Pod(f.namespace, "running", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 40"), kube.Sidecar("proxy")))
	f.create(pod)
	delayed := kube.Pod(f.namespace, "delayed", annotated(stuck(corev1.RestartPolicyNever), api.StopDelayAnnotation, "1h"))
	f.create(delayed)
	kept := kube.Job(f.namespace, "kept", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, "Forever"))
	kept.Spec.BackoffLimit = new(int32(0))
	f.create(kept)
	f.awaitComplete(kept)
	await(f, delayed, "due", func(p *corev1.Pod) bool { _, ok := essential.DueOf(p); return ok })
	f.awaitLine("running", kube.MainStart)
	f.uninstalled.Store(true)
	f.uninstall(c, before)
	f.awaitLine("running", kube.MainEnd)
	f.notReaped(pod)
	f.notReaped(delayed)
	f.counted(kept, 1)
	f.count("kept-", kube.MainStart, 1)
	// Labelled pods are created as if there had never been a webhook.
	after := kube.Pod(f.namespace, "after", stuck(corev1.RestartPolicyNever))
	f.create(after)
	if essential.IsTracked(after) {
		f.Errorf("a pod is tracked although no webhook answered: %v", after.Annotations)
	}
	f.must(f.cluster.DeleteNamespace(f.ctx, kube.Release)) // cert-manager's Secrets
}

// uninstall removes the release. While that happens no labelled pod is refused,
// and nothing without a namespace remains that was not there before.
func (f *fixture) uninstall(c *kube.Cluster, before map[string]bool) {
	f.Helper()
	f.whileCreating(1, func() { f.must(c.Uninstall(f.ctx)) }, func(*corev1.Pod) error { return nil })
	for object := range clusterWide(f) {
		if !before[object] {
			f.Errorf("%s was left behind", object)
		}
	}
}

// clusterWide lists the objects without a namespace that bear the release's
// name, of every kind that the API server knows.
func clusterWide(t testing.TB) map[string]bool {
	t.Helper()
	cluster := clusterOf(t)
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
