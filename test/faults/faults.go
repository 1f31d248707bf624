package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// fault is something that goes wrong, and is over when inject returns: then the
// cluster has all its parts again, though it may still be recovering.
type fault struct {
	name   string
	what   string
	inject func(ctx context.Context, w *world, r *rand.Rand) error
}

// world is what faults happen to.
type world struct {
	machine
	witnesses
	creating sync.Mutex // held while works are created, or are not to be
	troubles map[trouble]int
	steps    []step // of the reapers' clock
	flood    flood
}

// faults are all of them. The Lease of the leader lasts 15 seconds.
var faults = []fault{
	{"leader-killed", "the reaper's leader gets SIGKILL", func(ctx context.Context, w *world, _ *rand.Rand) error {
		leader, err := w.cluster.Leader(ctx)
		if err != nil {
			return err
		}
		return kube.Signal("reaper", leader, syscall.SIGKILL)
	}},
	{"leader-paused", "the reaper's leader is halted (SIGSTOP) for 17 to 25 s, past its Lease, and goes on", func(ctx context.Context, w *world, r *rand.Rand) error {
		leader, err := w.cluster.Leader(ctx)
		if err != nil {
			return err
		}
		if err := kube.Signal("reaper", leader, syscall.SIGSTOP); err != nil {
			return err
		}
		pause(ctx, r, 17, 25)
		return kube.Signal("reaper", leader, syscall.SIGCONT)
	}},
	{"leader-cut-off", "no packet of the reaper's leader reaches the API server for 15 to 25 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		leader, err := w.cluster.Leader(ctx)
		if err != nil {
			return err
		}
		return w.cutOff(ctx, func(p corev1.Pod) bool { return p.Name == leader }, func([]string) error {
			pause(ctx, r, 15, 25)
			return nil
		})
	}},
	{"watch-cut", "all connections of both reapers to the API server are reset, and none comes about for 1 to 4 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.cutOff(ctx, func(corev1.Pod) bool { return true }, func(addresses []string) error {
			err := w.reset(addresses)
			pause(ctx, r, 1, 4)
			return err
		})
	}},
	{"answers-slow", "a proxy before both reapers holds up requests and answers, up to 7 s each, for 15 to 25 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.throughProxy(ctx, slow, r, func() { pause(ctx, r, 15, 25) })
	}},
	{"answers-failing", "a proxy before both reapers refuses requests with 429, 500 and 503, and cuts and loses answers, for 10 to 20 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.throughProxy(ctx, failing, r, func() { pause(ctx, r, 10, 20) })
	}},
	{"clock-stepped", "the clock of both reapers is 2 to 90 s ahead or behind, for 10 to 25 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.stepped(r, func() { pause(ctx, r, 10, 25) })
	}},
	{"apiserver-restarted", "the API server is restarted (SIGTERM)", func(_ context.Context, w *world, _ *rand.Rand) error {
		return w.cluster.Part("restart", "kube-apiserver")
	}},
	{"apiserver-killed", "the API server gets SIGKILL, and is away for 1 to 8 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		err := w.cluster.Part("stop", "kube-apiserver", "--kill")
		pause(ctx, r, 1, 8)
		return errors.Join(err, w.cluster.Part("start", "kube-apiserver"))
	}},
	{"apiserver-slow", "the API server is halted for 3 to 10 s: whatever is asked waits", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.paused("kube-apiserver", func() { pause(ctx, r, 3, 10) })
	}},
	{"etcd-restarted", "etcd is restarted (SIGTERM): the API server answers with errors", func(_ context.Context, w *world, _ *rand.Rand) error {
		return w.cluster.Part("restart", "etcd")
	}},
	{"etcd-killed", "etcd gets SIGKILL, and is away for 1 to 8 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		err := w.cluster.Part("stop", "etcd", "--kill")
		pause(ctx, r, 1, 8)
		return errors.Join(err, w.cluster.Part("start", "etcd"))
	}},
	{"etcd-slow", "etcd is halted for 3 to 10 s: the API server answers late, or with errors", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.paused("etcd", func() { pause(ctx, r, 3, 10) })
	}},
	{"kubelet-down", "the kubelet is stopped until a main has completed, and up to 15 s longer", func(ctx context.Context, w *world, r *rand.Rand) error {
		// It breaks off what it does when it is stopped, and a container that is just being started fails.
		w.creating.Lock()
		defer w.creating.Unlock()
		w.awaitStarts(ctx)
		before := w.completions()
		err := w.cluster.Part("stop", "kubelet")
		_ = kube.Await(ctx, 20*time.Second, func(context.Context) (bool, string) { return w.completions() > before, "a completion" })
		pause(ctx, r, 0, 15)
		return errors.Join(err, w.cluster.Part("start", "kubelet"))
	}},
	{"kubelet-killed", "the kubelet gets SIGKILL between a pod's stop and its end, and is away for 1 to 8 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		w.creating.Lock()
		defer w.creating.Unlock()
		w.awaitStarts(ctx)
		if err := w.awaitStop(ctx); err != nil {
			return err
		}
		err := w.cluster.Part("stop", "kubelet", "--kill")
		pause(ctx, r, 1, 8)
		return errors.Join(err, w.cluster.Part("start", "kubelet"))
	}},
	{"reapers-halted", "both reapers are halted until a main has completed, and 5 to 15 s longer", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.halted(ctx, "reaper", func() error {
			before := w.completions()
			err := kube.Await(ctx, 20*time.Second, func(context.Context) (bool, string) { return w.completions() > before, "no main completes" })
			pause(ctx, r, 5, 15)
			return err
		})
	}},
	{"webhooks-halted", "all replicas of the webhook are halted until the API server has refused a pod's end for that, and up to 10 s longer", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.halted(ctx, "webhook", func() error {
			err := w.awaitRefusal(ctx)
			pause(ctx, r, 0, 10)
			return err
		})
	}},
	{"webhooks-gone", "the webhook has no replicas until the API server has refused a pod's end for that, and up to 10 s longer", func(ctx context.Context, w *world, r *rand.Rand) error {
		replicas, err := w.scale(ctx, kube.WebhookDeployment, 0)
		if err != nil {
			return err
		}
		err = w.awaitRefusal(ctx)
		pause(ctx, r, 0, 10)
		_, back := w.scale(context.WithoutCancel(ctx), kube.WebhookDeployment, replicas)
		return errors.Join(err, back)
	}},
	{"webhook-killed", "one replica of the webhook gets SIGKILL", func(ctx context.Context, w *world, r *rand.Rand) error {
		pods, err := w.running(ctx, "webhook")
		if err != nil {
			return err
		}
		return kube.Signal("webhook", pods[r.IntN(len(pods))].Name, syscall.SIGKILL)
	}},
	{"webhooks-flooded", "the webhooks get hostile bodies, 50 at a time, for 15 to 30 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.flooded(ctx, r, 15, 30)
	}},
	{"certificate-renewed", "cert-manager issues the webhook's certificate anew", func(ctx context.Context, w *world, _ *rand.Rand) error {
		return w.cluster.RenewCertificate(ctx)
	}},
}

