package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	// taking bounds how long one work is offered to the API server.
	taking = 5 * time.Minute
	// settling is how long connections and workers get to end, before the last
	// look at the metrics.
	settling = 15 * time.Second
)

// trial is one run.
type trial struct {
	world
	settings
	sampler *sampler
	bad     *badInput
	faults  []fault
	deck    []kind              // of the works
	pace    time.Duration       // mean time from one work to the next
	node    corev1.ResourceList // what pods can have of it
	broken  bool                // the reaper and the admission are, on purpose
	start   time.Time

	hands sync.WaitGroup // what is done to single pods

	mu     sync.Mutex
	out    io.Writer
	works  []work
	events []injection
	quiet  time.Duration // how long it took until all was done
}

func newTrial(cluster *kube.Cluster, s settings, out io.Writer) *trial {
	return &trial{
		world: world{machine: machine{cluster}, witnesses: witnesses{cluster.State()}, troubles: map[trouble]int{}, flood: flood{answers: answers{classes: map[int]int{}}}}, sampler: &sampler{cluster: cluster, exits: map[string]exit{}}, bad: &badInput{cluster: cluster, answers: answers{classes: map[int]int{}}},
		settings: s, out: out, start: time.Now(),
	}
}

// injection is a fault that happened.
type injection struct {
	fault
	at, took time.Duration
	err      error // it could not be injected
}

// say prints a line behind the seconds since the start.
func (t *trial) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, "%6.1f s  %s\n", time.Since(t.start).Seconds(), fmt.Sprintf(format, args...))
}

// run returns what the judge found wrong.
func (t *trial) run(ctx context.Context) ([]violation, error) {
	if t.broken {
		t.say("a reaper that is broken on purpose: what it does must be found")
	} else {
		t.say("seed %d: %v minutes", t.seed, t.minutes)
	}
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	since := time.Now()
	t.disturb(ctx)
	if ctx.Err() == nil {
		t.awaitQuiet(ctx)
	}
	if ctx.Err() != nil {
		return nil, errors.New("interrupted; the next run removes what this one leaves")
	}
	r, err := t.collect(ctx, since)
	if err != nil {
		return nil, err
	}
	violations := judge(r)
	text := t.report(r, violations)
	if !t.broken {
		fmt.Fprint(t.out, text)
	}
	if err := errors.Join(t.keep(t.evidence), os.WriteFile(filepath.Join(t.evidence, "report.txt"), []byte(text), 0o644)); err != nil {
		return nil, fmt.Errorf("keeping the evidence: %w", err)
	}
	return violations, nil
}

// prepare installs the chart and makes the namespaces anew.
func (t *trial) prepare(ctx context.Context) error {
	if _, err := os.Stat(t.auditFile()); err != nil {
		return fmt.Errorf("the cluster has no audit log: %w", err)
	}
	for _, name := range []string{optedIn, elsewhere} {
		if err := t.cluster.DeleteNamespace(ctx, name); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(t.linesFolder()); err != nil {
		return err
	}
	if err := t.install(ctx); err != nil {
		return err
	}
	var nodes corev1.NodeList
	if err := t.cluster.List(ctx, &nodes); err != nil || len(nodes.Items) != 1 {
		return fmt.Errorf("the cluster has %d nodes, want 1: %w", len(nodes.Items), err)
	}
	t.node = nodes.Items[0].Status.Allocatable
	return errors.Join(t.cluster.CreateNamespace(ctx, optedIn, true), t.cluster.CreateNamespace(ctx, elsewhere, false))
}

// install installs the chart, or breaks what is installed.
func (t *trial) install(ctx context.Context) error {
	if t.broken {
		return t.breakRelease(ctx)
	}
	if err := t.removeChanged(ctx); err != nil {
		return err
	}
	t.say("installing the chart, with a reaper whose clock can be stepped")
	if err := t.cluster.Install(ctx, t.chart, t.image, func(string) {}, t.values...); err != nil {
		return err
	}
	return t.runStepped(ctx)
}

// disturb creates works and injects faults until the time is up.
func (t *trial) disturb(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(t.minutes*float64(time.Minute)))
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { t.create(ctx) })
	all.Go(func() { t.compete(ctx) })
	all.Go(func() { t.inject(ctx) })
	all.Go(func() { t.sampler.run(ctx, 10*time.Second) })
	if !t.broken {
		all.Go(func() { t.bad.run(ctx, t.seed) })
	}
	all.Wait()
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
		w, object := newWork(r, k, number)
		t.submit(ctx, w, object)
		pause(ctx, r, 0, 2*t.pace.Seconds())
	}
}

