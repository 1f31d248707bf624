package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
)

func TestOnlyChecksThatHoldAreOK(t *testing.T) {
	holds := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errors.New("it rained") }
	tests := map[string]struct {
		see       func(context.Context) error
		interrupt bool // while see is at work
		want      string
	}{
		"all hold": {see: holds, want: `
Summary
  ok           first
  ok           second
  ok           third
`},
		"what follows a failure is not reached, in later steps too": {see: fails, want: `
Summary
  ok           first
  FAILED       second
               it rained
               look at the sky
  not reached  third
`},
		"a check during which the demo is interrupted does not count": {see: fails, interrupt: true, want: `
Summary
  ok           first
  not reached  second
  not reached  third
`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			see := func(ctx context.Context) error {
				if test.interrupt {
					cancel()
				}
				return test.see(ctx)
			}
			s := &stage{out: io.Discard, start: time.Now()}
			results := s.perform(ctx, []step{
				{"one", []check{{"first", holds}, {"second", see}}},
				{"two", []check{{"third", holds}}},
			}, func(context.Context) string { return "\nlook at the sky" })
			var out strings.Builder
			summarize(&out, results)
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFurtherLinesStandBelowTheFirst(t *testing.T) {
	var out strings.Builder
	s := &stage{out: &out, start: time.Now()}
	s.say("two\nlines\n")
	if want := regexp.MustCompile(`^ {3}\d\.\d s  two\n {10}lines\n$`); !want.MatchString(out.String()) {
		t.Errorf("got %q, want a match of %s", out.String(), want)
	}
}

func TestChangesOfAPod(t *testing.T) {
	pod := func(phase corev1.PodPhase, edit ...func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{Status: corev1.PodStatus{Phase: phase}}
		for _, e := range edit {
			e(p)
		}
		return p
	}
	exited := func(name string, code int32) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
				Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}})
		}
	}
	stopped := func(p *corev1.Pod) {
		p.ObjectMeta = metav1.ObjectMeta{Annotations: map[string]string{api.StoppedAnnotation: "2026-03-01T12:00:00Z Succeeded: main completed"}}
	}
	tests := map[string]struct {
		before, now *corev1.Pod
		want        []string
	}{
		"the first look tells the phase": {
			&corev1.Pod{}, pod(corev1.PodPending), []string{"phase Pending"}},
		"nothing": {
			pod(corev1.PodRunning), pod(corev1.PodRunning), nil},
		"an exit is told with its code": {
			pod(corev1.PodRunning), pod(corev1.PodRunning, exited("main", 7)), []string{"container main exited with code 7"}},
		"an exit is told once": {
			pod(corev1.PodRunning, exited("main", 0)), pod(corev1.PodRunning, exited("main", 0), exited("sidecar", 143)),
			[]string{"container sidecar exited with code 143"}},
		"a phase of the kubelet's own": {
			pod(corev1.PodRunning), pod(corev1.PodSucceeded), []string{"phase Succeeded"}},
		"a stop": {
			pod(corev1.PodRunning), pod(corev1.PodRunning, stopped),
			[]string{"stopped by the reaper: essential-containers/stopped=2026-03-01T12:00:00Z Succeeded: main completed"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, changes(test.before, test.now)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheEndTellsHowToRemoveWhatTheDemoMade(t *testing.T) {
	const stop, uninstall = "make cluster-down", "path/helm uninstall"
	s := settings{kubeconfig: "config", helm: "path/helm"}
	if text := lookAround(s); !strings.Contains(text, uninstall) || strings.Contains(text, stop) {
		t.Errorf("on the user's cluster: want %q and not %q in:\n%s", uninstall, stop, text)
	}
	s.local = true
	if text := lookAround(s); strings.Contains(text, uninstall) || !strings.Contains(text, stop) {
		t.Errorf("on the local cluster: want %q and not %q in:\n%s", stop, uninstall, text)
	}
}

func TestArguments(t *testing.T) {
	t.Setenv("KUBECONFIG", "from/environment")
	tests := map[string]struct {
		args []string
		want string // kubeconfig, or the error
	}{
		"the environment's kubeconfig":     {[]string{"--image=i:1"}, "from/environment"},
		"the flag's kubeconfig goes first": {[]string{"--image=i:1", "--kubeconfig=given"}, "given"},
		"no cluster":                       {[]string{"--image=i:1", "--kubeconfig="}, "which cluster? give --kubeconfig, or set KUBECONFIG"},
		"no image":                         {nil, "which image? give --image"},
		"an argument too many":             {[]string{"--image=i:1", "more"}, `unexpected argument "more"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := parse(test.args, io.Discard)
			got := s.kubeconfig
			if err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
