package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

func (d *demo) steps() []step {
	return []step{
		{"A pod that names a container it does not have is rejected", []check{
			{"the pod was rejected, and the answer says which name was meant", d.typoRejected},
		}},
		{"The same Job in both namespaces: main takes 3 s, the sidecar never ends by itself", []check{
			{"both Jobs were created", d.createJobs},
			{"opted in: main exited with code 0", d.mainExits},
			{"opted in: the sidecar's preStop hook ran, it got SIGTERM and exited with code 143", d.sidecarStops},
			{"opted in: an event on the pod tells why it was stopped", d.eventTells},
			{"opted in: the pod is gone", d.podGoes},
			{"opted in: the Job is Complete with succeeded 1, failed 0", d.jobCompletes},
			{"opted in: main ran exactly once, in exactly one pod", d.mainRanOnce},
		}},
		{"In the namespace that has not opted in, the Job hangs", []check{
			{"plain: main exited with code 0", d.plainMainExits},
			{"plain: the sidecar runs on, and the Job is not complete", d.plainJobHangs},
		}},
	}
}

// template is the pod of the demo, which names its essential container.
func template(essentialContainer string) corev1.PodTemplateSpec {
	return kube.Template(corev1.RestartPolicyNever, ptr.To(essentialContainer), kube.Main("sleep 3"), kube.Sidecar(sidecarName))
}

func (d *demo) typoRejected(ctx context.Context) error {
	const typo = "mian"
	d.say("creating a pod of the containers %s and %s, with the label %s: %s", mainName, sidecarName, api.Label, typo)
	err := d.cluster.Create(ctx, kube.Pod(optedInNamespace, "typo", template(typo)))
	if err == nil {
		return errors.New("the API server accepted it")
	}
	d.say("the API server answers:\n%s", err)
	if want := fmt.Sprintf("did you mean %q?", mainName); !strings.Contains(err.Error(), want) {
		return fmt.Errorf("the answer lacks %q:\n%w", want, err)
	}
	return nil
}

func (d *demo) createJobs(ctx context.Context) error {
	for _, p := range []*place{d.optedIn, d.plain} {
		if err := d.cluster.Create(ctx, kube.Job(p.namespace, jobName, template(mainName))); err != nil {
			return fmt.Errorf("creating Job %s/%s: %w", p.namespace, jobName, err)
		}
	}
	d.say("created Job %s in both; what its containers print, and what happens to its pod:", jobName)
	return nil
}

func (d *demo) mainExits(ctx context.Context) error      { return d.awaitMain(ctx, d.optedIn) }
func (d *demo) plainMainExits(ctx context.Context) error { return d.awaitMain(ctx, d.plain) }

// awaitMain waits for the end of main, in its log and in its status.
func (d *demo) awaitMain(ctx context.Context, p *place) error {
	err := d.await(ctx, func(context.Context) (bool, string) {
		_, ended := p.pods.exitCode(mainName)
		return ended && len(p.logs.Find(jobName, kube.MainEnd)) > 0, p.name + ": main has not ended"
	})
	if err != nil {
		return err
	}
	if code, _ := p.pods.exitCode(mainName); code != 0 {
		return fmt.Errorf("it exited with code %d", code)
	}
	return nil
}

func (d *demo) sidecarStops(ctx context.Context) error {
	err := d.await(ctx, func(context.Context) (bool, string) {
		_, ended := d.optedIn.pods.exitCode(sidecarName)
		missing := "the sidecar runs on: the reaper has not stopped the pod"
		if essential.IsStopped(d.optedIn.pods.all()[0]) {
			missing = "the reaper has stopped the pod, the sidecar has not ended yet"
		}
		return ended && len(d.optedIn.logs.Find(jobName, kube.Terminated)) > 0, "opted in: " + missing
	})
	if err != nil {
		return err
	}
	if len(d.optedIn.logs.Find(jobName, kube.PreStop)) == 0 {
		return errors.New("its preStop hook did not run")
	}
	if code, _ := d.optedIn.pods.exitCode(sidecarName); code != 143 {
		return fmt.Errorf("it exited with code %d", code)
	}
	end, stop := d.optedIn.logs.Find(jobName, kube.MainEnd)[0], d.optedIn.logs.Find(jobName, kube.Terminated)[0]
	d.say("the sidecar got SIGTERM %.1f s after main's end", stop.Time.Sub(end.Time).Seconds())
	return nil
}