// compete always has one work that asks for what tracked pods have.
func (t *trial) compete(ctx context.Context) {
	r := rand.New(rand.NewPCG(t.seed, 5))
	for number := 1; ctx.Err() == nil; number++ {
		w, object := newWork(r, competing, number)
		t.submit(ctx, w, object)
		_ = kube.Await(ctx, t.patience, func(ctx context.Context) (bool, string) {
			job := &batchv1.Job{}
			err := t.cluster.Get(ctx, client.ObjectKeyFromObject(object), job)
			return err == nil && finished(job), ""
		})
	}
}

// submit creates the work. What the API server does not take, because it or the
// webhook is away, it is given again.
func (t *trial) submit(ctx context.Context, w work, object client.Object) {
	w.claim(object, t.node)
	t.creating.Lock()
	defer t.creating.Unlock()
	err := kube.Await(ctx, taking, func(ctx context.Context) (bool, string) {
		err := t.cluster.Create(ctx, object.DeepCopyObject().(client.Object))
		return err == nil || apierrors.IsAlreadyExists(err), fmt.Sprint(err)
	})
	// The last request may have been carried out although its answer was lost.
	if err != nil && !t.exists(object) {
		return
	}
	t.works = append(t.works, w)
	if w.deletes > 0 || w.resizes {
		t.hands.Go(func() { t.handle(w) })
	}
}

// handle does to the work's first pod what is to be done to it, when its main has
// started. Nothing but its own time limit ends that: what was drawn must happen.
func (t *trial) handle(w work) {
	ctx := context.Background()
	var first line
	err := kube.Await(ctx, t.patience, func(context.Context) (bool, string) {
		lines, err := t.lines()
		i := slices.IndexFunc(lines, func(l line) bool { return l.work == w.name && l.container == "main" && l.word == started })
		if err == nil && i >= 0 {
			first = lines[i]
		}
		return err == nil && i >= 0, "main has not started"
	})
	if err != nil {
		return // the judge says so
	}
	wait(ctx, time.Until(first.at.Add(w.deletes)))
	_ = kube.Await(ctx, taking, func(ctx context.Context) (bool, string) {
		var pods corev1.PodList
		if err := t.cluster.List(ctx, &pods, client.InNamespace(optedIn), client.MatchingLabels{workLabel: w.name}); err != nil {
			return false, err.Error()
		}
		i := slices.IndexFunc(pods.Items, func(p corev1.Pod) bool { return p.UID == first.pod })
		if i < 0 || pods.Items[i].DeletionTimestamp != nil {
			return true, ""
		}
		var err error
		if w.resizes {
			more := []byte(`{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"20m"}}}]}}`)
			err = t.cluster.SubResource("resize").Patch(ctx, &pods.Items[i], client.RawPatch(types.StrategicMergePatchType, more))
		} else {
			err = client.IgnoreNotFound(t.cluster.Delete(ctx, &pods.Items[i], client.Preconditions{UID: &first.pod}))
		}
		return err == nil, fmt.Sprint(err)
	})
}

func (t *trial) exists(object client.Object) (there bool) {
	_ = kube.Await(context.Background(), time.Minute, func(ctx context.Context) (bool, string) {
		err := t.cluster.Get(ctx, client.ObjectKeyFromObject(object), object)
		there = err == nil
		return err == nil || apierrors.IsNotFound(err), ""
	})
	return there
}

