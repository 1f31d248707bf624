package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/reaper"
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
	cluster *kube.Cluster
	machine
	witnesses
	creating sync.Mutex // held while works are created, or are not to be
}

// faults are all of them. The Lease of the leader lasts 15 seconds.
var faults = []fault{
	{"leader-killed", "the reaper's leader gets SIGKILL", func(ctx context.Context, w *world, _ *rand.Rand) error {
		leader, err := w.leader(ctx)
		if err != nil {
			return err
		}
		return w.signal("reaper", leader, syscall.SIGKILL)
	}},
	{"leader-paused", "the reaper's leader is halted (SIGSTOP) for 17 to 25 s, past its Lease, and goes on", func(ctx context.Context, w *world, r *rand.Rand) error {
		leader, err := w.leader(ctx)
		if err != nil {
			return err
		}
		if err := w.signal("reaper", leader, syscall.SIGSTOP); err != nil {
			return err
		}
		pause(ctx, r, 17, 25)
		return w.signal("reaper", leader, syscall.SIGCONT)
	}},
	{"leader-cut-off", "no packet of the reaper's leader reaches the API server for 15 to 25 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		leader, err := w.leader(ctx)
		if err != nil {
			return err
		}
		return w.cut(ctx, "drop", func(p *corev1.Pod) bool { return p.Name == leader }, func() { pause(ctx, r, 15, 25) })
	}},
	{"watch-cut", "all connections of both reapers to the API server are reset, for 1 to 4 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.cut(ctx, "reject with tcp reset", func(*corev1.Pod) bool { return true }, func() { pause(ctx, r, 1, 4) })
	}},
	{"apiserver-restarted", "the API server is restarted (SIGTERM)", func(_ context.Context, w *world, _ *rand.Rand) error {
		return w.part("restart", "kube-apiserver")
	}},
	{"apiserver-killed", "the API server gets SIGKILL, and is away for 1 to 8 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		err := w.part("stop", "kube-apiserver", "--kill")
		pause(ctx, r, 1, 8)
		return errors.Join(err, w.part("start", "kube-apiserver"))
	}},
	{"apiserver-slow", "the API server is halted for 3 to 10 s: whatever is asked waits", func(ctx context.Context, w *world, r *rand.Rand) error {
		return w.paused("kube-apiserver", func() { pause(ctx, r, 3, 10) })
	}},
	{"etcd-restarted", "etcd is restarted (SIGTERM): the API server answers with errors", func(_ context.Context, w *world, _ *rand.Rand) error {
		return w.part("restart", "etcd")
	}},
	{"etcd-killed", "etcd gets SIGKILL, and is away for 1 to 8 s", func(ctx context.Context, w *world, r *rand.Rand) error {
		err := w.part("stop", "etcd", "--kill")
		pause(ctx, r, 1, 8)
		return errors.Join(err, w.part("start", "etcd"))
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
		err := w.part("stop", "kubelet")
		_ = kube.Await(ctx, 20*time.Second, func(context.Context) (bool, string) { return w.completions() > before, "a completion" })
		pause(ctx, r, 0, 15)
		return errors.Join(err, w.part("start", "kubelet"))
	}},
	{"webhook-killed", "one replica of the webhook gets SIGKILL", func(ctx context.Context, w *world, r *rand.Rand) error {
		pods, err := w.components(ctx, "webhook")
		if err != nil {
			return err
		}
		return w.signal("webhook", pods[r.IntN(len(pods))].Name, syscall.SIGKILL)
	}},
	{"certificate-renewed", "cert-manager issues the webhook's certificate anew", renewCertificate},
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

// shuffled deals the faults like cards: each one once, in random order, then
// again.
func shuffled(r *rand.Rand, from []fault) func() fault {
	var deck []fault
	return func() fault {
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

// leader is the pod that holds the Lease.
func (w *world) leader(ctx context.Context) (pod string, err error) {
	err = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		lease := &coordinationv1.Lease{}
		if err := w.cluster.Get(ctx, client.ObjectKey{Namespace: kube.Release, Name: reaper.LeaseName}, lease); err != nil {
			return false, err.Error()
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return false, "nobody holds the Lease"
		}
		pod, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_") // the rest tells processes apart
		return true, ""
	})
	return pod, err
}

// components are the release's pods of one component that run.
func (w *world) components(ctx context.Context, component string) (running []corev1.Pod, err error) {
	err = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		var pods corev1.PodList
		if err := w.cluster.List(ctx, &pods, client.InNamespace(kube.Release), client.MatchingLabels{"app.kubernetes.io/component": component}); err != nil {
			return false, err.Error()
		}
		running = nil
		for _, p := range pods.Items {
			if p.Status.PodIP != "" {
				running = append(running, p)
			}
		}
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

// cut keeps packets of some reapers from the API server while do runs.
func (w *world) cut(ctx context.Context, verdict string, which func(*corev1.Pod) bool, do func()) error {
	pods, err := w.components(ctx, "reaper")
	if err != nil {
		return err
	}
	var addresses []string
	for i := range pods {
		if which(&pods[i]) {
			addresses = append(addresses, pods[i].Status.PodIP)
		}
	}
	if len(addresses) == 0 {
		return errors.New("there is nobody to cut off")
	}
	if err := w.firewall(verdict, addresses...); err != nil {
		return err
	}
	do()
	return w.open()
}

// renewCertificate does what `cmctl renew` does.
func renewCertificate(ctx context.Context, w *world, _ *rand.Rand) error {
	certificate := &cmapi.Certificate{}
	key := client.ObjectKey{Namespace: kube.Release, Name: kube.ServingCertificate}
	revision := 0
	asked := false
	return kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		if err := w.cluster.Get(ctx, key, certificate); err != nil {
			return false, err.Error()
		}
		if asked {
			return *certificate.Status.Revision > revision, "the certificate is not issued anew"
		}
		revision = *certificate.Status.Revision
		certificate.Status.Conditions = append(certificate.Status.Conditions, cmapi.CertificateCondition{
			Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue, Reason: "ManuallyTriggered", Message: "faults",
		})
		err := w.cluster.Status().Update(ctx, certificate)
		asked = err == nil
		return false, fmt.Sprintf("asking for a new certificate: %v", err)
	})
}
