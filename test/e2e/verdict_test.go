//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// sharing gives every container of the template a common folder, /state.
func sharing(template corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	template.Spec.Volumes = []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	for i := range template.Spec.Containers {
		template.Spec.Containers[i].VolumeMounts = []corev1.VolumeMount{{Name: "state", MountPath: "/state"}}
	}
	return template
}

// container is one that runs a script of its own.
func container(name, script string) corev1.Container {
	c := kube.Main("")
	c.Name, c.Command[2] = name, script
	return c
}

// succeeds asserts that a Job is complete, that it counts no failure, and how
// often its main ran.
func (f *fixture) succeeds(job *batchv1.Job, runs int) {
	f.Helper()
	f.awaitComplete(job)
	f.counted(job, 1)
	f.count(job.Name, kube.MainStart, runs)
	f.count(job.Name, kube.MainEnd, 1)
}

// hangsOnce is a main that hangs in its first life and leaves with 0 when it is
// sent SIGTERM. Its second life does the work.
const hangsOnce = "if mkdir /state/tried; then trap 'exit 0' TERM; while true; do sleep 0.1; done; fi; while [ ! -e /state/go ]; do sleep 0.1; done"

// restarted asserts that the kubelet's restart of a main that exits with 0 is no
// completion: the pod keeps running until the second life has completed.
func restarted(t *testing.T, mode api.Mode, prepare func(*corev1.Container), restart func(*fixture, *corev1.Pod)) {
	f := newFixtureIn(t, mode)
	main := kube.Main(hangsOnce)
	prepare(&main)
	job := kube.Job(f.namespace, "restarted", sharing(kube.Template(corev1.RestartPolicyOnFailure, new("main"), main, kube.Sidecar("proxy"))))
	f.create(job)
	f.awaitLine("restarted-", kube.MainStart)
	restart(f, f.awaitPod("restarted-", "running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }))
	again := f.awaitPod("restarted-", "in the second life of its main", func(p *corev1.Pod) bool {
		main := containerStatus(p, "main")
		return main != nil && main.RestartCount == 1 && main.State.Running != nil
	})
	if last := containerStatus(again, "main").LastTerminationState.Terminated; last == nil || last.ExitCode != 0 {
		t.Errorf("the first life's end is %+v, want exit code 0", last)
	}
	f.canary(f.namespace)
	f.notReaped(again)
	f.kubectl("exec", again.Name, "-c", "proxy", "--", "touch", "/state/go")
	f.succeeds(job, 2)
	f.countStopped("restarted-", 1)
}

func testKilledByProbe(t *testing.T, mode api.Mode) {
	restarted(t, mode, func(main *corev1.Container) {
		main.LivenessProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "[ ! -e /state/tried ] || [ -e /state/probed ] || { touch /state/probed; exit 1; }"}}},
			PeriodSeconds: 10, FailureThreshold: 1, TimeoutSeconds: 10,
		}
	}, func(*fixture, *corev1.Pod) {})
}

