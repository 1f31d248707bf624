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
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// annotated adds annotations, given as key, value, to a template.
func annotated(template corev1.PodTemplateSpec, pairs ...string) corev1.PodTemplateSpec {
	template.Annotations = map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		template.Annotations[pairs[i]] = pairs[i+1]
	}
	return template
}

// failedAndKept asserts what is left of a pod whose failure ends it: in mode
// Native the kubelet's work alone.
func (f *fixture) failedAndKept(pod *corev1.Pod, message string) {
	f.Helper()
	await(f, pod, "failed, with all its containers ended", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodFailed && !essential.HasRunningContainers(p)
	})
	f.kept(pod)
	if f.mode == api.ModeNative {
		if n := f.countEvents(pod, "EssentialContainerFailed"); pod.Status.Reason == api.FailedReason || n > 0 {
			f.Errorf("the reaper acted: reason %s, %d events", pod.Status.Reason, n)
		}
		return
	}
	if pod.Status.Reason != api.FailedReason || pod.Status.Message != message {
		f.Errorf("reason %q and message %q, want the message %s", pod.Status.Reason, pod.Status.Message, message)
	}
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		return f.countEvents(pod, "EssentialContainerFailed") == 1, "no event reports the failure"
	}))
}

// kept asserts that the pod is not deleted once the reaper has had its time.
func (f *fixture) kept(pod *corev1.Pod) {
	f.Helper()
	f.canary(f.namespace)
	f.get(pod)
	if pod.DeletionTimestamp != nil {
		f.Errorf("pod %s is being deleted", pod.Name)
	}
}

// retried is a Job whose main fails in the first attempt.
func (f *fixture) retried() *batchv1.Job {
	main := kube.Main(`[ "$FAILURES" != 0 ] || exit 3; sleep 1`)
	main.Env = []corev1.EnvVar{{Name: "FAILURES", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
		FieldPath: "metadata.annotations['batch.kubernetes.io/job-index-failure-count']",
	}}}}
	template := annotated(kube.Template(corev1.RestartPolicyNever, new("main"), main, kube.Sidecar("proxy")))
	job := kube.Job(f.namespace, "retried", template)
	job.Spec.CompletionMode, job.Spec.Completions = new(batchv1.IndexedCompletion), new(int32(1)) // only these know their failures
	job.Spec.BackoffLimitPerIndex = new(int32(1))
	return job
}

// countRetried asserts that both attempts of it count.
func (f *fixture) countRetried(job *batchv1.Job) {
	f.Helper()
	f.get(job)
	if job.Status.Succeeded != 1 || job.Status.Failed != 1 {
		f.Errorf("the Job counts %d successes and %d failures, want 1 each", job.Status.Succeeded, job.Status.Failed)
	}
	f.count("retried-", kube.MainStart, 2)
}

// The attempt that fails must end, so that there can be a second one.
func testFailureStops(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	job := f.retried()
	f.create(job)
	first := f.awaitPod("retried-", "tracked", essential.IsTracked)
	f.failedAndKept(first, `Essential container "main" failed with exit code 3`)
	f.awaitComplete(job)
	f.countRetried(job)
	f.countEnded(first.Name)
	f.kept(first)
	told := []string{
		"Pod " + first.Name + `: Essential container "main" failed with exit code 3; stopping the pod's other containers, the pod is kept as failed`,
		`: Essential container "main" completed with exit code 0; stopping the pod's other containers, the pod is deleted once they have ended`,
	}
	if mode == api.ModeNative {
		told = []string{`: Essential container "main" completed with exit code 0; deleting the pod`}
	}
	f.describes("job", job.Name, told...)
}

// countEnded asserts that the sidecar of a pod whose main failed was stopped
// once, gracefully.
func (f *fixture) countEnded(pod string) {
	f.Helper()
	f.awaitLine(pod, kube.Terminated)
	f.count(pod, kube.PreStop, 1)
	f.count(pod, kube.Terminated, 1)
}

// describes asserts that kubectl describe shows these texts.
func (f *fixture) describes(kind, name string, parts ...string) {
	f.Helper()
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		output, err := f.kubectlCommand("describe", kind, name).CombinedOutput()
		if err != nil {
			return false, fmt.Sprintf("kubectl describe: %v\n%s", err, output)
		}
		for _, part := range parts {
			if !strings.Contains(string(output), part) {
				return false, fmt.Sprintf("kubectl describe %s does not show %q:\n%s", kind, part, output)
			}
		}
		return true, ""
	}))
}

// Whatever ended main, its exit code and reason are reported.
func testOutOfMemory(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	main := kube.Main("tail /dev/zero")
	main.Command = []string{"tail", "/dev/zero"} // the container's own process: a shell would survive its child
	main.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}
	pod := kube.Pod(f.namespace, "oom", annotated(kube.Template(corev1.RestartPolicyNever, new("main"), main, kube.Sidecar("proxy")), api.OnFailureAnnotation, "Stop"))
	f.create(pod)
	f.failedAndKept(pod, `Essential container "main" failed with exit code 137 (OOMKilled)`)
}