// eventTells shows the reaper's events on the pod as kubectl describe does,
// which can no longer be asked: the pod goes.
func (d *demo) eventTells(ctx context.Context) error {
	pod := d.optedIn.pods.all()[0]
	var events corev1.EventList
	err := d.await(ctx, func(ctx context.Context) (bool, string) {
		err := d.cluster.List(ctx, &events, client.InNamespace(pod.Namespace),
			client.MatchingFields{"involvedObject.uid": string(pod.UID), "reportingComponent": kube.ReaperDeployment})
		if err != nil {
			return false, fmt.Sprintf("listing the events of pod %s: %v", pod.Name, err)
		}
		return len(events.Items) > 0, "no event of the reaper on pod " + pod.Name
	})
	if err != nil {
		return err
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "Type\tReason\tFrom\tMessage\n")
	for _, e := range events.Items {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.Type, e.Reason, e.ReportingController, e.Message)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	d.say("events of the reaper on pod %s:\n%s", pod.Name, text.String())
	return nil
}

func (d *demo) podGoes(ctx context.Context) error {
	pod := d.optedIn.pods.all()[0]
	return d.await(ctx, func(ctx context.Context) (bool, string) {
		err := d.cluster.Get(ctx, client.ObjectKeyFromObject(pod), &corev1.Pod{})
		if err != nil {
			return apierrors.IsNotFound(err), fmt.Sprintf("getting pod %s: %v", pod.Name, err)
		}
		return false, fmt.Sprintf("pod %s is still there", pod.Name)
	})
}

func (d *demo) jobCompletes(ctx context.Context) error {
	var job batchv1.Job
	err := d.await(ctx, func(ctx context.Context) (bool, string) {
		if err := d.getJob(ctx, d.optedIn, &job); err != nil {
			return false, err.Error()
		}
		// A failure is final for this check, though the Job tries again.
		return kube.JobComplete(&job) || job.Status.Failed > 0, "opted in: the Job is not Complete: " + counts(&job)
	})
	if err != nil {
		return err
	}
	if !kube.JobComplete(&job) || job.Status.Succeeded != 1 || job.Status.Failed != 0 {
		return fmt.Errorf("the Job has %s", counts(&job))
	}
	return nil
}

func (d *demo) mainRanOnce(context.Context) error {
	runs, seen := len(d.optedIn.logs.Find(jobName, kube.MainStart)), len(d.optedIn.pods.all())
	if runs != 1 || seen != 1 {
		return fmt.Errorf("it printed %q %d times; the Job had %d pods", kube.MainStart, runs, seen)
	}
	return nil
}

// plainJobHangs looks at the Job after its twin is Complete. That is no matter of
// time: nobody but the reaper would stop the pod, and it leaves it alone since
// the webhook has not marked it.
func (d *demo) plainJobHangs(ctx context.Context) error {
	var job batchv1.Job
	if err := d.getJob(ctx, d.plain, &job); err != nil {
		return err
	}
	pod := &corev1.Pod{}
	if err := d.cluster.Get(ctx, client.ObjectKeyFromObject(d.plain.pods.all()[0]), pod); err != nil {
		return fmt.Errorf("getting its pod: %w", err)
	}
	running := terminated(pod, mainName) != nil && terminated(pod, sidecarName) == nil && essential.HasRunningContainers(pod)
	d.say("pod %s: phase %s, main ended, sidecar still running: %t, Job: %s", pod.Name, pod.Status.Phase, running, counts(&job))
	switch {
	case !running || pod.DeletionTimestamp != nil:
		return errors.New("the sidecar does not run on")
	case essential.IsTracked(pod):
		return errors.New("the webhook has marked the pod")
	case kube.JobComplete(&job) || job.Status.Active != 1:
		return fmt.Errorf("the Job does not hang: %s", counts(&job))
	}
	return nil
}

func (d *demo) getJob(ctx context.Context, p *place, job *batchv1.Job) error {
	if err := d.cluster.Get(ctx, client.ObjectKey{Namespace: p.namespace, Name: jobName}, job); err != nil {
		return fmt.Errorf("getting Job %s/%s: %w", p.namespace, jobName, err)
	}
	return nil
}

func counts(job *batchv1.Job) string {
	return fmt.Sprintf("active %d, succeeded %d, failed %d", job.Status.Active, job.Status.Succeeded, job.Status.Failed)
}