// named are the faults with these names, joined by commas; of none, all.
func named(names string) ([]fault, error) {
	if names == "" {
		return faults, nil
	}
	var chosen []fault
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, f := range faults {
			if f.name == name {
				chosen, found = append(chosen, f), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no fault %q; the faults are %s", name, strings.Join(faultNames(), ", "))
		}
	}
	return chosen, nil
}

func faultNames() (names []string) {
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// shuffled deals things like cards: each one once, in random order, then again.
func shuffled[T any](r *rand.Rand, from []T) func() T {
	var deck []T
	return func() T {
		if len(deck) == 0 {
			deck = append(deck, from...)
			r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		next := deck[0]
		deck = deck[1:]
		return next
	}
}

// pause waits for a random time, or until ctx ends.
func pause(ctx context.Context, r *rand.Rand, from, to float64) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration((from + r.Float64()*(to-from)) * float64(time.Second))):
	}
}

// running are the release's pods of one component that run.
func (w *world) running(ctx context.Context, component string) (running []corev1.Pod, err error) {
	err = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		pods, err := w.cluster.Components(ctx, component)
		if err != nil {
			return false, err.Error()
		}
		running = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.Status.PodIP == "" })
		return len(running) > 0, "no " + component + " runs"
	})
	return running, err
}