func testCannotRun(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	main := kube.Main("")
	main.Command = []string{"/there-is-no-such-program"}
	pod := kube.Pod(f.namespace, "cannotrun", annotated(kube.Template(corev1.RestartPolicyNever, new("main"), main, kube.Sidecar("proxy")), api.OnFailureAnnotation, "Stop"))
	f.create(pod)
	failed := f.awaitPod("cannotrun", "failed", essential.IsTerminal)
	status := containerStatus(failed, "main")
	if status.State.Terminated == nil || status.State.Terminated.ExitCode == 0 {
		t.Fatalf("main's state is %+v", status.State)
	}
	f.failedAndKept(pod, fmt.Sprintf(`Essential container "main" failed with exit code %d (%s)`, status.State.Terminated.ExitCode, status.State.Terminated.Reason))
}

// The deadline fails the pod. That main then exits with 0 on SIGTERM is no
// completion.
func testDeadlineExceeded(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	main := kube.Sidecar("main")
	main.Command[2] = strings.Replace(main.Command[2], "exit 143", "exit 0", 1)
	slow := kube.Sidecar("proxy") // so that main is seen ended while it still runs
	slow.Command[2] = strings.Replace(slow.Command[2], "exit 143", "sleep 5; exit 143", 1)
	pod := kube.Pod(f.namespace, "deadline", annotated(kube.Template(corev1.RestartPolicyNever, new("main"), main, slow), api.OnFailureAnnotation, "Stop"))
	pod.Spec.ActiveDeadlineSeconds = new(int64(10)) // main must have begun
	f.create(pod)
	await(f, pod, "over its deadline, with main ended well", func(p *corev1.Pod) bool {
		main := containerStatus(p, "main")
		return p.Status.Reason == "DeadlineExceeded" && main != nil && main.State.Terminated != nil && main.State.Terminated.ExitCode == 0
	})
	f.kept(pod)
	if essential.IsStopped(pod) || pod.Status.Phase != corev1.PodFailed {
		t.Errorf("the pod was stopped: %v, phase %s", pod.Annotations, pod.Status.Phase)
	}
}

// A container's own policy and rules decide before the pod's (Kubernetes 1.35).
func testRestartRules(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	retried := kube.Main(`[ -e /state/tried ] || { touch /state/tried; sleep 3; exit 42; }; sleep 1`)
	retried.VolumeMounts = []corev1.VolumeMount{{Name: "state", MountPath: "/state"}}
	retried.RestartPolicy = new(corev1.ContainerRestartPolicyNever)
	retried.RestartPolicyRules = []corev1.ContainerRestartRule{{
		Action:    corev1.ContainerRestartRuleActionRestart,
		ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}},
	}}
	template := annotated(kube.Template(corev1.RestartPolicyNever, new("main"), retried, kube.Sidecar("proxy")), api.OnFailureAnnotation, "Stop")
	template.Spec.Volumes = []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	job := kube.Job(f.namespace, "ruled", template)
	f.create(job)

	own := kube.Main("exit 3")
	own.RestartPolicy = new(corev1.ContainerRestartPolicyNever)
	pod := kube.Pod(f.namespace, "own", annotated(kube.Template(corev1.RestartPolicyOnFailure, new("main"), own, kube.Sidecar("proxy")), api.OnFailureAnnotation, "Stop"))
	f.create(pod)

	f.awaitComplete(job)
	f.counted(job, 1)
	f.count("ruled-", kube.MainStart, 2)
	f.countStopped("ruled-", 1)
	f.failedAndKept(pod, `Essential container "main" failed with exit code 3`)
	f.count("own", kube.MainStart, 1)
}

func testAllEssentialContainers(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	pod := kube.Pod(f.namespace, "all", inTurn())
	f.create(pod)
	f.awaitGone(pod.DeepCopy())
	f.inTurn("all")
}

// inTurn is a template of two essential containers that both count and that end
// one after the other.
func inTurn() corev1.PodTemplateSpec {
	second := kube.Main("sleep 5; echo 'second: end'")
	second.Name = "second"
	return annotated(kube.Template(corev1.RestartPolicyNever, new("main_second"), kube.Main("sleep 1; echo 'first: end'"), second, kube.Sidecar("proxy")),
		api.CompletionAnnotation, "All")
}

// inTurn asserts that the sidecar of its pod lived until the last one had ended.
func (f *fixture) inTurn(prefix string) {
	f.Helper()
	term := f.awaitLine(prefix, kube.Terminated)
	f.count(prefix, kube.Terminated, 1)
	for _, text := range []string{"first: end", "second: end"} {
		if end := f.awaitLine(prefix, text); end.Time.After(term.Time) {
			f.Errorf("SIGTERM came before %q", text)
		}
	}
}

