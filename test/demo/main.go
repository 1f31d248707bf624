// Command demo shows on a real cluster, check by check, what essential containers do: see `make demo`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/test/program"
)

const (
	optedIn = "essential-containers-demo"       // the namespace that opted in
	plain   = "essential-containers-demo-plain" // the one that did not
	jobName = "import"
	limit   = 2 * time.Minute // of each check
)

const help = `Installs the chart in a cluster and shows, with the seconds since the start, what it does: a mistyped container name is
rejected; a Job whose sidecar never ends completes; the same Job in a namespace that has not opted in hangs.
Exits with 0 only if every check has passed.

The cluster needs cert-manager. The demo replaces the namespaces ` + optedIn + ` and
` + plain + `, and leaves them in place for you to look around.`

// settings are the program's flags.
type settings struct {
	kubeconfig, image, helm, chart string
	local                          bool
}

func main() { program.Main("demo", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if err != nil {
		return err
	}
	cluster, err := kube.Connect(s.kubeconfig, s.helm)
	if err != nil {
		return err
	}
	d := &demo{
		settings: s, cluster: cluster, out: out, start: time.Now(),
		logs: map[string]*kube.Logs{}, pods: map[string][]*corev1.Pod{}, said: map[string]string{},
	}
	err = d.perform(ctx, []check{
		{"The chart is installed, and two namespaces are created", d.setUp},
		{"A pod that names a container it does not have is rejected", d.rejectsTypo},
		{"The same Job in both namespaces: main works for 3 seconds, its sidecar never ends by itself", d.createJobs},
		{"Where the namespace opted in, the sidecar ends with main: preStop hook, SIGTERM, exit code 143", d.stopsSidecar},
		{"An event on the pod says why it was stopped", d.explains},
		{"The pod is deleted, and the Job is Complete: it succeeded once, did not fail, and main ran once", d.completesJob},
		{"Where the namespace did not opt in, main ends too, but the sidecar keeps running and the Job hangs", d.hangs},
	})
	fmt.Fprint(out, lookAround(s))
	return err
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.StringVar(&s.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig `file` of the cluster; default: KUBECONFIG of the environment")
	flags.StringVar(&s.image, "image", "", "`image`, with a tag, that the cluster's nodes have or can pull")
	flags.StringVar(&s.helm, "helm", "helm", "`path` of the helm program")
	flags.StringVar(&s.chart, "chart", "charts/essential-containers", "`folder` of the chart")
	flags.BoolVar(&s.local, "local", false, "the cluster is the one of make cluster-up: say at the end how to stop it, not how to uninstall")
	if err := program.Parse(flags, args, help, out); err != nil {
		return s, err
	}
	if s.kubeconfig == "" || s.image == "" {
		return s, errors.New("a cluster and an image are needed: --kubeconfig, or KUBECONFIG of the environment, and --image")
	}
	return s, nil
}

// demo is one run of the demo.
type demo struct {
	settings
	cluster *kube.Cluster
	start   time.Time
	logs    map[string]*kube.Logs // by namespace, of all containers

	mu   sync.Mutex // of what follows
	out  io.Writer
	pods map[string][]*corev1.Pod // by namespace: as last seen, also when they are gone, the oldest first
	said map[string]string        // by pod: its last description
}

// check is one thing that the demo shows.
type check struct {
	what string
	see  func(context.Context) error // does it or waits for it
}

// perform does the checks up to the first one that fails: the later ones depend on it.
func (d *demo) perform(ctx context.Context, checks []check) error {
	for i, c := range checks {
		fmt.Fprintf(d.out, "\n%d. %s\n", i+1, c.what)
		switch err := c.see(ctx); {
		case ctx.Err() != nil:
			return errors.New("interrupted; the next run removes what this one leaves")
		case err != nil:
			d.say("FAILED: %v", err)
			d.diagnose(ctx)
			return fmt.Errorf("check %d of %d failed: %s; %d were not done", i+1, len(checks), c.what, len(checks)-i-1)
		}
		d.say("OK")
	}
	fmt.Fprintf(d.out, "\nAll %d checks passed.\n", len(checks))
	return nil
}

// say prints the seconds since the start, and a text; the text's further lines are indented like its first.
func (d *demo) say(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	fmt.Fprintf(d.out, "%6.1f s  %s\n", time.Since(d.start).Seconds(), strings.ReplaceAll(text, "\n", "\n          "))
}

// setUp installs the chart and makes the two namespaces, without what an earlier run left in them.
func (d *demo) setUp(ctx context.Context) error {
	d.say("helm installs image %s; this ends when the webhook has its certificate, at most 3 minutes", d.image)
	if err := d.cluster.Install(ctx, d.chart, d.image, func(what string) { d.say("%s", what) }); err != nil {
		return fmt.Errorf("installing the chart: %w", err)
	}
	for _, namespace := range []string{optedIn, plain} {
		if err := d.cluster.DeleteNamespace(ctx, namespace); err != nil {
			return err
		}
		if err := d.cluster.CreateNamespace(ctx, namespace, namespace == optedIn); err != nil {
			return err
		}
	}
	d.say("namespace %s has the label %s: %s", optedIn, api.Label, api.NamespaceEnabled)
	d.say("namespace %s does not", plain)
	return nil
}

// job is the Job of the demo, whose pod's label names a container.
func job(namespace, container string) *batchv1.Job {
	return kube.Job(namespace, jobName, kube.Template(corev1.RestartPolicyNever, &container, kube.Main("sleep 3"), kube.Sidecar("sidecar")))
}

func (d *demo) rejectsTypo(ctx context.Context) error {
	d.say("creating a pod of the containers main and sidecar, with the label %s: mian", api.Label)
	err := d.cluster.Create(ctx, kube.Pod(optedIn, "typo", job(optedIn, "mian").Spec.Template))
	if err == nil {
		return errors.New("the API server accepted it")
	}
	d.say("the API server answers:\n%v", err)
	if want := `did you mean "main"?`; !strings.Contains(err.Error(), want) {
		return fmt.Errorf("the answer lacks %s", want)
	}
	return nil
}

func (d *demo) createJobs(ctx context.Context) error {
	d.say("label %s: main; below is what the containers print, and what happens to the pods", api.Label)
	d.follow(ctx, optedIn, "opted in")
	d.follow(ctx, plain, "plain")
	for _, namespace := range []string{optedIn, plain} {
		if err := d.cluster.Create(ctx, job(namespace, "main")); err != nil {
			return fmt.Errorf("creating Job %s/%s: %w", namespace, jobName, err)
		}
	}
	return kube.Await(ctx, limit, func(context.Context) (bool, string) {
		return len(d.logs[optedIn].Find(jobName, kube.MainEnd)) > 0 && len(d.seen(optedIn)) > 0 && len(d.seen(plain)) > 0, "main has not ended"
	})
}

func (d *demo) stopsSidecar(ctx context.Context) error {
	logs, printed := d.logs[optedIn], ""
	err := kube.Await(ctx, limit, func(context.Context) (bool, string) {
		pod := d.seen(optedIn)[0]
		hooks, stops := logs.Find(jobName, kube.PreStop), logs.Find(jobName, kube.Terminated)
		if len(stops) == 1 {
			printed = fmt.Sprintf("SIGTERM came %.1f s after main's end", stops[0].Time.Sub(logs.Find(jobName, kube.MainEnd)[0].Time).Seconds())
		}
		ends := state(pod, "main") == "exited with code 0" && state(pod, "sidecar") == "exited with code 143"
		return ends && len(hooks) == 1 && len(stops) == 1, fmt.Sprintf("stopped by the reaper: %t; main: %s; sidecar: %s; preStop hooks: %d; SIGTERMs: %d",
			essential.IsStopped(pod), state(pod, "main"), state(pod, "sidecar"), len(hooks), len(stops))
	})
	d.say("%s", printed)
	return err
}

func (d *demo) explains(ctx context.Context) error {
	var events corev1.EventList
	err := kube.Await(ctx, limit, func(ctx context.Context) (bool, string) {
		err := d.cluster.List(ctx, &events, client.InNamespace(optedIn),
			client.MatchingFields{"involvedObject.uid": string(d.seen(optedIn)[0].UID), "reportingComponent": kube.ReaperDeployment})
		return len(events.Items) > 0, fmt.Sprintf("the reaper has emitted no event on the pod (error: %v)", err)
	})
	for _, e := range events.Items {
		d.say("%s %s: %s", e.Type, e.Reason, e.Message)
	}
	return err
}

func (d *demo) completesJob(ctx context.Context) error {
	job, pod := job(optedIn, "main"), d.seen(optedIn)[0].DeepCopy()
	if err := d.cluster.AwaitGone(ctx, pod); err != nil {
		return err
	}
	err := kube.Await(ctx, limit, func(ctx context.Context) (bool, string) {
		err := d.cluster.Get(ctx, client.ObjectKeyFromObject(job), job)
		return kube.JobComplete(job) || job.Status.Failed > 0, fmt.Sprintf("the Job is not Complete: %s (error: %v)", counts(job), err)
	})
	if err != nil {
		return err
	}
	starts := len(d.logs[optedIn].Find(jobName, kube.MainStart))
	d.say("Job: %s; starts of main: %d, in %d pod", counts(job), starts, len(d.seen(optedIn)))
	if job.Status.Succeeded != 1 || job.Status.Failed != 0 || len(d.seen(optedIn)) != 1 || starts != 1 {
		return errors.New("succeeded 1, failed 0 and one start were expected")
	}
	return nil
}

// hangs looks at the Job when its twin is Complete. More time would change nothing: only the reaper would stop the pod, and it
// leaves pods alone that the webhook has not marked.
func (d *demo) hangs(ctx context.Context) error {
	job, pod := job(plain, "main"), d.seen(plain)[0].DeepCopy()
	err := kube.Await(ctx, limit, func(ctx context.Context) (bool, string) {
		err := errors.Join(d.cluster.Get(ctx, client.ObjectKeyFromObject(job), job), d.cluster.Get(ctx, client.ObjectKeyFromObject(pod), pod))
		return state(pod, "main") == "exited with code 0", fmt.Sprintf("main is %s (error: %v)", state(pod, "main"), err)
	})
	if err != nil {
		return err
	}
	d.say("Job: %s; sidecar: %s", counts(job), state(pod, "sidecar"))
	if state(pod, "sidecar") != "running" || pod.DeletionTimestamp != nil || essential.IsTracked(pod) || job.Status.Active != 1 || kube.JobComplete(job) {
		return fmt.Errorf("the pod should have no annotation of the webhook: %v; its deletion: %v", pod.Annotations, pod.DeletionTimestamp)
	}
	return nil
}

func counts(job *batchv1.Job) string {
	return fmt.Sprintf("active %d, succeeded %d, failed %d", job.Status.Active, job.Status.Succeeded, job.Status.Failed)
}

// diagnose prints the Warning events, which may explain a failure: of an image that cannot be pulled, for instance.
func (d *demo) diagnose(ctx context.Context) {
	for _, namespace := range []string{kube.Release, optedIn, plain} {
		var events corev1.EventList
		err := d.cluster.List(ctx, &events, client.InNamespace(namespace), client.MatchingFields{"type": corev1.EventTypeWarning})
		for _, e := range events.Items {
			d.say("%s %s/%s: %s: %s", e.InvolvedObject.Kind, namespace, e.InvolvedObject.Name, e.Reason, e.Message)
		}
		if err != nil {
			d.say("listing the events of namespace %s: %v", namespace, err)
		}
	}
}

// lookAround is what to look at after the demo, and how to remove everything.
func lookAround(s settings) string {
	kubectl, end := "kubectl", `Remove everything (the last namespace still holds cert-manager's Secrets; delete it if nothing else is in it):
  {helm} uninstall {release} -n {release}
  {kubectl} delete namespace {demo} {plain} {release}
`
	if s.local {
		kubectl, end = "bin/kubectl", "Stop the cluster:\n  make cluster-down\n"
	}
	names := strings.NewReplacer("{kubectl}", kubectl, "{helm}", s.helm, "{config}", s.kubeconfig, "{release}", kube.Release, "{demo}", optedIn, "{plain}", plain)
	return names.Replace(`
Look around:
  export KUBECONFIG={config}
  {kubectl} get jobs,pods,events -n {demo}
  {kubectl} describe pods -n {plain}
  {kubectl} logs -n {release} -l app.kubernetes.io/component=reaper --prefix --tail=-1

` + end)
}
