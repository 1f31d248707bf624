//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// typo is the denial for a user who writes mian for main.
const typo = `Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`

func testRejectsPolicies(t *testing.T) {
	f := newFixture(t, true)
	for annotation, want := range map[string]string{
		api.CompletionAnnotation: "must be Any or All",
		api.OnFailureAnnotation:  "must be Stop or Ignore",
		api.StopDelayAnnotation:  "must be a duration such as 90s, 1h30m or 2d",
		api.RetentionAnnotation:  "must be a duration such as 90s, 1h30m or 2d, or Forever",
	} {
		want = "metadata.annotations[" + annotation + `]: Invalid value: "nonsense": ` + want
		err := f.cluster.Create(f.ctx, kube.Pod(f.namespace, "rejected", annotated(stuck(corev1.RestartPolicyNever), annotation, "nonsense")))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %s", err, want)
		}
	}
}

// workloads are one of each kind, with this template.
func workloads(namespace string, template corev1.PodTemplateSpec) map[string]client.Object {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: "workload"}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "workload"}}
	forJobs := *template.DeepCopy()
	forJobs.Spec.RestartPolicy = corev1.RestartPolicyNever
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	template.Labels["app"], template.Spec.RestartPolicy = "workload", corev1.RestartPolicyAlways
	return map[string]client.Object{
		"spec.template.":                  &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: forJobs}},
		"spec.jobTemplate.spec.template.": &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: forJobs}}}},
		"Deployment spec.template.":       &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}},
		"ReplicaSet spec.template.":       &appsv1.ReplicaSet{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}},
		"StatefulSet spec.template.":      &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}},
		"DaemonSet spec.template.":        &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
	}
}

// A typing error is reported to the user who applies the workload, not only in an event
// of its controller.
func testRejectsWorkloads(t *testing.T) {
	f := newFixture(t, true)
	template := func(label string) corev1.PodTemplateSpec {
		return kube.Template(corev1.RestartPolicyNever, &label, kube.Main("true"), kube.Sidecar("proxy"))
	}
	for kind, workload := range workloads(f.namespace, template("mian")) {
		path := kind[strings.LastIndex(kind, " ")+1:]
		want := path + "metadata.labels[essential-containers]: " + typo
		if err := f.cluster.Create(f.ctx, workload, client.DryRunAll); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %s", kind, err, want)
		}
	}
	for kind, workload := range workloads(f.namespace, annotated(template("main"), api.OnFailureAnnotation, "stop")) {
		if err := f.cluster.Create(f.ctx, workload, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "must be Stop or Ignore") {
			t.Errorf("%s with a bad policy: got error %v", kind, err)
		}
	}
	for kind, workload := range workloads(f.namespace, template("main")) {
		if err := f.cluster.Create(f.ctx, workload, client.DryRunAll); err != nil {
			t.Errorf("%s: got error %v", kind, err)
		}
	}
}

// kubectl apply of a CronJob with a typing error fails there and then.
func testRejectsCronJobAtApply(t *testing.T) {
	f := newFixture(t, true)
	apply := f.kubectlCommand("apply", "-f", "-")
	apply.Stdin = strings.NewReader(`
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        metadata: {labels: {essential-containers: mian}}
        spec:
          restartPolicy: Never
          containers:
          - {name: main, image: "example.com/main:1"}
          - {name: proxy, image: "example.com/proxy:1"}
`)
	output, err := apply.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "spec.jobTemplate.spec.template.metadata.labels[essential-containers]: "+typo) {
		t.Errorf("kubectl apply: %v\n%s", err, output)
	}
}