// The delay begins with the first completion. What main does in it, under
// restartPolicy Always, takes nothing back: it fails until nothing in its
// status shows the completion.
func testStopDelay(t *testing.T) {
	const delay = 20 * time.Second
	f := newFixture(t, true)
	main := kube.Main(`mkdir /state/completed || exit 1; sleep 5`)
	main.VolumeMounts = []corev1.VolumeMount{{Name: "state", MountPath: "/state"}}
	template := annotated(kube.Template(corev1.RestartPolicyAlways, new("main"), main, kube.Sidecar("proxy")), api.StopDelayAnnotation, delay.String())
	template.Spec.Volumes = []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	pod := kube.Pod(f.namespace, "delayed", template)
	f.create(pod)
	forgotten := f.awaitPod("delayed", "running with a completion that its status has forgotten", func(p *corev1.Pod) bool {
		main := containerStatus(p, "main")
		return main != nil && main.LastTerminationState.Terminated != nil && main.LastTerminationState.Terminated.ExitCode == 1
	})
	if due, ok := essential.DueOf(forgotten); !ok || due.Because != completed {
		t.Errorf("the delay is not on record: %v", forgotten.Annotations)
	}
	f.awaitGone(pod.DeepCopy())
	f.countStopped("delayed", 1)
	end, term := f.awaitLine("delayed", kube.MainEnd), f.awaitLine("delayed", kube.Terminated)
	if waited := term.Time.Sub(end.Time); waited < delay {
		t.Errorf("SIGTERM came %s after the completion, before the delay was over", waited)
	}
	if n := f.countEvents(pod, "StopDelayed"); n != 1 {
		t.Errorf("%d events about the delay, want 1", n)
	}
}

// A finished pod that is retained: its logs can be read, and then it goes.
func testRetention(t *testing.T, mode api.Mode) {
	const retention = 20 * time.Second // long enough to read logs on a busy machine
	f := newFixtureIn(t, mode)
	forever := kube.Pod(f.namespace, "forever", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, "Forever"))
	f.create(forever)
	pod := kube.Pod(f.namespace, "retained", annotated(stuck(corev1.RestartPolicyNever), api.RetentionAnnotation, retention.String()))
	f.create(pod)
	retained := f.awaitPod("retained", "of a terminal phase, with all ended", allEnded)
	since := containerStatus(retained, "main").State.Terminated.FinishedAt
	if mode == api.ModeReap {
		since = containerStatus(retained, "proxy").State.Terminated.FinishedAt
	}
	if output := f.kubectl("logs", "retained", "-c", "main"); !strings.Contains(output, kube.MainEnd) {
		t.Errorf("the logs of a retained pod:\n%s", output)
	}
	f.awaitGone(pod.DeepCopy())
	if kept := time.Since(since.Time); kept < retention {
		t.Errorf("the pod was deleted %s after its end", kept)
	}
	await(f, forever, "of a terminal phase, with all ended", allEnded)
	f.kept(forever)
}

// allEnded reports whether the pod has a terminal phase and nothing of it runs.
func allEnded(p *corev1.Pod) bool {
	return essential.IsTerminal(p) && !essential.HasRunningContainers(p)
}

// A policy may be edited while the pod runs, but not to something that cannot be read.
func testPolicyEdited(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	pod := kube.Pod(f.namespace, "edited", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("while [ ! -e /state/go ]; do sleep 0.1; done"), kube.Sidecar("proxy")))
	pod.Spec.Volumes = []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].VolumeMounts = []corev1.VolumeMount{{Name: "state", MountPath: "/state"}}
	}
	f.create(pod)
	f.awaitLine("edited", kube.MainStart)
	edit := func(retention string) error {
		return f.cluster.Patch(f.ctx, pod, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, api.RetentionAnnotation, retention)))
	}
	if err := edit("1w"); err == nil || !strings.Contains(err.Error(), "metadata.annotations[essential-containers/retention] must be a duration such as 90s, 1h30m or 2d, or Forever") {
		t.Errorf("an edit that cannot be read: %v", err)
	}
	f.must(edit("1d"))
	f.kubectl("exec", "edited", "-c", "proxy", "--", "touch", "/state/go")
	await(f, pod, "of a terminal phase, with all ended", allEnded)
	f.countStopped("edited", 1)
	f.kept(pod)
}

// The kubelet ends native sidecars by itself: there is nothing to stop.
func testNativeSidecar(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	mesh := kube.Sidecar("mesh")
	mesh.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	alone := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"))
	alone.Spec.InitContainers = []corev1.Container{mesh}
	job := kube.Job(f.namespace, "native", alone)
	f.create(job)
	beside := stuck(corev1.RestartPolicyNever)
	beside.Spec.InitContainers = []corev1.Container{mesh}
	both := kube.Job(f.namespace, "both", beside)
	f.create(both)

	pod := f.awaitPod("native-", "tracked", essential.IsTracked)
	f.awaitComplete(job)
	f.awaitGone(pod.DeepCopy())
	f.counted(job, 1)
	f.countStopped("native-", 1)
	f.describes("job", job.Name, `Essential container "main" completed with exit code 0; deleting the pod`)
	f.awaitComplete(both)
	f.counted(both, 1)
	f.countStopped("both-", 2)
	f.count("both-", kube.MainStart, 1)
}
