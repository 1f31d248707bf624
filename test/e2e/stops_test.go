//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// completed is what the reaper records of main.
const completed = `Essential container "main" completed with exit code 0`

// stuck is a template whose main ends well and whose sidecar never ends.
func stuck(policy corev1.RestartPolicy) corev1.PodTemplateSpec {
	return kube.Template(policy, new("main"), kube.Main("sleep 1"), kube.Sidecar("proxy"))
}

// counted asserts what a Job says of itself: all completions, no failure.
func (f *fixture) counted(job *batchv1.Job, completions int32) {
	f.Helper()
	f.get(job)
	if job.Status.Succeeded != completions || job.Status.Failed != 0 {
		f.Errorf("job %s: succeeded %d, failed %d, want %d and 0", job.Name, job.Status.Succeeded, job.Status.Failed, completions)
	}
}

func testJob(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	job := kube.Job(f.namespace, "job", stuck(corev1.RestartPolicyNever))
	f.create(job)
	pod := f.awaitPod("job-", "tracked", essential.IsTracked)
	f.awaitComplete(job)
	f.awaitGone(pod)
	f.counted(job, 1)
	f.count("job-", kube.MainStart, 1)
	f.countStopped("job-", 1)
	f.awaitEventOf(pod, "EssentialContainerCompleted")
	if n := f.countEvents(pod, "EssentialContainerCompleted"); n != 1 {
		t.Errorf("%d events about the pod's end, want 1", n)
	}
}

