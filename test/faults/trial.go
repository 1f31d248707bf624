package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

const (
	// steady is a pace that two cores carry without being a fault of their own.
	steady = 2 * time.Second
	// retrying is how long one request for a work is repeated.
	retrying = 5 * time.Minute
	// ending is how long all works have to end: a container that was killed several
	// times is started again only after minutes.
	ending = 8 * time.Minute
	// settling is how long connections and workers have to end before a look at rest.
	settling = 15 * time.Second
	// burstSize is the number of pods between the looks at rest.
	burstSize = 20
)

// trial is one run.
type trial struct {
	*kube.Cluster
	settings
	records
	faults []fault
	deck   []kind              // of the works
	pace   time.Duration       // mean time from one work to the next
	node   corev1.ResourceList // what pods can have of it
	broken bool                // the reaper and the admission are, on purpose

	creating sync.Mutex     // held while a work is created, or while none may be
	handling sync.WaitGroup // of single pods

	out         io.Writer
	printing    sync.Mutex
	start       time.Time
	injected    map[string]int // faults
	notInjected error          // names each fault that could not be injected
}

func newTrial(cluster *kube.Cluster, s settings, out io.Writer) *trial {
	return &trial{Cluster: cluster, settings: s, injected: map[string]int{}, out: out, start: time.Now()}
}

