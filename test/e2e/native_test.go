//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// sidecarEnds runs a Job whose sidecar answers SIGTERM with this script, and
// asserts the exit code that the kubelet reports of it: the Job does not mind.
func sidecarEnds(t *testing.T, mode api.Mode, script string, code int32) {
	f := newFixtureIn(t, mode)
	sidecar := kube.Sidecar("proxy")
	sidecar.Command[2] = strings.Replace(sidecar.Command[2], "exit 143", script, 1)
	template := annotated(kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), sidecar), api.RetentionAnnotation, "Forever")
	template.Spec.TerminationGracePeriodSeconds = new(int64(3))
	job := kube.Job(f.namespace, "job", template)
	f.create(job)
	f.awaitComplete(job)
	f.counted(job, 1)
	f.countStopped("job-", 1)
	pod := f.awaitPod("job-", "without its sidecar", ended("proxy"))
	if got := containerStatus(pod, "proxy").State.Terminated.ExitCode; got != code || pod.Status.Phase != corev1.PodSucceeded {
		t.Errorf("the sidecar's exit code is %d, the phase %s, want %d and Succeeded", got, pod.Status.Phase, code)
	}
}

func testSidecarFailsOnSigterm(t *testing.T, mode api.Mode) { sidecarEnds(t, mode, "exit 3", 3) }

// Past the grace period it gets SIGKILL.
func testSidecarIgnoresSigterm(t *testing.T, mode api.Mode) { sidecarEnds(t, mode, ":", 137) }

