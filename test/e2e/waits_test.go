//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/certs/certmanager"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// Under on-failure: Ignore the pod keeps running, with a Warning.
func testFailureIgnored(t *testing.T) {
	f := newFixture(t, true)
	job := kube.Job(f.namespace, "never", annotated(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("exit 3"), kube.Sidecar("proxy")),
		api.OnFailureAnnotation, "Ignore"))
	f.create(job)
	pod := f.awaitPod("never-", "failed in main", func(p *corev1.Pod) bool {
		main := containerStatus(p, "main")
		return main != nil && main.State.Terminated != nil && main.State.Terminated.ExitCode == 3
	})
	f.awaitEventOf(pod, "EssentialContainerFailed")
	f.canary(f.namespace)
	f.notReaped(pod)
	f.count("never-", kube.MainStart, 1)
}

func testFailsUnderOnFailure(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	job := kube.Job(f.namespace, "onfailure", kube.Template(corev1.RestartPolicyOnFailure, new("main"), kube.Main("exit 3"), kube.Sidecar("proxy")))
	f.create(job)
	pod := f.awaitPod("onfailure-", "restarted in main", func(p *corev1.Pod) bool {
		main := containerStatus(p, "main")
		return main != nil && main.RestartCount >= 2
	})
	f.canary(f.namespace)
	f.notReaped(pod)
	f.count("onfailure-", kube.SidecarStart, 1)
}

// A sidecar that is done before main, such as one that only sets things up, is
// no reason to stop anything.
func testSidecarEndsFirst(t *testing.T) {
	f := newFixture(t, true)
	setup := kube.Main("true")
	setup.Name = "setup"
	main := kube.Sidecar("main") // never ends by itself
	pod := kube.Pod(f.namespace, "sidecarfirst", kube.Template(corev1.RestartPolicyNever, new("main"), main, setup))
	f.create(pod)
	f.awaitPod("sidecarfirst", "through with its sidecar", func(p *corev1.Pod) bool {
		setup := containerStatus(p, "setup")
		return setup != nil && setup.State.Terminated != nil
	})
	f.canary(f.namespace)
	f.notReaped(pod)
}

// failsOnce is a template whose main ends well when the kubelet tries again.
func failsOnce() corev1.PodTemplateSpec {
	main := kube.Main(`[ -e /state/tried ] || { touch /state/tried; exit 1; }; sleep 1`)
	main.VolumeMounts = []corev1.VolumeMount{{Name: "state", MountPath: "/state"}}
	template := annotated(kube.Template(corev1.RestartPolicyOnFailure, new("main"), main, kube.Sidecar("proxy")), api.OnFailureAnnotation, "Stop")
	template.Spec.Volumes = []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	return template
}

// The kubelet's retry keeps the sidecar, also where a failure for good would
// stop the pod; the completion after it counts.
func testFailsOnceUnderOnFailure(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	job := kube.Job(f.namespace, "once", failsOnce())
	f.create(job)
	f.awaitComplete(job)
	f.counted(job, 1)
	f.countStopped("once-", 1)
	f.count("once-", kube.MainStart, 2)
	f.count("once-", kube.SidecarStart, 1)
}

func containerStatus(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range statuses {
			if statuses[i].Name == name {
				return &statuses[i]
			}
		}
	}
	return nil
}

// ended is the condition that a container has ended and is not restarted yet.
func ended(name string) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		status := containerStatus(pod, name)
		return status != nil && status.State.Terminated != nil
	}
}

func testNamespaceNotOptedIn(t *testing.T) {
	f := newFixture(t, false)
	pod := kube.Pod(f.namespace, "outside", stuck(corev1.RestartPolicyNever))
	f.create(pod)
	f.awaitLine("outside", kube.MainEnd)
	f.canaryElsewhere()
	f.notReaped(pod)
	f.get(pod)
	if essential.IsTracked(pod) {
		t.Errorf("a pod in a namespace that did not opt in is tracked: %v", pod.Annotations)
	}
}

// canaryElsewhere is canary for a fixture whose own namespace did not opt in.
func (f *fixture) canaryElsewhere() {
	f.Helper()
	f.canary(f.anotherNamespace("-canary", true))
}

func testPodWithoutLabel(t *testing.T) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "plain", kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true"), kube.Sidecar("proxy")))
	f.create(pod)
	f.awaitLine("plain", kube.MainEnd)
	f.canary(f.namespace)
	f.notReaped(pod)
	f.get(pod)
	if essential.IsTracked(pod) {
		t.Errorf("a pod without the label is tracked: %v", pod.Annotations)
	}
}

