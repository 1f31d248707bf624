package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/test/kube"
)

// What the faults do to the cluster's parts and to the processes of the release.

func restart(part string) action {
	return func(_ context.Context, t *trial, _ *rand.Rand) error { return t.Part("restart", part) }
}

func stop(part string, during action, flags ...string) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		if err := t.Part(append([]string{"stop", part}, flags...)...); err != nil {
			return err
		}
		return errors.Join(during(ctx, t, r), t.Part("start", part))
	}
}

// target is a process that gets signals.
type target struct {
	name, address string // of its pod
	signal        func(syscall.Signal) error
}

// targets selects processes that run: at least one.
type targets func(ctx context.Context, t *trial) ([]target, error)

// part selects the process of a part: a child of the supervisor.
func part(name string) targets {
	return func(_ context.Context, t *trial) ([]target, error) {
		supervisor, err := t.Supervisor()
		if err != nil {
			return nil, err
		}
		tasks, err := filepath.Glob("/proc/" + supervisor + "/task/*/children")
		for _, task := range tasks {
			children, _ := os.ReadFile(task) // a thread may have ended
			for child := range strings.FieldsSeq(string(children)) {
				if program, _ := os.Readlink("/proc/" + child + "/exe"); filepath.Base(program) == name {
					pid, err := strconv.Atoi(child)
					return []target{{signal: func(s syscall.Signal) error { return syscall.Kill(pid, s) }}}, err
				}
			}
		}
		return nil, fmt.Errorf("%s does not run (%w)", name, err)
	}
}

// every selects the replicas of a component of the release.
func every(component string) targets {
	return func(ctx context.Context, t *trial) (all []target, err error) {
		err = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
			pods, err := t.Components(ctx, component)
			all = nil
			for _, p := range pods {
				signal := func(s syscall.Signal) error { return kube.Signal(component, p.Name, s) }
				if signal(0) == nil {
					all = append(all, target{p.Name, p.Status.PodIP, signal})
				}
			}
			return len(all) > 0, fmt.Sprintf("no %s runs (%v)", component, err)
		})
		return all, err
	}
}

// leader selects the reaper that holds the Lease.
func leader(ctx context.Context, t *trial) (all []target, err error) {
	err = kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		name, err := t.Leader(ctx)
		if err != nil {
			return false, err.Error()
		}
		all, err = every("reaper")(ctx, t)
		all = slices.DeleteFunc(all, func(t target) bool { return t.name != name })
		return len(all) > 0, fmt.Sprintf("the leader %s does not run (%v)", name, err)
	})
	return all, err
}

// kill kills one of the targets.
func kill(which targets) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		all, err := which(ctx, t)
		if err != nil {
			return err
		}
		return all[r.IntN(len(all))].signal(syscall.SIGKILL)
	}
}

func halt(which targets, during action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		all, err := which(ctx, t)
		for _, one := range all {
			err = errors.Join(err, one.signal(syscall.SIGSTOP))
		}
		if err == nil {
			err = during(ctx, t, r)
		}
		for _, one := range all {
			_ = one.signal(syscall.SIGCONT) // unless its probe has failed and the kubelet has killed it
		}
		return err
	}
}

// scaleDown removes all replicas of a Deployment while the action lasts.
func scaleDown(name string, during action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		deployment := &appsv1.Deployment{}
		if err := t.Get(ctx, client.ObjectKey{Namespace: kube.Release, Name: name}, deployment); err != nil {
			return err
		}
		replicas := *deployment.Spec.Replicas
		scale := func(ctx context.Context, replicas int32) error {
			patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
			return kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
				err := t.Patch(ctx, deployment, patch)
				return err == nil, fmt.Sprint(err)
			})
		}
		err := scale(ctx, 0)
		if err == nil {
			err = during(ctx, t, r)
		}
		return errors.Join(err, scale(context.WithoutCancel(ctx), replicas))
	}
}

const firewallTable = "essential-containers-faults"

// block has the cluster's node drop or reject what reapers send to the API server
// while the action lasts.
func block(verdict string, which targets, during action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		all, err := which(ctx, t)
		if err != nil {
			return err
		}
		var addresses []string
		for _, one := range all {
			addresses = append(addresses, one.address)
		}
		if _, err := t.nft(fmt.Sprintf("table inet %s { chain input { type filter hook input priority -10; ip saddr { %s } tcp dport 6443 counter %s; }; }",
			firewallTable, strings.Join(addresses, ", "), verdict)); err != nil {
			return err
		}
		err = during(ctx, t, r)
		counted, listed := t.nft("list table inet " + firewallTable)
		if listed == nil && strings.Contains(counted, "packets 0 ") {
			err = errors.Join(err, errors.New("no reaper sent a packet"))
		}
		_, removed := t.nft("delete table inet " + firewallTable)
		return errors.Join(err, listed, removed)
	}
}

// nft changes or lists the packet filter of the cluster's network.
func (t *trial) nft(rules string) (string, error) {
	supervisor, err := t.Supervisor()
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(context.Background(), "nsenter", "--target="+supervisor, "--net", "nft", rules)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(output))
	}
	return string(output), nil
}