// present are our Jobs and pods.
func (w *world) present(ctx context.Context) ([]batchv1.Job, []corev1.Pod, error) {
	var jobs batchv1.JobList
	if err := w.cluster.List(ctx, &jobs, client.InNamespace(optedIn)); err != nil {
		return nil, nil, err
	}
	var all []corev1.Pod
	for _, namespace := range []string{optedIn, elsewhere} {
		var pods corev1.PodList
		if err := w.cluster.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
			return nil, nil, err
		}
		all = append(all, pods.Items...)
	}
	return jobs.Items, all, nil
}

// awaitStarts waits a while until no container has yet to be started.
func (w *world) awaitStarts(ctx context.Context) {
	_ = kube.Await(ctx, 20*time.Second, func(ctx context.Context) (bool, string) {
		_, pods, err := w.present(ctx)
		waits := func(p corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) == 0 || slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.State.Waiting != nil })
		}
		return err == nil && !slices.ContainsFunc(pods, waits), ""
	})
}

// awaitStop waits for a pod that is stopped and has not ended.
func (w *world) awaitStop(ctx context.Context) error {
	return kube.Await(ctx, 20*time.Second, func(ctx context.Context) (bool, string) {
		_, pods, err := w.present(ctx)
		return err == nil && slices.ContainsFunc(pods, func(p corev1.Pod) bool { return essential.IsStopped(&p) && !essential.IsTerminal(&p) }), "no pod is between its stop and its end"
	})
}

// awaitRefusal waits until the API server has refused the end of a pod, because no
// webhook answers: the verdict is late from here on.
func (w *world) awaitRefusal(ctx context.Context) error {
	log, err := os.Open(w.auditFile())
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	// Half an entry that is read here is lost. The kubelet repeats what was refused.
	return kube.Await(ctx, 40*time.Second, func(context.Context) (bool, string) {
		_, refused, err := readAudit(log, time.Time{})
		return err == nil && refused > 0, "no pod ends"
	})
}

// halted has all replicas of a component do nothing while do runs.
func (w *world) halted(ctx context.Context, component string, do func() error) error {
	pods, err := w.running(ctx, component)
	if err != nil {
		return err
	}
	for _, p := range pods {
		err = errors.Join(err, kube.Signal(component, p.Name, syscall.SIGSTOP))
	}
	err = errors.Join(err, do())
	for _, p := range pods {
		// If it is not there, its probe has failed and the kubelet has killed it.
		_ = kube.Signal(component, p.Name, syscall.SIGCONT)
	}
	return err
}

// scale sets the number of a Deployment's replicas, and returns what it was.
func (w *world) scale(ctx context.Context, name string, replicas int32) (was int32, err error) {
	err = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		deployment := &appsv1.Deployment{}
		if err := w.cluster.Get(ctx, client.ObjectKey{Namespace: kube.Release, Name: name}, deployment); err != nil {
			return false, err.Error()
		}
		if was == 0 { // else this is the second try
			was = *deployment.Spec.Replicas
		}
		patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
		err := w.cluster.Patch(ctx, deployment, client.RawPatch(types.MergePatchType, patch))
		return err == nil, fmt.Sprint(err)
	})
	return was, err
}

// cutOff keeps packets of some reapers from the API server while do runs.
func (w *world) cutOff(ctx context.Context, which func(corev1.Pod) bool, do func(addresses []string) error) error {
	pods, err := w.running(ctx, "reaper")
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(pods, func(p corev1.Pod) bool { return !which(p) })
	if len(chosen) == 0 {
		return errors.New("there is nobody to cut off")
	}
	from := addresses(chosen)
	if err := w.firewall(from); err != nil {
		return err
	}
	return errors.Join(do(from), w.open())
}

func addresses(pods []corev1.Pod) (all []string) {
	for _, p := range pods {
		all = append(all, p.Status.PodIP)
	}
	return all
}
