package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// action does something to the cluster, or waits for something. An error means that it
// did not happen.
type action func(ctx context.Context, t *trial, r *rand.Rand) error

// fault is something that goes wrong. When inject returns, the cluster has all its
// parts again, though it may still be recovering.
type fault struct {
	name, what string
	inject     action
}

// faults are all of them. The Lease of the leader lasts 15 seconds.
var faults = []fault{
	{"leader-killed", "the reaper's leader gets SIGKILL", kill(leader)},
	{"leader-paused", "the reaper's leader is halted (SIGSTOP) for 17 to 25 s, past its Lease, and continues", halt(leader, lasting(17, 25))},
	{"leader-cut-off", "no packet of the reaper's leader reaches the API server for 15 to 25 s", block("drop", leader, lasting(15, 25))},
	{"watch-cut", "every packet of the reapers to the API server resets its connection, for 3 to 6 s", block("reject with tcp reset", every("reaper"), lasting(3, 6))},
	{"answers-slow", "requests and answers of the reapers take up to 7 s longer, for 15 to 25 s", failAnswers("slow", lasting(15, 25))},
	{"answers-failing", "the reapers' requests get 429, 500, 503, half an answer, or none though they were carried out, for 10 to 20 s", failAnswers("failing", lasting(10, 20))},
	{"clock-stepped", "the clock of the reapers is 2 to 90 s ahead or behind, for 10 to 25 s", stepClock(lasting(10, 25))},
	{"apiserver-restarted", "the API server is restarted (SIGTERM)", restart("kube-apiserver")},
	{"apiserver-killed", "the API server gets SIGKILL, and is away for 1 to 8 s", stop("kube-apiserver", lasting(1, 8), "--kill")},
	{"apiserver-slow", "the API server is halted for 3 to 10 s: all requests wait", halt(part("kube-apiserver"), lasting(3, 10))},
	{"etcd-restarted", "etcd is restarted (SIGTERM): the API server answers with errors", restart("etcd")},
	{"etcd-killed", "etcd gets SIGKILL, and is away for 1 to 8 s", stop("etcd", lasting(1, 8), "--kill")},
	{"etcd-slow", "etcd is halted for 3 to 10 s: the API server answers late, or with errors", halt(part("etcd"), lasting(3, 10))},
	{"kubelet-down", "the kubelet is stopped until a main has completed, and up to 15 s longer", betweenStarts(aMain, stop("kubelet", both(aCompletion, lasting(0, 15))))},
	{"kubelet-killed", "the kubelet gets SIGKILL between a pod's stop and its end, and is away for 1 to 8 s", betweenStarts(aStop, stop("kubelet", lasting(1, 8), "--kill"))},
	{"reapers-halted", "the reapers are halted until a main has completed, and 5 to 15 s longer", both(aMain, halt(every("reaper"), both(aCompletion, lasting(5, 15))))},
	{"webhooks-halted", "all replicas of the webhook are halted until the API server has refused a pod's end for that, and up to 10 s longer", both(aMain, halt(every("webhook"), both(aRefusal, lasting(0, 10))))},
	{"webhooks-gone", "the webhook has no replicas until the API server has refused a pod's end for that, and up to 10 s longer", both(aMain, scaleDown(kube.WebhookDeployment, both(aRefusal, lasting(0, 10))))},
	{"webhook-killed", "one replica of the webhook gets SIGKILL", kill(every("webhook"))},
	{"webhooks-flooded", "the webhooks get hostile bodies, 50 at a time, for 15 to 30 s", flood(lasting(15, 30))},
	{"certificate-renewed", "cert-manager issues a new certificate for the webhook", func(ctx context.Context, t *trial, _ *rand.Rand) error { return t.RenewCertificate(ctx) }},
}

// named returns the faults with these names, joined by commas; without names, all.
func named(names string) (chosen []fault, err error) {
	if names == "" {
		return faults, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no fault %q; the faults are %s", name, faultNames())
		}
		chosen = append(chosen, faults[i])
	}
	return chosen, nil
}

func faultNames() string {
	var names []string
	for _, f := range faults {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

// attempts is how often a fault is tried, for instance while a container that was
// killed several times is not started again yet.
const attempts = 3

// inject injects one fault after the other, a random time after the API server
// answers again: other parts may still be recovering from the last one.
func (t *trial) inject(ctx context.Context) {
	if len(t.faults) == 0 {
		return
	}
	next, r := shuffled(rand.New(rand.NewPCG(t.seed, 2)), t.faults), rand.New(rand.NewPCG(t.seed, 3))
	pause(ctx, r, 5, 10)
	for ctx.Err() == nil {
		t.try(ctx, next(), r, func() {
			_ = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
				return t.Clientset.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil, ""
			})
			pause(ctx, r, 2, 10)
		})
	}
}

