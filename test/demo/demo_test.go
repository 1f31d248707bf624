package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
)

func newDemo(out io.Writer) *demo {
	return &demo{out: out, start: time.Now(), pods: map[string][]*corev1.Pod{}, said: map[string]string{},
		cluster: &kube.Cluster{WithWatch: fake.NewClientBuilder().Build()}}
}

func TestOnlyChecksThatPassAreOK(t *testing.T) {
	pass := func(context.Context) error { return nil }
	fail := func(context.Context) error { return errors.New("it\nrained") }
	for name, test := range map[string]struct {
		second    func(context.Context) error
		interrupt bool // during the second check
		ok        int
		want      string // of the error
		printed   string
	}{
		"all pass": {pass, false, 3, "", "All 3 checks passed."},
		"the checks after a failure are not done": {fail, false, 1, "check 2 of 3 failed: second; 1 were not done", "FAILED: it\n          rained\n"},
		"a check during an interrupt is not OK":   {pass, true, 1, "interrupted", "2. second\n"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out strings.Builder
			err := newDemo(&out).perform(ctx, []check{{"first", pass}, {"second", func(ctx context.Context) error {
				if test.interrupt {
					cancel()
				}
				return test.second(ctx)
			}}, {"third", pass}})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
			if strings.Count(out.String(), " s  OK\n") != test.ok || !strings.Contains(out.String(), test.printed) {
				t.Errorf("want %d times OK, and %q, in\n%s", test.ok, test.printed, &out)
			}
		})
	}
}

func TestDescriptionsOfAPod(t *testing.T) {
	d := newDemo(io.Discard)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "1", Annotations: map[string]string{api.TrackedAnnotation: "main"}}}
	look := func(want string, wantNew bool) {
		t.Helper()
		if text, isNew := d.look(pod.DeepCopy(), strings.HasPrefix(want, "deleted")); text != want || isNew != wantNew {
			t.Errorf("got %q, new %t; want %q, new %t", text, isNew, want, wantNew)
		}
	}
	pod.Status.Phase = corev1.PodPending
	look("Pending; marked by the webhook", true)
	look("Pending; marked by the webhook", false)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 7}}},
		{Name: "sidecar", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
	}}
	look("Running, main exited with code 7, sidecar running; marked by the webhook", true)
	pod.Annotations[api.StoppedAnnotation] = "2026-03-01T12:00:00Z Succeeded: main completed"
	look("Running, main exited with code 7, sidecar running; marked by the webhook; stopped by the reaper", true)
	look("deleted", true)
	if pods := d.seen(""); len(pods) != 1 || state(pods[0], "main") != "exited with code 7" || state(pods[0], "other") != "waiting" {
		t.Errorf("kept %v", pods)
	}
	pod.UID = "2"
	d.look(pod, false)
	if pods := d.seen(""); len(pods) != 2 {
		t.Errorf("of two pods, kept %v", pods)
	}
}

func TestLookAround(t *testing.T) {
	const stop, uninstall = "make cluster-down", "  path/helm uninstall essential-containers -n essential-containers\n"
	s := settings{kubeconfig: "config", helm: "path/helm"}
	if text := lookAround(s); !strings.Contains(text, uninstall) || strings.Contains(text, stop) {
		t.Errorf("on the user's cluster: want %q and not %q in:\n%s", uninstall, stop, text)
	}
	if text := lookAround(s); !strings.Contains(text, "export KUBECONFIG=config\n  kubectl get ") || strings.ContainsAny(text, "{}") {
		t.Errorf("a name is missing in:\n%s", text)
	}
	s.local = true
	if text := lookAround(s); strings.Contains(text, uninstall) || !strings.Contains(text, stop) {
		t.Errorf("on the local cluster: want %q and not %q in:\n%s", stop, uninstall, text)
	}
}

func TestArguments(t *testing.T) {
	t.Setenv("KUBECONFIG", "from/environment")
	for name, test := range map[string]struct {
		args []string
		want string // kubeconfig, or the error
	}{
		"the environment's kubeconfig":       {[]string{"--image=i:1"}, "from/environment"},
		"the flag's kubeconfig is preferred": {[]string{"--image=i:1", "--kubeconfig=given"}, "given"},
		"no cluster":                         {[]string{"--image=i:1", "--kubeconfig="}, "a cluster and an image are needed: --kubeconfig, or KUBECONFIG of the environment, and --image"},
		"no image":                           {nil, "a cluster and an image are needed: --kubeconfig, or KUBECONFIG of the environment, and --image"},
		"an argument too many":               {[]string{"--image=i:1", "more"}, `unexpected argument "more"`},
	} {
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