// What was there before the namespace opted in can be scaled, changed and
// deleted with its old mistake, but gets no new one.
func testWorkloadFromBefore(t *testing.T) {
	f := newFixture(t, false)
	template := kube.Template(corev1.RestartPolicyAlways, new("mian"), kube.Main("true"), kube.Sidecar("proxy"))
	template.Labels["app"] = "old"
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "old"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(0)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "old"}}, Template: template,
		},
	}
	f.create(deployment)
	f.optIn(f.namespace)
	patch := func(body string, options ...client.PatchOption) error {
		return f.cluster.Patch(f.ctx, deployment, client.RawPatch(types.StrategicMergePatchType, []byte(body)), options...)
	}
	f.must(patch(`{"spec":{"replicas":1}}`))
	f.must(patch(`{"metadata":{"finalizers":["example.com/wait"]}}`))
	t.Cleanup(func() { // before the namespace goes, which would wait for it
		_ = f.cluster.Patch(context.Background(), deployment, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
	// The API server learns a moment later that the namespace has opted in.
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		err := patch(`{"spec":{"template":{"metadata":{"labels":{"essential-containers":"maim"}}}}}`, client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), strings.Replace(typo, "mian", "maim", 1)), fmt.Sprintf("another mistake: %v", err)
	}))
	f.must(patch(`{"spec":{"template":{"metadata":{"annotations":{"changed":"yes"}}}}}`))
	f.must(patch(`{"spec":{"replicas":2}}`))
	f.must(f.cluster.Delete(f.ctx, deployment))
	f.must(patch(`{"metadata":{"finalizers":null}}`))
}