// Who asks for what the kubelet cannot do hears why, at the workload already.
func testNativeRefuses(t *testing.T) {
	f := newFixture(t, true)
	const (
		invalid = `metadata.annotations[essential-containers/mode]: Invalid value: "Native": `
		instead = ", or choose mode Reap"
		always  = invalid + `the kubelet starts "main" again after completion, so that the pod never ends by itself: choose restartPolicy OnFailure or Never` + instead
	)
	ask := func(template corev1.PodTemplateSpec, pairs ...string) corev1.PodTemplateSpec {
		return annotated(template, append(pairs, api.ModeAnnotation, string(api.ModeNative))...)
	}
	for kind, workload := range workloads(f.namespace, ask(stuck(corev1.RestartPolicyAlways))) {
		path := kind[strings.LastIndex(kind, " ")+1:]
		err := f.cluster.Create(f.ctx, workload, client.DryRunAll)
		if path == kind { // Jobs and CronJobs
			f.must(err)
		} else if err == nil || !strings.Contains(err.Error(), path+always) {
			t.Errorf("%s: got error %v, want one with %s", kind, err, path+always)
		}
	}
	two := kube.Template(corev1.RestartPolicyNever, new("main_second"), kube.Main("true"), kube.Sidecar("second"), kube.Sidecar("proxy"))
	for sentence, c := range map[string]struct {
		template corev1.PodTemplateSpec
		want     string
	}{
		"main never ends":                       {ask(stuck(corev1.RestartPolicyAlways)), always},
		"the first completion of two would end": {ask(two), "choose essential-containers/completion: All" + instead},
		"the last may":                          {ask(two, api.CompletionAnnotation, "All"), ""},
		"a delay":                               {ask(stuck(corev1.RestartPolicyNever), api.StopDelayAnnotation, "30s"), "choose essential-containers/stop-delay: 0s, and let them flush in a preStop hook or in their grace period" + instead},
		"a mode that is none":                   {annotated(stuck(corev1.RestartPolicyNever), api.ModeAnnotation, "native"), `"native": must be Reap or Native`},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := f.cluster.Create(t.Context(), kube.Pod(f.namespace, "asks", c.template), client.DryRunAll)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

// No reaper is there: the kubelet ends the pods, and the Jobs are complete. Only
// the deletion waits.
func testNativeWithoutReaper(t *testing.T, o outage) {
	f := newFixtureIn(t, api.ModeNative)
	o.begin()
	jobs := map[string]*batchv1.Job{
		"job":     kube.Job(f.namespace, "job", stuck(corev1.RestartPolicyNever)),
		"all":     kube.Job(f.namespace, "all", inTurn()),
		"once":    kube.Job(f.namespace, "once", failsOnce()),
		"retried": f.retried(),
	}
	for _, job := range jobs {
		f.create(job)
	}
	for _, job := range jobs {
		f.awaitComplete(job)
	}
	if pods := f.components("reaper"); len(pods) != 0 {
		t.Fatalf("%d reapers are there", len(pods))
	}
	for _, name := range []string{"job", "all", "once"} {
		f.counted(jobs[name], 1)
		f.countStopped(name+"-", 1)
	}
	f.inTurn("all-")
	f.count("once-", kube.MainStart, 2)
	f.countRetried(jobs["retried"])
	pods := f.pods("")
	if len(pods) != 5 {
		t.Errorf("%d pods are there, want all 5", len(pods))
	}
	o.end()
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodFailed {
			f.kept(&pod)
			continue
		}
		f.awaitGone(pod.DeepCopy())
		f.awaitEventOf(&pod, "EssentialContainerCompleted")
		if n := f.countEvents(&pod, "EssentialContainerCompleted"); n != 1 {
			t.Errorf("%d events that pod %s was deleted, want 1", n, pod.Name)
		}
	}
}

// The operator's wish is carried out where that is possible; else the pod is
// reaped, and its creator hears why.
func testNativeByDefault(t *testing.T) {
	f := newFixture(t, true)
	f.must(f.cluster.Install(f.ctx, chart, image, func(string) {}, "defaults.mode=Native"))
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		return len(f.components("webhook")) == 2, "old webhook pods are still there"
	}))
	t.Cleanup(func() {
		if err := f.cluster.Install(context.Background(), chart, image, func(string) {}); err != nil {
			t.Error(err)
		}
	})
	heard, c := f.listen()
	create := func(object client.Object) string {
		f.Helper()
		heard.forget()
		f.must(c.Create(f.ctx, object))
		return heard.String()
	}
	const because = `metadata.labels[essential-containers]: handled in mode Reap, although the cluster's default is Native: ` +
		"the first completion of several essential containers is to end the pod"
	retained := func(pairs ...string) corev1.PodTemplateSpec {
		return annotated(stuck(corev1.RestartPolicyNever), append(pairs, api.RetentionAnnotation, "5s")...)
	}
	plain := kube.Job(f.namespace, "plain", retained())
	plain.Spec.PodReplacementPolicy = new(batchv1.Failed)
	if got := create(plain); got != "" {
		t.Errorf("a plain Job gets the warning %q", got)
	}
	two := retained()
	two.Labels[api.Label] = "main_second"
	two.Spec.Containers = append(two.Spec.Containers, kube.Sidecar("second"))
	fallback := kube.Job(f.namespace, "fallback", two)
	if got := create(fallback); !strings.Contains(got, "spec.template."+because) {
		t.Errorf("the Job that cannot be native gets the warning %q", got)
	}
	pod := kube.Pod(f.namespace, "bare", *two.DeepCopy())
	if got := create(pod); !strings.HasPrefix(got, because) {
		t.Errorf("the pod that cannot be native gets the warning %q", got)
	}
	choosy := kube.Pod(f.namespace, "choosy", retained(api.ModeAnnotation, "Reap"))
	if got := create(choosy); got != "" {
		t.Errorf("who chose mode Reap gets the warning %q", got)
	}

	for prefix, want := range map[string]string{"plain-": "proxy+ | main", "fallback-": "| main proxy second", "bare": "| main proxy second", "choosy": "| main proxy"} {
		if got := shape(&f.awaitPod(prefix, "tracked", essential.IsTracked).Spec); got != want {
			t.Errorf("the containers of %s are %s, want %s", prefix, got, want)
		}
	}
	done := f.awaitPod("plain-", "ended", essential.IsTerminal)
	f.awaitGone(done.DeepCopy())
	if essential.IsStopped(done) {
		t.Errorf("the reaper stopped pod %s: %v", done.Name, done.Annotations)
	}
	for _, job := range []*batchv1.Job{plain, fallback} {
		f.awaitComplete(job)
		f.counted(job, 1)
		f.count(job.Name+"-", kube.MainStart, 1)
	}
	f.awaitGone(pod.DeepCopy())
	f.awaitGone(choosy.DeepCopy())
	for prefix, sidecars := range map[string]int{"plain-": 1, "fallback-": 2, "bare": 2, "choosy": 1} {
		f.countStopped(prefix, sidecars)
	}
	for object, action := range map[client.Object]string{plain: "deleting the pod", fallback: "stopping", pod: "stopping", choosy: "stopping"} {
		if note := f.awaitEventOf(object, "EssentialContainerCompleted"); !strings.Contains(note, action) {
			t.Errorf("%s: the event says %q", object.GetName(), note)
		}
	}
}