// Removing the label from a running pod is how a user opts it out.
func testLabelRemoved(t *testing.T) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "letgo", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 5"), kube.Sidecar("proxy")))
	f.create(pod)
	f.awaitLine("letgo", kube.MainStart)
	f.must(f.cluster.Patch(f.ctx, pod, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"essential-containers":null}}}`))))
	f.awaitLine("letgo", kube.MainEnd)
	f.canary(f.namespace)
	f.notReaped(pod)
}

// The API's image of a static pod cannot be stopped, and is not tracked.
func testStaticPod(t *testing.T) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "static", stuck(corev1.RestartPolicyNever))
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	manifest, err := json.Marshal(pod)
	f.must(err)
	// The kubelet reads these in the folder next to the cluster's kubeconfig.
	file := filepath.Join(f.cluster.State(), "static-pods", f.namespace+".json")
	f.must(os.WriteFile(file, manifest, 0o600))
	var mirror *corev1.Pod
	t.Cleanup(func() { // before the namespace goes: the kubelet would make the pod again
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
		if mirror == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
		defer cancel()
		if err := f.cluster.AwaitGone(ctx, mirror); err != nil {
			t.Error(err)
		}
	})
	mirror = f.awaitPod("static", "the image of the static pod", essential.IsMirror)
	f.awaitLine("static", kube.MainEnd)
	f.canary(f.namespace)
	f.notReaped(mirror)
	if essential.IsTracked(mirror) {
		t.Errorf("the image of a static pod is tracked: %v", mirror.Annotations)
	}
}

// A copied manifest may carry what the webhook and the reaper wrote.
func testBroughtAnnotations(t *testing.T) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "copy", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), kube.Sidecar("proxy")))
	pod.Annotations = map[string]string{
		api.TrackedAnnotation: "proxy",
		api.StoppedAnnotation: "2020-01-01T00:00:00Z Succeeded: forged",
		api.DueAnnotation:     "2020-01-01T00:00:00Z Succeeded: forged",
		"example.com/own":     "stays",
	}
	f.create(pod)
	if got := pod.Annotations[api.TrackedAnnotation]; got != "main" {
		t.Errorf("tracked %q, want main", got)
	}
	if _, due := essential.DueOf(pod); due || essential.IsStopped(pod) || pod.Annotations["example.com/own"] != "stays" {
		t.Errorf("annotations after admission: %v", pod.Annotations)
	}
	f.awaitGone(pod)
	f.countStopped("copy", 1)
}

func testRejectsPods(t *testing.T) {
	f := newFixture(t, true)
	for sentence, c := range map[string]struct{ label, want string }{
		"an unknown name gets a suggestion": {"mian",
			`metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`},
		"an init container is named as such": {"setup", `Invalid value: "setup": is an init container`},
		"an empty value":                     {"", `must name an essential container; the pod has "main", "proxy"`},
		"an empty name":                      {"main__proxy", `empty name at position 2`},
		"a name twice":                       {"main_main", `container "main" is named twice`},
	} {
		t.Run(sentence, func(t *testing.T) {
			template := kube.Template(corev1.RestartPolicyNever, &c.label, kube.Main("true"), kube.Sidecar("proxy"))
			setup := kube.Main("true")
			setup.Name = "setup"
			template.Spec.InitContainers = []corev1.Container{setup}
			err := f.cluster.Create(t.Context(), kube.Pod(f.namespace, "rejected", template))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %s", err, c.want)
			}
		})
	}
}

func testRejectsPodsThroughAJob(t *testing.T) {
	f := newFixture(t, false) // where the Job itself is not checked
	job := kube.Job(f.namespace, "typo", kube.Template(corev1.RestartPolicyNever, new("mian"), kube.Main("true"), kube.Sidecar("proxy")))
	job.Spec.Suspend = new(true)
	f.create(job)
	f.optIn(f.namespace)
	f.must(f.cluster.Patch(f.ctx, job, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":false}}`))))
	f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
		var events eventsv1.EventList
		if err := f.cluster.List(ctx, &events, client.InNamespace(f.namespace)); err != nil {
			return false, err.Error()
		}
		for _, e := range events.Items {
			if e.Regarding.UID == job.UID && e.Reason == "FailedCreate" && strings.Contains(e.Note, `did you mean "main"?`) {
				return true, ""
			}
		}
		return false, "no event on the Job explains why its pod was rejected"
	}))
}