// optIn lets the namespace take part from now on.
func (f *fixture) optIn(namespace string) {
	f.Helper()
	f.must(f.cluster.Patch(f.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"essential-containers":"enabled"}}}`))))
}

// as is the client of another user; every group may do everything, so that only
// admission can say no.
func (f *fixture) as(user string, groups ...string) client.Client {
	f.Helper()
	return f.client(rest.ImpersonationConfig{UserName: user, Groups: groups}, rest.NoWarnings{})
}

// Only the webhook and the reaper write their annotations, and the reaper changes
// nothing else.
func testTrackingCannotBeForged(t *testing.T) {
	f := newFixture(t, true)
	outside := f.anotherNamespace("-outside", false)
	lasting := func(namespace, name string, label *string) *corev1.Pod {
		pod := kube.Pod(namespace, name, kube.Template(corev1.RestartPolicyNever, label, kube.Sidecar("main"), kube.Sidecar("proxy")))
		f.create(pod)
		return pod
	}
	tracked, plain, untracked := lasting(f.namespace, "tracked", new("main")), lasting(f.namespace, "plain", nil), lasting(outside, "untracked", new("main"))

	admin, reaper := f.as("mallory", "system:masters"), f.as(kube.ReaperUser)
	metadata := func(c client.Client, pod *corev1.Pod, body string) error {
		return c.Patch(f.ctx, pod.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(body)), client.DryRunAll)
	}
	status := func(c client.Client, pod *corev1.Pod, body string) error {
		return c.Status().Patch(f.ctx, pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, []byte(body)), client.DryRunAll)
	}
	create := func(namespace string, label *string, pairs ...string) error {
		return admin.Create(f.ctx, kube.Pod(namespace, "forged", annotated(kube.Template(corev1.RestartPolicyNever, label, kube.Main("true"), kube.Sidecar("proxy")), pairs...)), client.DryRunAll)
	}
	bind := func(pod *corev1.Pod, meta metav1.ObjectMeta) error {
		meta.Namespace, meta.Name = pod.Namespace, pod.Name
		return admin.SubResource("binding").Create(f.ctx, pod.DeepCopy(), &corev1.Binding{ObjectMeta: meta, Target: corev1.ObjectReference{Kind: "Node", Name: "nowhere"}}, &client.SubResourceCreateOptions{CreateOptions: client.CreateOptions{DryRun: []string{metav1.DryRunAll}}})
	}
	const (
		track = `{"metadata":{"annotations":{"essential-containers/tracked":"main"}}}`
		other = `{"metadata":{"annotations":{"essential-containers/tracked":"proxy"}}}`
		untr  = `{"metadata":{"annotations":{"essential-containers/tracked":null}}}`
		stop  = `{"metadata":{"annotations":{"essential-containers/stopped":"2030-01-01T00:00:00Z Succeeded: x"}},"spec":{"activeDeadlineSeconds":1}}`
		due   = `{"metadata":{"annotations":{"essential-containers/due":"2030-01-01T00:00:00Z Succeeded: x"}}}`
		only  = "are written by the webhook and the reaper alone"
		label = `{"metadata":{"labels":{"essential-containers":%q}}}`
		birth = "takes effect when a pod is created"
		bound = "the API server copies the metadata of a Binding to the pod"
	)
	succeeded := time.Now().UTC().Format(time.RFC3339) + " Succeeded: x"
	forged := kube.Pod(f.namespace, "brought", annotated(kube.Template(corev1.RestartPolicyNever, nil, kube.Main("exit 1"), kube.Main("exit 1")),
		api.TrackedAnnotation, "main", api.StoppedAnnotation, succeeded))
	forged.Spec.Containers[1].Name = "proxy"
	f.create(forged)
	copied := kube.Pod(f.namespace, "copied", annotated(kube.Template(corev1.RestartPolicyNever, nil, kube.Sidecar("main"), kube.Sidecar("proxy")),
		api.TrackedAnnotation, "main"))
	f.create(copied)
	ending := kube.Pod(f.namespace, "ending", annotated(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Sidecar("main"), kube.Sidecar("proxy")),
		api.RetentionAnnotation, "Forever"))
	f.create(ending)
	f.must(reaper.Patch(f.ctx, ending.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(stop))))
	policy := func(write func(client.Client, *corev1.Pod, string) error, pod *corev1.Pod, key, value string) error {
		return write(admin, pod, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value))
	}
	for sentence, c := range map[string]struct {
		err  error
		want string // in the error; empty: none
	}{
		"a pod brings the mark into a namespace that did not opt in": {create(outside, new("main"), api.TrackedAnnotation, "main"), "this namespace has not opted in"},
		"a pod without the label brings all, as a copy does":         {create(f.namespace, nil, api.TrackedAnnotation, "main", api.StoppedAnnotation, "2030-01-01T00:00:00Z Failed: x", api.DueAnnotation, "x"), ""},
		"a user labels that pod afterwards":                          {metadata(admin, copied, fmt.Sprintf(label, "main")), birth},
		"a user changes the label of a tracked pod":                  {metadata(admin, tracked, fmt.Sprintf(label, "proxy")), birth},
		"a user does so through the status, too":                     {status(admin, tracked, fmt.Sprintf(label, "proxy")), birth},
		"a user labels a pod that brought a stop alone":              {metadata(admin, forged, `{"metadata":{"labels":{"essential-containers":"main"},"annotations":{"essential-containers/tracked":null}}}`), birth},
		"a user labels a pod that was never tracked":                 {metadata(admin, plain, fmt.Sprintf(label, "main")), ""},
		"a policy that cannot be read":                               {policy(metadata, tracked, api.RetentionAnnotation, "1w"), "must be a duration such as 90s, 1h30m or 2d, or Forever"},
		"a stop-delay that cannot be read, through the status":       {policy(status, tracked, api.StopDelayAnnotation, "Forever"), "must be a duration such as 90s, 1h30m or 2d"},
		"a completion that cannot be read":                           {policy(metadata, tracked, api.CompletionAnnotation, "all"), "must be Any or All"},
		"a policy on failure that cannot be read":                    {policy(metadata, tracked, api.OnFailureAnnotation, ""), "must be Stop or Ignore"},
		"a mode that cannot be read":                                 {policy(metadata, tracked, api.ModeAnnotation, "native"), "must be Reap or Native"},
		"a policy in days":                                           {policy(metadata, tracked, api.RetentionAnnotation, "1d12h"), ""},
		"a pod that is not tracked may say anything":                 {policy(metadata, plain, api.RetentionAnnotation, "1w"), ""},
		"a labelled pod brings all, and the webhook corrects them":   {create(f.namespace, new("main"), api.TrackedAnnotation, "proxy", api.StoppedAnnotation, "x", api.DueAnnotation, "x"), ""},
		"a user writes the mark where it counts for nothing":         {metadata(admin, plain, track), ""},
		"a user tracks and labels a pod":                             {metadata(admin, plain, `{"metadata":{"labels":{"essential-containers":"main"},"annotations":{"essential-containers/tracked":"main"}}}`), only},
		"a user tracks a labelled pod":                               {metadata(admin, untracked, track), only},
		"a user changes what is tracked":                             {metadata(admin, tracked, other), only},
		"a user untracks a pod, as its own manifest does":            {metadata(admin, tracked, untr), ""},
		"a user does so through the status":                          {status(admin, untracked, track), only},
		"a user stops a pod in the reaper's name":                    {metadata(admin, tracked, stop), only},
		"a user records a completion in the reaper's name":           {status(admin, tracked, due), only},
		"a user binds a pod to a node with the mark":                 {bind(plain, metav1.ObjectMeta{Annotations: map[string]string{api.TrackedAnnotation: "main"}}), bound},
		"a user binds a copy to a node with the label":               {bind(copied, metav1.ObjectMeta{Labels: map[string]string{api.Label: "main"}}), bound},
		"a user removes the label of a stopped pod":                  {metadata(admin, ending, `{"metadata":{"labels":{"essential-containers":null}}}`), "cannot be removed from a pod that has been stopped"},
		"a user removes the label, to opt the pod out":               {metadata(admin, tracked, `{"metadata":{"labels":{"essential-containers":null}}}`), ""},
		"a user changes another annotation":                          {metadata(admin, tracked, `{"metadata":{"annotations":{"example.com/x":"y"}}}`), ""},
		"a user deletes a tracked pod":                               {admin.Delete(f.ctx, tracked.DeepCopy(), client.DryRunAll), ""},
		"the reaper stops a tracked pod":                             {metadata(reaper, tracked, stop), ""},
		"the reaper delays the stop of a tracked pod":                {metadata(reaper, tracked, due), ""},
		"the reaper deletes a tracked pod":                           {reaper.Delete(f.ctx, tracked.DeepCopy(), client.DryRunAll), ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			if (c.err == nil) != (c.want == "") || c.err != nil && !strings.Contains(c.err.Error(), c.want) {
				t.Errorf("got error %v, want %q", c.err, c.want)
			}
		})
	}
	f.boundsReaper(tracked, plain, untracked)
	if failed := f.awaitPod("brought", "ended", essential.IsTerminal); failed.Status.Phase != corev1.PodFailed {
		t.Errorf("a pod without the label that brought a stop is %s", failed.Status.Phase)
	}
}

// What people do with tracked pods every day is not refused.
func testOrdinaryCommands(t *testing.T) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "original", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Sidecar("main"), kube.Sidecar("proxy")))
	f.create(pod)
	f.kubectl("wait", "pod/original", "--for=condition=Ready", "--timeout=60s")
	debug := []string{"debug", "original", "--copy-to=copy", "--container=debugger", "--image=" + kube.Image}
	if flag := "--keep-annotations"; !isTooOld(t, flag) {
		debug = append(debug, flag)
	}
	f.kubectl(append(debug, "--", "sleep", "1")...)
	copied := f.awaitPod("copy", "there", func(*corev1.Pod) bool { return true })
	if _, labelled := copied.Labels[api.Label]; labelled || copied.Annotations[api.TrackedAnnotation] != "main" {
		t.Errorf("the copy has the labels %v and the annotations %v: this test tries nothing", copied.Labels, copied.Annotations)
	}
	f.kubectl("debug", "original", "--container=guest", "--image="+kube.Image, "--", "true") // an ephemeral container
	f.awaitPod("original", "left by its guest", func(p *corev1.Pod) bool {                   // its status would be a conflict for replace
		return len(p.Status.EphemeralContainerStatuses) == 1 && p.Status.EphemeralContainerStatuses[0].State.Terminated != nil
	})
	f.kubectl("annotate", "pod/original", "essential-containers/retention=1d", "example.com/note=x")
	f.kubectl("label", "pod/original", "team=batch")

	// The user's own manifest does not know the annotations.
	f.must(f.cluster.Get(f.ctx, client.ObjectKeyFromObject(pod), pod))
	pod.Annotations, pod.ManagedFields, pod.ResourceVersion = nil, nil, ""
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	manifest, err := json.Marshal(pod)
	f.must(err)
	file := filepath.Join(t.TempDir(), "pod.json")
	f.must(os.WriteFile(file, manifest, 0o600))
	f.kubectl("replace", "-f", file)
	f.awaitEventOf(pod, "Untracked")
	f.kubectl("label", "pod/original", "essential-containers-")
}

// boundsReaper tries everything else as the reaper's account, with every right
// that RBAC can give: only the policy can refuse. Subresources are not in the
// reaper's role.
func (f *fixture) boundsReaper(tracked, plain, untracked *corev1.Pod) {
	f.Helper()
	reaper := f.as(kube.ReaperUser, "system:masters")
	const (
		notTracked = "only pods with the annotation essential-containers/tracked"
		spec       = "nothing in a pod's spec but activeDeadlineSeconds"
		meta       = "nothing in a pod's metadata but its own annotations"
	)
	limited := kube.Pod(f.namespace, "limited", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Sidecar("main"), kube.Sidecar("proxy")))
	limited.Spec.ActiveDeadlineSeconds = new(int64(3600))
	f.create(limited)
	for sentence, c := range map[string]struct {
		pod   *corev1.Pod
		patch string // a strategic merge patch
		want  string // in the error; empty: allowed
	}{
		"stop a pod that is not tracked":          {plain, `{"spec":{"activeDeadlineSeconds":1}}`, notTracked},
		"stop a labelled pod that is not tracked": {untracked, `{"spec":{"activeDeadlineSeconds":1}}`, notTracked},
		"track a pod":                             {untracked, `{"metadata":{"annotations":{"essential-containers/tracked":"main"}}}`, notTracked},
		"change what is tracked":                  {tracked, `{"metadata":{"annotations":{"essential-containers/tracked":"proxy"}}}`, meta},
		"untrack a pod":                           {tracked, `{"metadata":{"annotations":{"essential-containers/tracked":null}}}`, meta},
		"change an image":                         {tracked, `{"spec":{"containers":[{"name":"main","image":"example.com/other:1"}]}}`, spec},
		"add a toleration":                        {tracked, `{"spec":{"tolerations":[{"key":"x","operator":"Exists"}]}}`, spec},
		"lower a deadline":                        {limited, `{"spec":{"activeDeadlineSeconds":1}}`, ""},
		"change a label":                          {tracked, `{"metadata":{"labels":{"x":"y"}}}`, meta},
		"remove a label":                          {tracked, `{"metadata":{"labels":{"essential-containers":null}}}`, meta},
		"write an annotation that is not its own": {tracked, `{"metadata":{"annotations":{"x":"y"}}}`, meta},
		"write a policy":                          {tracked, `{"metadata":{"annotations":{"essential-containers/retention":"Forever"}}}`, meta},
		"add a finalizer":                         {tracked, `{"metadata":{"finalizers":["example.com/x"]}}`, meta},
		"add an owner":                            {tracked, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"x"}]}}`, meta},
	} {
		err := reaper.Patch(f.ctx, c.pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, []byte(c.patch)), client.DryRunAll)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			f.Errorf("the reaper tries to %s: got error %v, want %q", sentence, err, c.want)
		}
	}
	// The API server itself refuses a higher deadline, to everyone.
	if err := reaper.Delete(f.ctx, plain.DeepCopy(), client.DryRunAll); err == nil || !strings.Contains(err.Error(), notTracked) {
		f.Errorf("the reaper tries to delete a pod that is not tracked: %v", err)
	}
}

// awaitEventOf waits for an event about the object and returns its note.
func (f *fixture) awaitEventOf(object client.Object, reason string) (note string) {
	f.Helper()
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		for _, e := range f.events(object.GetUID()) {
			if e.Reason == reason {
				note = e.Note
				return true, ""
			}
		}
		return false, "no event " + reason + " about " + object.GetName()
	}))
	return note
}