func testResized(t *testing.T, mode api.Mode) {
	restarted(t, mode, func(main *corev1.Container) {
		main.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}
		main.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
	}, func(f *fixture, pod *corev1.Pod) {
		f.must(f.cluster.SubResource("resize").Patch(f.ctx, pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType,
			[]byte(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"20m"}}}]}}`))))
	})
}

func testImageChanged(t *testing.T, mode api.Mode) {
	restarted(t, mode, func(*corev1.Container) {}, func(f *fixture, pod *corev1.Pod) {
		// The same image by another name is a change to the kubelet.
		body := fmt.Appendf(nil, `{"spec":{"containers":[{"name":"main","image":%q}]}}`, strings.TrimPrefix(kube.Image, "docker.io/library/"))
		f.must(f.cluster.Patch(f.ctx, pod.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, body)))
	})
}

// A sidecar that fails because main has ended (case F06), in the same moment or
// before it, does not fail the pod. Reports: GoogleCloudPlatform/cloud-sql-proxy
// 262, aws/amazon-cloudwatch-agent 770, openkruise/kruise 1285.
func testSidecarFails(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	untilClosed := func(name, then string) corev1.Container {
		return container(name, "while [ ! -e /state/closed ]; do sleep 0.1; done; "+then)
	}
	jobs := map[string][]corev1.Container{
		"coupled":    {container("main", "echo '"+kube.MainStart+"'; sleep 3; echo '"+kube.MainEnd+"'; touch /state/closed"), untilClosed("tailer", "exit 2")},
		"workaround": {kube.Main("sleep 3; touch /state/closed; sleep 1"), untilClosed("proxy", "exit 143")},
		"before":     {kube.Main("touch /state/closed; sleep 4"), untilClosed("proxy", "sleep 1; exit 1")},
		"together":   {kube.Main("touch /state/closed; sleep 3"), untilClosed("proxy", "sleep 3; exit 1")},
	}
	if mode == api.ModeReap {
		jobs["delayed"] = []corev1.Container{
			container("main", "echo '"+kube.MainStart+"'; sleep 1; echo '"+kube.MainEnd+"'; touch /state/closed"), untilClosed("tailer", "sleep 8; exit 2")}
	}
	for name, containers := range jobs {
		template := sharing(kube.Template(corev1.RestartPolicyNever, new("main"), containers...))
		template.Spec.TerminationGracePeriodSeconds = new(int64(5))
		if name == "delayed" {
			template = annotated(template, api.StopDelayAnnotation, "30s")
		}
		f.create(kube.Job(f.namespace, name, template))
	}
	for name := range jobs {
		f.succeeds(kube.Job(f.namespace, name, corev1.PodTemplateSpec{}), 1)
	}
}

// The default: a failure that the kubelet does not restart ends the pod, and the
// Job tries again.
func testFailsUnderNever(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	job := kube.Job(f.namespace, "never", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("exit 3"), kube.Sidecar("proxy")))
	job.Spec.BackoffLimit = new(int32(1))
	f.create(job)
	await(f, job, "failed", func(j *batchv1.Job) bool { return j.Status.Failed == 2 })
	f.awaitEventOf(job, "BackoffLimitExceeded")
	f.count("never-", kube.MainStart, 2)
	for _, pod := range f.pods("never-") {
		f.countEnded(pod.Name)
		if mode == api.ModeReap {
			f.describes("pod", pod.Name, api.FailedReason, `Essential container "main" failed with exit code 3`)
		}
	}
}

// A port of the node belongs to a pod until its last container has ended (case
// F03). Reports: kubernetes/kubernetes 76772, 106884, 104560.
func testHostPort(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	const flushed = "sidecar: flushed"
	slow := kube.Sidecar("metrics")
	slow.Command[2] = strings.Replace(slow.Command[2], "exit 143", "sleep 5; echo '"+flushed+"'; exit 0", 1)
	port := int32(18080)
	if mode == api.ModeNative {
		port++
	}
	slow.Ports = []corev1.ContainerPort{{ContainerPort: port, HostPort: port}}
	job := kube.Job(f.namespace, "port", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), slow))
	job.Spec.Completions, job.Spec.Parallelism, job.Spec.BackoffLimit = new(int32(2)), new(int32(1)), new(int32(0))
	f.create(job)
	f.awaitComplete(job)
	f.counted(job, 2)
	starts, flushes := f.logs.Find("port-", kube.MainStart), f.logs.Find("port-", flushed)
	if len(starts) != 2 || len(flushes) != 2 || starts[1].Time.Before(flushes[0].Time) {
		t.Errorf("mains started %v, sidecars flushed %v", starts, flushes)
	}
}

// On a full node the next pod waits until the last container of a stopped pod has
// ended. Otherwise the kubelet rejects it, and another Job fails.
func testFullNode(t *testing.T) {
	f := newFixture(t, true)
	free := f.freeCPU()
	request := func(template corev1.PodTemplateSpec, milli int64) corev1.PodTemplateSpec {
		template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI)}
		return template
	}
	slow := kube.Sidecar("proxy")
	slow.Lifecycle.PreStop.Exec.Command[2] += "; sleep 12"
	a := kube.Job(f.namespace, "a", request(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 5"), slow), free*2/3))
	b := kube.Job(f.namespace, "b", request(kube.Template(corev1.RestartPolicyNever, nil, kube.Main("sleep 1")), free*2/3))
	b.Spec.BackoffLimit = new(int32(0))
	f.create(a)
	f.awaitLine("a-", kube.MainStart)
	f.create(b)
	f.awaitLine("a-", kube.PreStop)
	if pods := f.pods("b-"); len(pods) != 1 || pods[0].Status.Phase != corev1.PodPending || pods[0].Spec.NodeName != "" {
		t.Errorf("while the node is full, the pods of the other Job are %v", pods)
	}
	f.succeeds(a, 1)
	f.succeeds(b, 1)
}

// freeCPU returns the CPU of the only node that no pod requests, in thousandths.
func (f *fixture) freeCPU() (milli int64) {
	f.Helper()
	var nodes corev1.NodeList
	f.must(f.cluster.List(f.ctx, &nodes))
	milli = nodes.Items[0].Status.Allocatable.Cpu().MilliValue()
	var pods corev1.PodList
	f.must(f.cluster.List(f.ctx, &pods))
	for _, pod := range pods.Items {
		if !essential.IsTerminal(&pod) {
			for _, c := range pod.Spec.Containers {
				milli -= c.Resources.Requests.Cpu().MilliValue()
			}
		}
	}
	return milli
}

// exitsWell is a main that never ends by itself, and exits with 0 when it is asked
// to end.
func exitsWell() corev1.Container {
	main := kube.Sidecar("main")
	main.Command[2] = strings.Replace(main.Command[2], "exit 143", "exit 0", 1)
	main.Lifecycle = nil
	return main
}

// slowly makes a sidecar take that many seconds to end, so that main is seen to
// have ended while the pod has not.
func slowly(sidecar corev1.Container, seconds int) corev1.Container {
	sidecar.Command[2] = strings.Replace(sidecar.Command[2], "exit 143", fmt.Sprintf("sleep %d; exit 143", seconds), 1)
	return sidecar
}

// The kubelet ends a pod for its own reasons, here to make room for a critical
// pod. That main then exits with 0 is no completion, although the reaper sees
// nothing but the exit code at that moment.
func testPreemptedByKubelet(t *testing.T) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "victim", kube.Template(corev1.RestartPolicyNever, new("main"), exitsWell(), slowly(kube.Sidecar("proxy"), 5)))
	free := f.freeCPU()
	requests := func(milli int64) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI)}}
	}
	pod.Spec.Containers[0].Resources = requests(free - 50)
	f.create(pod)
	await(f, pod, "running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	critical := kube.Pod(f.namespace, "critical", kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true")))
	critical.Spec.Containers[0].Resources = requests(free - 100)
	critical.Spec.PriorityClassName, critical.Spec.NodeName = "system-node-critical", pod.Spec.NodeName // past the scheduler
	f.create(critical)
	await(f, pod, "ended", essential.IsTerminal)
	disruption := essential.Condition(pod, corev1.DisruptionTarget)
	if pod.Status.Phase != corev1.PodFailed || disruption == nil || disruption.Reason != corev1.PodReasonTerminationByKubelet {
		t.Errorf("the pod ended as %s, reason %s, %+v", pod.Status.Phase, pod.Status.Reason, disruption)
	}
	// The kubelet may have removed the container before it reports how main ended.
	main := containerStatus(pod, "main")
	lost := main.LastTerminationState.Terminated
	if end := main.State.Terminated; (end == nil || end.ExitCode != 0) && (lost == nil || lost.Reason != "ContainerStatusUnknown") {
		t.Errorf("main ended as %+v, want exit code 0", main)
	}
	if pod.Status.Reason == api.FailedReason || pod.Status.Reason == "" {
		t.Errorf("the kubelet's reason is gone: %q", pod.Status.Reason)
	}
}

// What main exits with when the pod is deleted is no completion: by the eviction
// API, and by a plain deletion.
func testEvictedMainExitsWell(t *testing.T) {
	f := newFixture(t, true)
	for name, end := range map[string]func(*corev1.Pod) error{
		"deleted": func(p *corev1.Pod) error { return f.cluster.Delete(f.ctx, p.DeepCopy()) },
		"evicted": func(p *corev1.Pod) error {
			return f.cluster.SubResource("eviction").Create(f.ctx, p.DeepCopy(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}})
		},
	} {
		job := kube.Job(f.namespace, name, kube.Template(corev1.RestartPolicyNever, new("main"), exitsWell(), slowly(kube.Sidecar("proxy"), 5)))
		job.Spec.PodReplacementPolicy = new(batchv1.Failed)
		f.create(job)
		pod := f.awaitPod(name+"-", "running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
		f.awaitLine(pod.Name, kube.SidecarStart)
		f.must(end(pod))
		f.awaitPod(name+"-", "running in its place", func(p *corev1.Pod) bool { return p.UID != pod.UID && p.Status.Phase == corev1.PodRunning })
		await(f, job, "counting the first pod", func(j *batchv1.Job) bool { return j.Status.Failed == 1 })
		if job.Status.Succeeded != 0 {
			t.Errorf("%s: the Job counts %d successes", name, job.Status.Succeeded)
		}
	}
}

// A completion that is on record outlasts the deletion of the pod and the pod's
// own deadline (cases F04, F05). Reports: kubernetes/kubernetes 115844, 96363,
// jaegertracing/helm-charts 267.
func testEndedWithinStopDelay(t *testing.T) {
	f := newFixture(t, true)
	delayed := func(name string) *batchv1.Job {
		job := kube.Job(f.namespace, name, annotated(stuck(corev1.RestartPolicyNever), api.StopDelayAnnotation, "60s"))
		job.Spec.BackoffLimit = new(int32(2))
		return job
	}
	deleted, deadline := delayed("deleted"), delayed("deadline")
	deleted.Spec.PodReplacementPolicy = new(batchv1.Failed)
	deadline.Spec.Template.Spec.ActiveDeadlineSeconds = new(int64(15))
	across := kube.Job(f.namespace, "across", annotated(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 3"),
		slowly(kube.Sidecar("shipper"), 20)), api.RetentionAnnotation, "Forever"))
	across.Spec.Template.Spec.ActiveDeadlineSeconds = new(int64(18)) // its flush ends some 25 s after the start
	for _, job := range []*batchv1.Job{deleted, deadline, across} {
		f.create(job)
	}
	pod := f.awaitPod("deleted-", "due", func(p *corev1.Pod) bool { _, ok := essential.DueOf(p); return ok })
	f.awaitEventOf(pod, "StopDelayed")
	f.must(f.cluster.Delete(f.ctx, pod))
	for _, job := range []*batchv1.Job{deleted, deadline, across} {
		f.succeeds(job, 1)
	}
	if kept := f.awaitPod("across-", "ended", essential.IsTerminal); kept.Status.Phase != corev1.PodSucceeded || kept.Status.Reason != "" {
		t.Errorf("the pod that flushed across its deadline is %s, %s", kept.Status.Phase, kept.Status.Reason)
	}
}

// Sidecars with hooks and mains that wait for each other (case F07). Reports:
// linkerd/linkerd2 7659, kubernetes/kubernetes 81450, 116032.
func testPostStartHooks(t *testing.T) {
	f := newFixture(t, true)
	hook := func(script string) corev1.Container {
		c := kube.Sidecar("proxy")
		c.Lifecycle.PostStart = &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", script}}}
		return c
	}
	slow := kube.Job(f.namespace, "slow", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), hook("sleep 15")))
	waits := kube.Job(f.namespace, "waits", sharing(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("touch /state/up; sleep 5"),
		hook("for i in $(seq 600); do [ -e /state/up ] && exit 0; sleep 0.1; done; exit 1"))))
	native := waits.DeepCopy()
	f.create(slow)
	f.create(waits)
	native.Spec.Template.Annotations = map[string]string{api.ModeAnnotation: "Native"}
	f.warns(`the postStart hook of container "proxy" has to succeed before "main" starts`, native)
	f.succeeds(slow, 1)
	f.succeeds(waits, 1)
}

// warns asserts that the user who applies the object is warned.
func (f *fixture) warns(want string, object client.Object) {
	f.Helper()
	heard, c := f.listen()
	object = object.DeepCopyObject().(client.Object)
	object.SetResourceVersion("")
	object.SetUID("")
	object.SetName("warned")
	f.must(c.Create(f.ctx, object, client.DryRunAll))
	if got := heard.String(); !strings.Contains(got, want) || want == "" && got != "" {
		f.Errorf("got the warnings %q, want %q", got, want)
	}
}

// What means something else than it seems to is said at apply (cases F02, F05,
// F16). Reports: kubernetes/enhancements 753, cyberark/sidecar-injector 23,
// pegasystems/pega-helm-charts 205.
func testWarnsAtApply(t *testing.T) {
	f := newFixture(t, true)
	job := func(edit func(*batchv1.Job)) *batchv1.Job {
		j := kube.Job(f.namespace, "job", stuck(corev1.RestartPolicyNever))
		j.Spec.PodReplacementPolicy = new(batchv1.Failed)
		edit(j)
		return j
	}
	for want, edit := range map[string]func(*batchv1.Job){
		"": func(*batchv1.Job) {},
		"spec.podReplacementPolicy: choose Failed": func(j *batchv1.Job) { j.Spec.PodReplacementPolicy = nil },
		"spec.template.spec.restartPolicy: under OnFailure the Job counts the restarts of every container": func(j *batchv1.Job) {
			j.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		},
		"spec.activeDeadlineSeconds: the Job's deadline does not wait for the stop-delay of 1m0s": func(j *batchv1.Job) {
			j.Spec.ActiveDeadlineSeconds = new(int64(20))
			j.Spec.Template = annotated(j.Spec.Template, api.StopDelayAnnotation, "60s")
		},
		"metadata.labels[essential-containers]: has no effect: write it to spec.template.metadata.labels": func(j *batchv1.Job) {
			j.Labels, j.Spec.Template.Labels = map[string]string{api.Label: "main"}, nil
		},
		"metadata.annotations[essential-containers/on-failure]: has no effect: write it to spec.template.metadata.annotations": func(j *batchv1.Job) {
			j.Annotations = map[string]string{api.OnFailureAnnotation: "Stop"}
		},
		"spec.template.metadata.annotations[essential-containers]: has no effect: write it to spec.template.metadata.labels": func(j *batchv1.Job) {
			j.Spec.Template = annotated(kube.Template(corev1.RestartPolicyNever, nil, kube.Main("true"), kube.Sidecar("proxy")), api.Label, "main")
		},
		"spec.template.metadata.labels[essential-containers/on-failure]: has no effect: write it to spec.template.metadata.annotations": func(j *batchv1.Job) {
			j.Spec.Template.Labels[api.OnFailureAnnotation] = "Stop"
		},
		"annotations[essential-containers/completion]: has no effect: the label names one container": func(j *batchv1.Job) {
			j.Spec.Template = annotated(j.Spec.Template, api.CompletionAnnotation, "All")
		},
	} {
		f.warns(want, job(edit))
	}
}

// Under restartPolicy Always a probe's kill looks like a completion.
func testRefusesProbesUnderAlways(t *testing.T) {
	f := newFixture(t, true)
	template := stuck(corev1.RestartPolicyAlways)
	template.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(80)}}}
	const want = `Invalid value: "main": under restartPolicy Always a restart because of its livenessProbe looks like a completion: remove the livenessProbe, or choose restartPolicy OnFailure or Never`
	if err := f.cluster.Create(f.ctx, kube.Pod(f.namespace, "probed", template), client.DryRunAll); err == nil || !strings.Contains(err.Error(), "metadata.labels[essential-containers]: "+want) {
		t.Errorf("a pod: got error %v", err)
	}
	deployment := workloads(f.namespace, template)["Deployment spec.template."]
	if err := f.cluster.Create(f.ctx, deployment, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "spec.template.metadata.labels[essential-containers]: "+want) {
		t.Errorf("a Deployment: got error %v", err)
	}
}

// A main with nothing to do does not make a new pod every few seconds (case F14).
// Reports: kubernetes/kubernetes 53125, 58619, 57291.
func testSpinningDeployment(t *testing.T) {
	f := newFixture(t, true)
	f.create(workloads(f.namespace, kube.Template(corev1.RestartPolicyAlways, new("main"), kube.Main("true"), kube.Sidecar("proxy")))["Deployment spec.template."])
	const backOff = "in %s, because its owner's pods complete too often (back-off)"
	first := f.awaitPod("workload-", "tracked", essential.IsTracked)
	f.awaitGone(first.DeepCopy())
	var due []time.Time
	for _, delay := range []string{"10s", "20s"} {
		pod := f.awaitPod("workload-", "due", func(p *corev1.Pod) bool {
			r, ok := essential.DueOf(p)
			return ok && !essential.IsStopped(p) && (len(due) == 0 || r.At.After(due[len(due)-1]))
		})
		r, _ := essential.DueOf(pod)
		due = append(due, r.At)
		if note, want := f.awaitEventOf(pod, "StopDelayed"), fmt.Sprintf(backOff, delay); !strings.Contains(note, want) {
			t.Errorf("the event says %q, want %q", note, want)
		}
		f.awaitGone(pod.DeepCopy())
	}
	if pause := due[1].Sub(due[0]); pause < 10*time.Second {
		t.Errorf("the next pod completed %s after the one before", pause)
	}
}

// A pod that is kept keeps its phase, although its kubelet repeats its own every
// ten seconds, and nothing is written.
func testKeptPods(t *testing.T) {
	f := newFixture(t, true)
	succeeded := kube.Pod(f.namespace, "succeeded", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, "Forever"))
	failed := kube.Pod(f.namespace, "failed", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("exit 3"), kube.Sidecar("proxy")))
	for _, pod := range []*corev1.Pod{succeeded, failed} {
		f.create(pod)
		await(f, pod, "ended", essential.IsTerminal)
	}
	repeats := func(atLeast float64) {
		before := f.kubeletRepeats()
		f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
			repeats := f.kubeletRepeats() - before
			return repeats >= atLeast, fmt.Sprintf("the kubelet has repeated its phase %v times", repeats)
		}))
	}
	// The kubelet has some last changes of the status, such as of its resources. After
	// them, its repeated writes change nothing.
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		f.get(succeeded)
		f.get(failed)
		before := succeeded.ResourceVersion + " " + failed.ResourceVersion
		repeats(4)
		f.get(succeeded)
		f.get(failed)
		return before == succeeded.ResourceVersion+" "+failed.ResourceVersion, fmt.Sprintf("the pods are written again and again: %+v, %+v", succeeded.Status, failed.Status)
	}))
	if succeeded.Status.Phase != corev1.PodSucceeded || failed.Status.Reason != api.FailedReason {
		t.Errorf("the pods ended as %s, and %s with reason %s", succeeded.Status.Phase, failed.Status.Phase, failed.Status.Reason)
	}
}

// kubeletRepeats is how often the webhook had to answer a repeated status.
func (f *fixture) kubeletRepeats() (sum float64) {
	f.Helper()
	for _, pod := range f.components("webhook") {
		text, err := f.cluster.Metrics(f.ctx, pod.Name)
		f.must(err)
		value, _ := kube.Metric(text, `essential_containers_admission_requests_total\{resource="pods/status",result="kept"\}`)
		sum += value
	}
	return sum
}

// Pods of Helm's hooks and of other projects' controllers are kept for them, unless
// they choose a retention themselves.
func testKeptForTheirCreators(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "owner"}}
	f.create(owner)
	foreign := func(name string, pairs ...string) *corev1.Pod {
		pod := kube.Pod(f.namespace, name, annotated(stuck(corev1.RestartPolicyNever), pairs...))
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "argoproj.io/v1alpha1", Kind: "Workflow", Name: owner.Name, UID: owner.UID, Controller: new(true)}}
		return pod
	}
	// The garbage collector knows no such kind and leaves the pods alone.
	workflow, chosen := foreign("workflow"), foreign("chosen", api.RetentionAnnotation, "0s")
	hook := kube.Pod(f.namespace, "hook", annotated(stuck(corev1.RestartPolicyNever), "helm.sh/hook", "test"))
	for _, pod := range []*corev1.Pod{workflow, chosen, hook} {
		f.create(pod)
	}
	f.awaitGone(chosen)
	for _, pod := range []*corev1.Pod{workflow, hook} {
		await(f, pod, "succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
		f.kept(pod)
	}
}

// The label decides which pods take part, until the reaper has acted: from then on
// it stays, and the phase is decided whatever happens to the namespace's.
func testOptedOutAfterStop(t *testing.T) {
	f := newFixture(t, true)
	pod := kube.Pod(f.namespace, "stopped", annotated(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), slowly(kube.Sidecar("proxy"), 5)),
		api.RetentionAnnotation, "Forever"))
	early := kube.Pod(f.namespace, "early", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 5"), container("proxy", "sleep 8; exit 1")))
	f.create(early)
	f.create(pod)
	unlabel := func(p *corev1.Pod) error {
		return f.cluster.Patch(f.ctx, p.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"essential-containers":null}}}`)))
	}
	f.awaitLine("early", kube.MainStart)
	f.must(unlabel(early))
	f.awaitPod("stopped", "stopped", essential.IsStopped)
	if err := unlabel(pod); err == nil || !strings.Contains(err.Error(), "cannot be removed from a pod that has been stopped") {
		t.Errorf("the label of a stopped pod is removed: %v", err)
	}
	f.must(f.cluster.Patch(f.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}},
		client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"essential-containers":null}}}`))))
	for p, want := range map[*corev1.Pod]corev1.PodPhase{pod: corev1.PodSucceeded, early: corev1.PodFailed} {
		await(f, p, "ended", essential.IsTerminal)
		if p.Status.Phase != want {
			t.Errorf("pod %s ended as %s, want %s", p.Name, p.Status.Phase, want)
		}
	}
}

// A stop moves the pod into the scope of quotas for pods with a deadline, which can
// refuse it. The user reads why, and the stop is repeated.
func testQuotaScopes(t *testing.T) {
	f := newFixture(t, true)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "terminating"},
		Spec: corev1.ResourceQuotaSpec{
			Hard:   corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")},
			Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating},
		},
	}
	f.create(quota)
	await(f, quota, "counted", func(q *corev1.ResourceQuota) bool { return q.Status.Used != nil })
	job := kube.Job(f.namespace, "job", stuck(corev1.RestartPolicyNever))
	f.create(job)
	f.awaitLine("job-", kube.MainEnd)
	f.describes("job", job.Name, "StopRefused", "exceeded quota: terminating")
	f.must(f.cluster.Patch(f.ctx, quota, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"hard":{"pods":"1"}}}`))))
	f.succeeds(job, 1)
}