// say prints a line with the seconds since the start.
func (t *trial) say(format string, args ...any) {
	t.printing.Lock()
	defer t.printing.Unlock()
	fmt.Fprintf(t.out, "%6.1f s  %s\n", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
}

// run returns what the judge found wrong.
func (t *trial) run(ctx context.Context) ([]violation, error) {
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	since, minutes := time.Now(), time.Duration(t.minutes*float64(time.Minute))
	looked := t.look(ctx)
	if t.broken {
		t.during(ctx, minutes, t.create, t.compete)
	} else {
		t.during(ctx, minutes, t.create, t.compete, t.inject, t.sendBad)
		t.awaitEnd(ctx)
		looked = errors.Join(looked, t.look(ctx))
		t.during(ctx, ending, t.createBurst, t.sendBad)
	}
	t.awaitEnd(ctx)
	if ctx.Err() != nil {
		return nil, errors.New("interrupted; the next run removes what this one leaves")
	}
	if err := errors.Join(looked, t.look(ctx), t.collect(ctx, since)); err != nil {
		return nil, err
	}
	violations := judge(&t.records)
	report := t.report(violations)
	if !t.broken {
		fmt.Fprint(t.out, report)
	}
	if err := t.keep(report); err != nil {
		return nil, fmt.Errorf("keeping the evidence: %w", err)
	}
	return violations, nil
}

// prepare installs the chart, or breaks what is installed, and makes new namespaces.
func (t *trial) prepare(ctx context.Context) error {
	if _, err := os.Stat(t.auditFile()); err != nil {
		return fmt.Errorf("the cluster has no audit log: %w", err)
	}
	install := t.install
	if t.broken {
		install = t.breakRelease
	}
	if err := errors.Join(t.DeleteNamespace(ctx, optedIn), t.DeleteNamespace(ctx, elsewhere), os.RemoveAll(t.linesFolder())); err != nil {
		return err
	}
	if err := install(ctx); err != nil {
		return err
	}
	var nodes corev1.NodeList
	if err := t.List(ctx, &nodes); err != nil || len(nodes.Items) != 1 {
		return fmt.Errorf("the cluster has %d nodes, want 1: %w", len(nodes.Items), err)
	}
	t.node = nodes.Items[0].Status.Allocatable
	return errors.Join(t.CreateNamespace(ctx, optedIn, true), t.CreateNamespace(ctx, elsewhere, false))
}

// during calls the function until it returns, and the others until then. All end with
// the time.
func (t *trial) during(ctx context.Context, limit time.Duration, function func(context.Context), others ...func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var all sync.WaitGroup
	for _, f := range others {
		all.Go(func() { f(ctx) })
	}
	function(ctx)
	cancel()
	all.Wait()
}

// look reads the metrics of every process of the release.
func (t *trial) look(ctx context.Context) error {
	var pods corev1.PodList
	if err := t.List(ctx, &pods, client.InNamespace(kube.Release)); err != nil {
		return err
	}
	var taken []sample
	for _, pod := range pods.Items {
		text, err := t.Metrics(ctx, pod.Name)
		if err != nil {
			continue // it is being restarted
		}
		s, err := parseSample(pod.Name, text)
		if err != nil {
			return err
		}
		taken = append(taken, s)
	}
	t.looks = append(t.looks, taken)
	return nil
}

// create makes one work after the other.
func (t *trial) create(ctx context.Context) {
	r := rand.New(rand.NewPCG(t.seed, 1))
	next := shuffled(r, t.deck)
	for number := 1; ctx.Err() == nil; number++ {
		k := next()
		if deadline, _ := ctx.Deadline(); k.name == long && time.Until(deadline) < time.Minute {
			continue // it would be the only one at the end
		}
		t.submit(ctx, r, k, number)
		pause(ctx, r, 0, 2*t.pace.Seconds())
	}
}

// compete always has one work that asks for what tracked pods have.
func (t *trial) compete(ctx context.Context) {
	r := rand.New(rand.NewPCG(t.seed, 5))
	for number := 1; ctx.Err() == nil; number++ {
		object := t.submit(ctx, r, competing, number)
		_ = kube.Await(ctx, ending, func(ctx context.Context) (bool, string) {
			job := &batchv1.Job{}
			err := t.Get(ctx, client.ObjectKeyFromObject(object), job)
			return err == nil && finished(job), ""
		})
	}
}

// createBurst makes many pods at a time, which show a leak.
func (t *trial) createBurst(ctx context.Context) {
	t.say("%d more pods, to show leaks", burstSize)
	r := rand.New(rand.NewPCG(t.seed, 6))
	for number := range burstSize {
		t.submit(ctx, r, burst, number+1)
	}
}

// submit creates a work. It repeats what the API server does not accept, because it
// or the webhook is away, also when the time is over: a request without an answer may
// have been carried out.
func (t *trial) submit(ctx context.Context, r *rand.Rand, k kind, number int) client.Object {
	w, object := newWork(r, k, number, t.node)
	t.creating.Lock()
	defer t.creating.Unlock()
	if err := kube.Await(context.WithoutCancel(ctx), retrying, func(ctx context.Context) (bool, string) {
		err := t.Create(ctx, object.DeepCopyObject().(client.Object))
		return err == nil || apierrors.IsAlreadyExists(err), fmt.Sprint(err)
	}); err != nil {
		t.say("%s could not be created: %v", w.name, err)
		return object
	}
	t.works = append(t.works, w)
	if w.deletes > 0 || w.resizes {
		t.handling.Go(func() { t.handle(context.WithoutCancel(ctx), w) })
	}
	return object
}

// handle deletes or resizes the work's first pod, when its main has started.
func (t *trial) handle(ctx context.Context, w work) {
	var first line
	_ = kube.Await(ctx, ending, func(context.Context) (bool, string) {
		lines, _ := t.readLines()
		i := slices.IndexFunc(lines, func(l line) bool { return l.work == w.name && l.container == "main" && l.word == started })
		if i >= 0 {
			first = lines[i]
		}
		return i >= 0, "" // else the judge finds it
	})
	wait(ctx, time.Until(first.at.Add(w.deletes)))
	_ = kube.Await(ctx, retrying, func(ctx context.Context) (bool, string) {
		var pods corev1.PodList
		if err := t.List(ctx, &pods, client.InNamespace(optedIn), client.MatchingLabels{workLabel: w.name}); err != nil {
			return false, err.Error()
		}
		i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.UID == first.pod && p.DeletionTimestamp == nil })
		switch {
		case i < 0:
			return true, ""
		case w.resizes:
			more := []byte(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"20m"}}}]}}`)
			return t.SubResource("resize").Patch(ctx, &pods.Items[i], client.RawPatch(types.StrategicMergePatchType, more)) == nil, ""
		}
		return client.IgnoreNotFound(t.Delete(ctx, &pods.Items[i], client.Preconditions{UID: &first.pod})) == nil, ""
	})
}

// present returns our Jobs and pods.
func (t *trial) present(ctx context.Context) ([]batchv1.Job, []corev1.Pod, error) {
	var jobs batchv1.JobList
	var pods corev1.PodList
	err := errors.Join(t.List(ctx, &jobs, client.InNamespace(optedIn)), t.List(ctx, &pods, client.HasLabels{workLabel}))
	return jobs.Items, pods.Items, err
}

// stuck is after how long a Job without a pod is stuck. A Job controller whose watch is
// late (the API server was restarted) does not count the creation of a pod that is being
// deleted when it first sees it, and waits for that forever
// (k8s.io/kubernetes/pkg/controller/job, addPod). Its back-off is shorter.
const stuck = 2 * time.Minute

// awaitEnd waits until all works have ended, and all is at rest. The judge finds the
// works that have not ended.
func (t *trial) awaitEnd(ctx context.Context) {
	t.say("no more works: waiting until all have ended")
	start, reported, restarted := time.Now(), time.Now(), false
	_ = kube.Await(ctx, ending, func(ctx context.Context) (bool, string) {
		jobs, pods, err := t.present(ctx)
		if err != nil {
			return false, err.Error()
		}
		unfinished, left := t.undone(jobs, pods)
		if time.Since(reported) > 15*time.Second {
			reported = time.Now()
			t.say("%d Jobs are unfinished, %d pods are not deleted yet", unfinished, left)
		}
		if unfinished > 0 && left == 0 && !restarted && time.Since(start) > stuck {
			restarted = true
			t.say("restarting the Job controller, for which %d Jobs wait: %v", unfinished, t.Part("restart", "kube-controller-manager"))
		}
		return unfinished == 0 && left == 0, ""
	})
	t.handling.Wait()
	wait(ctx, settling)
}

// undone counts the Jobs that are unfinished, and the pods that have to be deleted, of
// works for which nothing is broken on purpose.
func (t *trial) undone(jobs []batchv1.Job, pods []corev1.Pod) (unfinished, left int) {
	byName := map[string]work{}
	for _, w := range t.works {
		if !t.broken || !isBroken(w.name) {
			byName[w.name] = w
		}
	}
	for i := range pods {
		if w, ok := byName[pods[i].Labels[workLabel]]; ok && !mayRemain(&pods[i], w) {
			left++
		}
	}
	for i := range jobs {
		if _, ok := byName[jobs[i].Name]; ok && !finished(&jobs[i]) {
			unfinished++
		}
	}
	return unfinished, left
}

func finished(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed)
	})
}

// shuffled deals things like cards: each one once, in random order, then again.
func shuffled[T any](r *rand.Rand, from []T) func() T {
	var order []int
	return func() T {
		if len(order) == 0 {
			order = r.Perm(len(from))
		}
		next := from[order[0]]
		order = order[1:]
		return next
	}
}

// pause waits for a random time, in seconds, or until ctx ends.
func pause(ctx context.Context, r *rand.Rand, from, to float64) {
	wait(ctx, time.Duration((from+r.Float64()*(to-from))*float64(time.Second)))
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