// inject has one fault follow the other, a random time after the API server
// answers again: what the last one did to other parts may still go on.
func (t *trial) inject(ctx context.Context) {
	r := rand.New(rand.NewPCG(t.seed, 2))
	if len(t.faults) == 0 {
		return
	}
	next := shuffled(r, t.faults)
	pause(ctx, r, 5, 10)
	for ctx.Err() == nil {
		f := next()
		t.say("%s ...", f.name)
		i := injection{fault: f, at: time.Since(t.start)}
		i.err = f.inject(ctx, &t.world, r)
		i.took = time.Since(t.start) - i.at
		if i.err != nil && ctx.Err() != nil {
			return
		}
		t.events = append(t.events, i)
		if i.err != nil {
			t.say("%s could not be injected: %v", f.name, i.err)
		} else {
			t.say("%s: over after %.1f s; %d completions so far", f.name, i.took.Seconds(), t.completions())
		}
		_ = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
			return t.cluster.Clientset.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil, ""
		})
		pause(ctx, r, 2, 10)
	}
}

// forgetting is after how much time of quiet a Job without a pod was forgotten. A
// Job controller whose watch is late (the API server was restarted) does not count
// the creation of a pod that is being deleted when it first sees it, and waits for
// that for ever (k8s.io/kubernetes/pkg/controller/job, addPod). Its back-off is
// shorter here.
const forgetting = 2 * time.Minute

// awaitQuiet waits until all works have come to their end. If they do not, the
// judge says which.
func (t *trial) awaitQuiet(ctx context.Context) {
	begin, told, reminded := time.Now(), time.Now(), false
	t.say("no more faults, no more Jobs: waiting until all is quiet")
	_ = kube.Await(ctx, t.patience, func(ctx context.Context) (bool, string) {
		jobs, pods, err := t.present(ctx)
		if err != nil {
			return false, err.Error()
		}
		unfinished, going := t.undone(jobs, pods)
		if time.Since(told) > 15*time.Second {
			told = time.Now()
			t.say("%d Jobs are unfinished, %d pods are to go", unfinished, going)
		}
		if unfinished > 0 && going == 0 && !reminded && time.Since(begin) > forgetting {
			reminded = true
			t.say("the Job controller has forgotten %d Jobs: restarting it", unfinished)
			if err := t.cluster.Part("restart", "kube-controller-manager"); err != nil {
				t.say("the Job controller could not be restarted: %v", err)
			}
		}
		return unfinished == 0 && going == 0, ""
	})
	t.hands.Wait()
	t.quiet = time.Since(begin)
	t.say("quiet after %.1f s", t.quiet.Seconds())
}

// undone counts those Jobs and pods that have yet to come to their end.
func (t *trial) undone(jobs []batchv1.Job, pods []corev1.Pod) (unfinished, going int) {
	byName, excused := map[string]work{}, map[string]bool{}
	for _, w := range t.works {
		byName[w.name], excused[w.name] = w, t.broken && spoilt(w.name)
	}
	for i := range pods {
		name := pods[i].Labels[workLabel]
		if !excused[name] && !mayStay(&pods[i], byName[name]) {
			going++
		}
	}
	for i := range jobs {
		if !finished(&jobs[i]) && !excused[jobs[i].Name] {
			unfinished++
		}
	}
	return unfinished, going
}

func finished(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed)
	})
}

// collect asks the witnesses.
func (t *trial) collect(ctx context.Context, since time.Time) (r records, err error) {
	pause(ctx, rand.New(rand.NewPCG(t.seed, 3)), settling.Seconds(), settling.Seconds())
	sampled := t.sampler.sample(ctx)
	r.works, r.steps, r.bad, r.flood = t.works, t.steps, t.bad.answers, t.flood
	r.samples, r.exits = t.sampler.taken()
	var present error
	r.jobs, r.left, present = t.present(ctx)
	var read, audited error
	r.writes, r.refused, audited = t.writes(since)
	r.lines, read = t.lines()
	return r, errors.Join(sampled, present, audited, read)
}