func testCronJob(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	cron := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "cron"},
		Spec: batchv1.CronJobSpec{
			Schedule:          "* * * * *",
			ConcurrencyPolicy: batchv1.ForbidConcurrent, // a Job that hangs is the last one
			JobTemplate:       batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: stuck(corev1.RestartPolicyOnFailure)}},
		},
	}
	f.create(cron)
	await(f, cron, "through with its first Job", func(c *batchv1.CronJob) bool { return c.Status.LastSuccessfulTime != nil })
	// No further one may begin while they are counted.
	f.must(f.cluster.Patch(f.ctx, cron, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"suspend":true}}`))))
	var jobs batchv1.JobList
	f.must(f.cluster.List(f.ctx, &jobs, client.InNamespace(f.namespace)))
	for _, job := range jobs.Items {
		f.awaitComplete(&job)
		f.counted(&job, 1)
		f.count(job.Name, kube.MainStart, 1)
		f.countStopped(job.Name, 1)
	}
}

func testIndexedJob(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	template := kube.Template(corev1.RestartPolicyNever, new("main"),
		kube.Main(`echo "index $JOB_COMPLETION_INDEX"; sleep 1`), kube.Sidecar("proxy"))
	job := kube.Job(f.namespace, "indexed", template)
	job.Spec.CompletionMode = new(batchv1.IndexedCompletion)
	job.Spec.Completions, job.Spec.Parallelism = new(int32(3)), new(int32(2))
	f.create(job)
	f.awaitComplete(job)
	f.counted(job, 3)
	for index := range 3 {
		f.count("indexed-", fmt.Sprintf("index %d", index), 1)
	}
	f.countStopped("indexed-", 3)
}

func testBarePod(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	pod := kube.Pod(f.namespace, "bare", stuck(corev1.RestartPolicyNever))
	f.create(pod)
	if mode == api.ModeReap {
		stopped := f.awaitPod("bare", "stopped", essential.IsStopped)
		stop, _ := essential.StopOf(stopped)
		if stop.Phase != corev1.PodSucceeded || stop.Because != completed || *stopped.Spec.ActiveDeadlineSeconds != 1 {
			t.Errorf("the pod was stopped as %+v with deadline %v", stop, stopped.Spec.ActiveDeadlineSeconds)
		}
	}
	f.awaitGone(pod)
	f.countStopped("bare", 1)
}

// oneCompletion is a template whose main ends well once, and only in pods that
// start while the ConfigMap says so: under restartPolicy Always every one would,
// again and again. The kubelet restarts it at once, and then it runs forever: its
// completion shows in its last state alone.
func (f *fixture) oneCompletion(labels map[string]string) (template corev1.PodTemplateSpec, noMore func()) {
	f.Helper()
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "completes"}, Data: map[string]string{"COMPLETES": "yes"}}
	f.create(config)
	main := kube.Main(`[ "$COMPLETES" = yes ] && mkdir /state/completed || { trap 'exit 1' TERM; while true; do sleep 0.1; done; }; sleep 3`)
	main.VolumeMounts = []corev1.VolumeMount{{Name: "state", MountPath: "/state"}}
	main.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: config.Name}}}}
	template = kube.Template(corev1.RestartPolicyAlways, new("main"), main, kube.Sidecar("proxy"))
	template.Spec.Volumes = []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	for key, value := range labels {
		template.Labels[key] = value
	}
	return template, func() {
		config.Data["COMPLETES"] = "no"
		f.must(f.cluster.Update(f.ctx, config))
	}
}

// replaced asserts that exactly the first pod was reaped, once, and that the
// reaper does not touch its replacement.
func (f *fixture) replaced(prefix string, noMore func()) {
	f.Helper()
	first := f.awaitPod(prefix, "tracked", essential.IsTracked)
	f.awaitLine(first.Name, kube.MainStart)
	noMore()
	f.awaitGone(first.DeepCopy())
	second := f.awaitPod(prefix, "running in place of the first", func(p *corev1.Pod) bool {
		return p.UID != first.UID && p.Status.Phase == corev1.PodRunning
	})
	f.canary(f.namespace)
	f.get(second)
	if essential.IsStopped(second) || second.DeletionTimestamp != nil || essential.IsTerminal(second) {
		f.Errorf("the new pod %s was touched: %v, phase %s", second.Name, second.Annotations, second.Status.Phase)
	}
	if n := f.countEvents(first, "EssentialContainerCompleted"); n != 1 {
		f.Errorf("%d events that the first pod was stopped, want 1", n)
	}
	if n := f.countEvents(second, "EssentialContainerCompleted"); n != 0 {
		f.Errorf("%d events that the new pod was stopped, want 0", n)
	}
	f.countStopped(first.Name, 1)
}

func testDeployment(t *testing.T) {
	f := newFixture(t, true)
	labels := map[string]string{"app": "web"}
	template, noMore := f.oneCompletion(labels)
	f.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "web"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	})
	f.replaced("web-", noMore)
}

func testStatefulSet(t *testing.T) {
	f := newFixture(t, true)
	labels := map[string]string{"app": "db"}
	template, noMore := f.oneCompletion(labels)
	f.create(&appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "db"},
		Spec:       appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	})
	f.replaced("db-0", noMore)
}

func testTwoEssentialContainers(t *testing.T) {
	f := newFixture(t, true)
	second := kube.Main("sleep 1")
	second.Name = "second"
	first := kube.Sidecar("first") // essential too, and never ends by itself
	job := kube.Job(f.namespace, "two", kube.Template(corev1.RestartPolicyNever, new("first_second"), first, second, kube.Sidecar("proxy")))
	f.create(job)
	pod := f.awaitPod("two-", "tracked", essential.IsTracked)
	if got := pod.Annotations[api.TrackedAnnotation]; got != "first,second" {
		t.Errorf("tracked %q, want %q", got, "first,second")
	}
	f.awaitComplete(job)
	f.awaitGone(pod)
	f.counted(job, 1)
	f.count("two-", kube.MainStart, 1)
	f.countStopped("two-", 2)
}

// A sidecar may use its whole grace period, and the pod is deleted only then.
func testSlowSidecar(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	const flushed = "sidecar: flushed"
	slow := kube.Sidecar("shipper")
	slow.Command[2] = strings.Replace(slow.Command[2], "exit 143", "sleep 5; echo '"+flushed+"'; exit 143", 1)
	job := kube.Job(f.namespace, "slow", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("sleep 1"), slow))
	f.create(job)
	ending := essential.IsStopped
	if mode == api.ModeNative {
		ending = ended("main")
	}
	pod := f.awaitPod("slow-", "ending", ending)
	f.awaitLine("slow-", kube.Terminated)
	f.get(pod)
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		t.Errorf("while its sidecar still flushes, the pod's phase is %s and its deletion %v", pod.Status.Phase, pod.DeletionTimestamp)
	}
	f.awaitLine("slow-", flushed)
	f.awaitComplete(job)
	f.awaitGone(pod)
	f.counted(job, 1)
	f.count("slow-", kube.MainStart, 1)
	f.countStopped("slow-", 1)
}

// Nothing of the pod may run when main ends. A native sidecar has to have run for
// a moment, or main does not start.
func testCrashLoopingSidecar(t *testing.T, mode api.Mode) {
	f := newFixtureIn(t, mode)
	crashing := kube.Sidecar("proxy")
	crashing.Command[2], crashing.Lifecycle = "echo '"+kube.SidecarStart+"'; sleep 2; exit 1", nil
	waitsFor := kube.Main("sleep 8")
	job := kube.Job(f.namespace, "crashing", kube.Template(corev1.RestartPolicyOnFailure, new("main"), waitsFor, crashing))
	f.create(job)
	pod := f.awaitPod("crashing-", "tracked", essential.IsTracked)
	f.awaitComplete(job)
	f.awaitGone(pod)
	f.counted(job, 1)
	f.count("crashing-", kube.MainStart, 1)
	if n := len(f.logs.Find("crashing-", kube.SidecarStart)); n < 2 {
		t.Errorf("the sidecar that crashes was started %d times", n)
	}
}

// Many Jobs that end at once: each counts one success.
func testBurst(t *testing.T) {
	f := newFixture(t, true)
	const jobs = 40
	for i := range jobs {
		f.create(kube.Job(f.namespace, fmt.Sprintf("burst%02d", i), kube.Template(corev1.RestartPolicyNever, new("main"),
			kube.Main(fmt.Sprintf("sleep 8.%02d", i*7%100)), kube.Sidecar("proxy"))))
	}
	f.must(kube.Await(f.ctx, 2*timeLimit, func(ctx context.Context) (bool, string) {
		var list batchv1.JobList
		if err := f.cluster.List(ctx, &list, client.InNamespace(f.namespace)); err != nil {
			return false, err.Error()
		}
		complete := 0
		for _, job := range list.Items {
			if kube.JobComplete(&job) {
				complete++
			}
		}
		return complete == jobs && len(f.pods("burst")) == 0, fmt.Sprintf("%d of %d Jobs are complete, %d pods left", complete, jobs, len(f.pods("burst")))
	}))
	for i := range jobs {
		f.counted(kube.Job(f.namespace, fmt.Sprintf("burst%02d", i), corev1.PodTemplateSpec{}), 1)
	}
	f.count("burst", kube.MainStart, jobs)
	f.countStopped("burst", jobs)
}
