package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
)

const (
	optedInNamespace = "essential-containers-demo"
	plainNamespace   = "essential-containers-demo-plain"

	jobName     = "import"
	mainName    = "main"
	sidecarName = "sidecar"
)

// demo is one run of the demo.
type demo struct {
	*stage
	cluster        *kube.Cluster
	optedIn, plain *place
}

// place is a namespace in which the Job runs, and what has been seen there.
type place struct {
	name      string // in front of what is told of it
	namespace string
	logs      *kube.Logs
	pods      *pods
}

func newDemo(cluster *kube.Cluster, out io.Writer) *demo {
	return &demo{
		stage:   &stage{out: out, start: time.Now()},
		cluster: cluster,
		optedIn: &place{name: "opted in", namespace: optedInNamespace},
		plain:   &place{name: "plain", namespace: plainNamespace},
	}
}

func (d *demo) run(ctx context.Context, s settings) error {
	if err := d.setUp(ctx, s); err != nil {
		return err
	}
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	d.follow(following, d.optedIn)
	d.follow(following, d.plain)
	results := d.perform(ctx, d.steps(), d.diagnosis)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	summarize(d.out, results)
	fmt.Fprint(d.out, "\n", lookAround(s))
	if failed := count(results, failed); failed > 0 {
		return fmt.Errorf("%d of %d checks failed, %d not reached", failed, len(results), count(results, notReached))
	}
	return nil
}

// setUp installs the chart and makes the two namespaces.
func (d *demo) setUp(ctx context.Context, s settings) error {
	d.title("Setting up")
	d.say("installing the chart with image %s", s.image)
	d.say("waiting, at most 180 s, until the certificate is issued and the webhook and the reaper are ready")
	if err := d.cluster.Install(ctx, s.chart, s.image, func(what string) { d.say("%s", what) }); err != nil {
		return fmt.Errorf("installing the chart: %w%s", err, d.diagnosis(ctx))
	}
	d.say("installed, and the API server trusts the webhook's certificate")
	for _, p := range []*place{d.optedIn, d.plain} {
		if err := d.renewNamespace(ctx, p); err != nil {
			return err
		}
	}
	d.say("namespace %s is made, with the label %s: %s", optedInNamespace, api.Label, api.NamespaceEnabled)
	d.say("namespace %s is made, without it", plainNamespace)
	return nil
}

// renewNamespace makes the place's namespace; an earlier run's goes first.
func (d *demo) renewNamespace(ctx context.Context, p *place) error {
	err := d.cluster.Get(ctx, client.ObjectKey{Name: p.namespace}, &corev1.Namespace{})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("getting namespace %s: %w", p.namespace, err)
	}
	if err == nil {
		d.say("deleting namespace %s of an earlier run, waiting, at most 180 s, until it is gone", p.namespace)
		if err := d.cluster.DeleteNamespace(ctx, p.namespace); err != nil {
			return err
		}
	}
	return d.cluster.CreateNamespace(ctx, p.namespace, p == d.optedIn)
}

// follow tells what the containers of the place print, and what happens to its pods.
func (d *demo) follow(ctx context.Context, p *place) {
	tell := func(who, what string) { d.say("  %-8s  %-7s | %s", p.name, who, what) }
	p.logs = d.cluster.FollowLogs(ctx, p.namespace, func(l kube.Line) { tell(l.Container, l.Text) })
	p.pods = followPods(ctx, d.cluster, p.namespace, func(what string) { tell("pod", what) })
}

// await waits until condition holds, and tells what is missing whenever that
// changes.
func (d *demo) await(ctx context.Context, condition func(context.Context) (bool, string)) error {
	var missing string
	err := kube.Await(ctx, patience, func(ctx context.Context) (bool, string) {
		holds, what := condition(ctx)
		if !holds && what != missing && ctx.Err() == nil {
			missing = what
			d.say("waiting, at most %.0f s: %s", patience.Seconds(), what)
		}
		return holds, what
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("gave up after %.0f s: %s", patience.Seconds(), missing)
	}
	return err
}