// try injects a fault, in several attempts. It calls settle after each.
func (t *trial) try(ctx context.Context, f fault, r *rand.Rand, settle func()) {
	for attempt := 1; ; attempt++ {
		t.say("%s ...", f.name)
		start := time.Now()
		err := f.inject(ctx, t, r)
		switch {
		case err == nil:
			t.injected[f.name]++
			t.say("%s: over after %.1f s; %d completions so far", f.name, time.Since(start).Seconds(), t.completions())
		case ctx.Err() != nil:
			return // the time of the run is over
		default:
			t.say("%s could not be injected: %v", f.name, err)
		}
		settle()
		if err == nil {
			return
		} else if attempt == attempts {
			t.notInjected = errors.Join(t.notInjected, fmt.Errorf("%s could not be injected in %d attempts: %w", f.name, attempts, err))
			return
		}
	}
}

// The actions that wait.

func lasting(from, to float64) action {
	return func(ctx context.Context, _ *trial, r *rand.Rand) error {
		pause(ctx, r, from, to)
		return nil
	}
}

// both does the second action only after the first.
func both(first, second action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		if err := first(ctx, t, r); err != nil {
			return err
		}
		return second(ctx, t, r)
	}
}

// aPod waits until a pod is in such a state.
func aPod(missing string, is func(*corev1.Pod) bool) action {
	return func(ctx context.Context, t *trial, _ *rand.Rand) error {
		return kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
			_, pods, err := t.present(ctx)
			return err == nil && slices.ContainsFunc(pods, func(p corev1.Pod) bool { return is(&p) }), missing
		})
	}
}

// aMain waits for a pod that the reaper will stop soon.
var aMain = aPod("no main runs", func(p *corev1.Pod) bool {
	return essential.IsTracked(p) && !slices.Contains([]string{long, "native", "ignored", "probed", "resized"}, kindOf(p.Name)) &&
		slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.Name == "main" && s.State.Running != nil })
})

var aStop = aPod("no pod is between its stop and its end", func(p *corev1.Pod) bool { return essential.IsStopped(p) && !essential.IsTerminal(p) })

func aCompletion(ctx context.Context, t *trial, _ *rand.Rand) error {
	before := t.completions()
	return kube.Await(ctx, 20*time.Second, func(context.Context) (bool, string) { return t.completions() > before, "no main completes" })
}

// aRefusal waits until the API server has refused the end of a pod, because no
// webhook answers: the verdict is late from here on.
func aRefusal(ctx context.Context, t *trial, _ *rand.Rand) error {
	log, err := os.Open(t.auditFile())
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	// Half an entry that is read here is lost. The kubelet repeats what was refused.
	return kube.Await(ctx, 40*time.Second, func(context.Context) (bool, string) {
		var seen records
		return seen.readAudit(log, time.Time{}) == nil && seen.refused > 0, "no end of a pod is refused"
	})
}

// betweenStarts does the action after the condition, and while no container is being
// started: a kubelet that is stopped at that time makes the container fail.
func betweenStarts(condition, do action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		if err := condition(ctx, t, r); err != nil {
			return err
		}
		t.creating.Lock()
		defer t.creating.Unlock()
		starting := func(p corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) == 0 || slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.State.Waiting != nil })
		}
		_ = kube.Await(ctx, 20*time.Second, func(ctx context.Context) (bool, string) {
			_, pods, err := t.present(ctx)
			return err == nil && !slices.ContainsFunc(pods, starting), ""
		})
		return both(condition, do)(ctx, t, r) // the first pod may have ended
	}
}

// failAnswers has the API server's answers fail while the action lasts.
func failAnswers(how string, during action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		before := len(t.failedAnswers())
		if err := t.order("answers", how); err != nil {
			return err
		}
		err := errors.Join(during(ctx, t, r), t.order("answers", ""))
		if len(t.failedAnswers()) == before {
			err = errors.Join(err, errors.New("no reaper got a bad answer"))
		}
		return err
	}
}

func stepClock(during action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		// Small steps meet delays and retentions that are about as long; large ones outlast them.
		ahead := time.Duration(2 * math.Pow(45, r.Float64()) * float64(time.Second)).Round(time.Millisecond)
		if r.IntN(2) == 0 {
			ahead = -ahead
		}
		s := step{from: time.Now(), ahead: ahead}
		err := errors.Join(t.order("ahead", ahead.String()), during(ctx, t, r), t.order("ahead", "0s"))
		s.to = time.Now()
		t.steps = append(t.steps, s)
		return err
	}
}