// The webhook is down when the phase is to be decided: the Job ends late, not
// wrong.
func testWebhookDown(t *testing.T) {
	f := newFixture(t, true)
	job := kube.Job(f.namespace, "late", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 5"), kube.Sidecar("proxy")))
	job.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(1))
	native := kube.Job(f.namespace, "native", annotated(job.Spec.Template, api.ModeAnnotation, "Native"))
	f.create(job)
	f.create(native)
	f.awaitLine("late-", kube.MainStart)
	f.awaitLine("native-", kube.MainStart)
	f.scale(kube.WebhookDeployment, "webhook", 0)
	f.awaitLine("late-", kube.Terminated)
	pod := f.awaitPod("late-", "stopped", essential.IsStopped)
	f.describes("pod", pod.Name, "StopOverdue", "that the API server can reach the webhook")
	f.get(job)
	if f.get(pod); pod.Status.Phase != corev1.PodRunning || job.Status.Succeeded+job.Status.Failed != 0 {
		t.Errorf("without a verdict the pod is %s, the Job counts %+v", pod.Status.Phase, job.Status)
	}
	f.scale(kube.WebhookDeployment, "webhook", 2)
	for _, j := range []*batchv1.Job{job, native} {
		f.succeeds(j, 1)
	}
}

// The stop is in the pod's specification: it outlasts the kubelet, the reaper and
// the API server.
func testStopOutlastsOutages(t *testing.T) {
	f := newFixture(t, true)
	var jobs []*batchv1.Job
	for i := range 4 {
		template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 8"), slowly(kube.Sidecar("proxy"), 5))
		jobs = append(jobs, kube.Job(f.namespace, fmt.Sprintf("job%d", i), template))
		f.create(jobs[i])
	}
	for _, job := range jobs {
		f.awaitLine(job.Name+"-", kube.MainStart)
	}
	// Some pods are stopped by then, of others it is not even known that main has ended.
	f.awaitPod("job", "stopped", essential.IsStopped)
	f.must(f.cluster.Part("stop", "--kill", "kubelet"))
	t.Cleanup(func() { _ = f.cluster.Part("start", "kubelet") })
	f.must(f.cluster.Part("start", "kubelet"))
	f.must(f.cluster.Part("stop", "--kill", "kube-apiserver"))
	f.must(f.cluster.Part("start", "kube-apiserver"))
	for _, job := range jobs {
		f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
			err := f.cluster.Get(ctx, client.ObjectKeyFromObject(job), job)
			return err == nil && kube.JobComplete(job), fmt.Sprintf("job %s: %+v, %v", job.Name, job.Status, err)
		}))
		f.counted(job, 1)
	}
}