func testWarnsOfOneContainer(t *testing.T) {
	f := newFixture(t, true)
	heard, c := f.listen()
	f.must(c.Create(f.ctx, kube.Pod(f.namespace, "alone", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("true")))))
	if got := heard.String(); !strings.Contains(got, `"main" is the pod's only container`) {
		t.Errorf("got warnings %q", got)
	}
}

// listen is a client whose user sees the warnings.
func (f *fixture) listen() (*warnings, client.Client) {
	f.Helper()
	var heard warnings
	return &heard, f.client(rest.ImpersonationConfig{}, &heard)
}

type warnings struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.WriteString(message)
}

func (w *warnings) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Reset()
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// restrict has the API server admit only pods of the restricted level.
func (f *fixture) restrict() {
	f.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}
	f.get(namespace)
	namespace.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	f.must(f.cluster.Update(f.ctx, namespace))
}

// The API server itself judges the chart's pods by the restricted level.
func testRestrictedPodSecurity(t *testing.T) {
	f := newFixture(t, false)
	f.restrict()
	for _, name := range []string{kube.WebhookDeployment, kube.ReaperDeployment} {
		deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: kube.Release, Name: name}}
		f.get(deployment)
		pod := kube.Pod(f.namespace, name, deployment.Spec.Template)
		pod.Spec.ServiceAccountName, pod.Spec.DeprecatedServiceAccount = "default", ""
		if err := f.cluster.Create(f.ctx, pod, client.DryRunAll); err != nil {
			t.Errorf("the restricted level refuses %s: %v", name, err)
		}
	}
	unrestricted := kube.Pod(f.namespace, "control", kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true")))
	if err := f.cluster.Create(f.ctx, unrestricted, client.DryRunAll); err == nil {
		t.Error("the restricted level is not enforced here")
	}
}

// The API server's authorizer says what the service accounts may do.
func testReaperMayDoNothingElse(t *testing.T) {
	reaper, webhook := kube.ReaperUser, kube.WebhookUser
	for _, c := range []struct {
		user, verb, group, resource, subresource, namespace string
		allowed                                             bool
	}{
		{reaper, "list", "", "pods", "", "default", true},
		{reaper, "watch", "", "pods", "", "default", true},
		{reaper, "delete", "", "pods", "", "default", true},
		{reaper, "patch", "", "pods", "", "default", true}, // within the bounds of a policy
		{reaper, "patch", "", "pods", "status", "default", false},
		{reaper, "update", "", "pods", "", "default", false},
		{reaper, "create", "events.k8s.io", "events", "", "default", true},
		{reaper, "update", "coordination.k8s.io", "leases", "", "default", false},
		{reaper, "create", "", "pods", "", "default", false},
		{reaper, "deletecollection", "", "pods", "", "default", false},
		{reaper, "create", "", "pods", "exec", "default", false},
		{reaper, "get", "", "secrets", "", kube.Release, false},
		{reaper, "get", "batch", "jobs", "", "default", false},
		{webhook, "list", "", "pods", "", "default", false},
		{webhook, "get", "", "secrets", "", kube.Release, false},
	} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: c.user,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: c.verb, Group: c.group, Resource: c.resource, Subresource: c.subresource, Namespace: c.namespace,
			},
		}}
		if err := clusterOf(t).Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed != c.allowed {
			t.Errorf("%s %s %s/%s in %s: allowed %t, want %t", c.user, c.verb, c.resource, c.subresource, c.namespace, review.Status.Allowed, c.allowed)
		}
	}
}

// The real cert-manager's conditions, in one sentence each.
func testCertificateStateIsExplained(t *testing.T) {
	f := newFixture(t, false)
	state, err := certmanager.Get(f.ctx, f.cluster, client.ObjectKey{Namespace: kube.Release, Name: kube.ServingCertificate})
	f.must(err)
	if !state.Ready || state.NotAfter.Before(time.Now()) {
		t.Errorf("the serving certificate is not ready: %+v", state)
	}
	blocked := &cmapi.Certificate{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "blocked"},
		Spec: cmapi.CertificateSpec{
			SecretName: "blocked", DNSNames: []string{"blocked.example.com"},
			IssuerRef: cmmeta.IssuerReference{Name: "missing", Kind: "Issuer"},
		},
	}
	f.create(blocked)
	f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
		state, err := certmanager.Get(ctx, f.cluster, client.ObjectKeyFromObject(blocked))
		if err != nil {
			return false, err.Error()
		}
		return !state.Ready && strings.Contains(state.Message, `"missing"`), "the state does not name the missing issuer: " + state.Message
	}))
}
