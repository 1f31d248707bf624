//go:build e2e

// Package e2e proves the project on a real cluster: real API server, real
// kubelet, real cert-manager. Run it with `make e2e`.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// patience bounds every wait for something that takes seconds.
const patience = 2 * time.Minute

// root is the repository's, seen from here.
const root = "../.."

const chart = root + "/charts/essential-containers"

// What `make e2e` says in the environment: the cluster, the image under test
// that its nodes have, and the programs to use.
var (
	kubeconfig = os.Getenv("KUBECONFIG")
	image      = os.Getenv("IMG")
	helm       = os.Getenv("HELM")
	helm3      = os.Getenv("HELM3")
	kubectl    = os.Getenv("KUBECTL")
)

var cluster *kube.Cluster

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	if err := connect(); err != nil {
		log.Fatal("e2e: ", err)
	}
	os.Exit(m.Run())
}

func connect() (err error) {
	if kubeconfig == "" || image == "" || helm == "" || helm3 == "" || kubectl == "" {
		return errors.New("KUBECONFIG, IMG, HELM, HELM3 and KUBECTL must be set: use make e2e")
	}
	cluster, err = kube.Connect(kubeconfig, helm)
	return err
}

// scene is a namespace of its own for one case, with all its logs.
type scene struct {
	testing.TB
	ctx       context.Context
	namespace string
	logs      *kube.Logs
	mode      api.Mode // that its pods ask for; empty: none
	natives   *natives // in mode Native

	uninstalled atomic.Bool // kept pods may get their kubelet's phase
}

func newScene(t *testing.T, optedIn bool) *scene {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	name := "e2e-" + strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, t.Name()[strings.LastIndex(t.Name(), "/")+1:]))
	name = name[:min(len(name), 50)]
	s := &scene{TB: t, ctx: ctx, namespace: name}
	s.must(cluster.CreateNamespace(ctx, name, optedIn))
	s.logs = cluster.FollowLogs(ctx, name, nil)
	phases := phases{}
	watched := s.watchPods(func(pod *corev1.Pod) { phases.see(s, pod) })
	t.Cleanup(func() {
		cancel()
		<-watched
		if t.Failed() {
			s.dump()
		}
		deleteNamespaces(t, name)
	})
	return s
}

// phases are the terminal phases of the scene's pods.
type phases map[types.UID]corev1.PodPhase

// see asserts what Kubernetes promises of every pod: it has no terminal phase while
// a container runs, and a terminal phase does not change.
func (p phases) see(s *scene, pod *corev1.Pod) {
	_, old := essential.OldStop(pod)
	switch was := p[pod.UID]; {
	case old, s.uninstalled.Load(): // old: by the phase, as version 0.1 did
	case was != "" && was != pod.Status.Phase:
		s.Errorf("the phase of pod %s is %s after it was %s", pod.Name, pod.Status.Phase, was)
	case essential.IsTerminal(pod) && essential.HasRunningContainers(pod) && !essential.IsMirror(pod):
		s.Errorf("pod %s is %s while a container runs: %+v", pod.Name, pod.Status.Phase, pod.Status.ContainerStatuses)
	case essential.IsTerminal(pod):
		p[pod.UID] = pod.Status.Phase
	}
}

func (s *scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// dump shows what an engineer on call looks at first.
func (s *scene) dump() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var pods corev1.PodList
	if err := cluster.List(ctx, &pods, client.InNamespace(s.namespace)); err == nil {
		for _, p := range pods.Items {
			s.Logf("pod %s: annotations %v, phase %s, deletion %v, containers %+v", p.Name, p.Annotations, p.Status.Phase, p.DeletionTimestamp, p.Status.ContainerStatuses)
		}
	}
	var events eventsv1.EventList
	if err := cluster.List(ctx, &events, client.InNamespace(s.namespace)); err == nil {
		for _, e := range events.Items {
			s.Logf("event %s %s/%s %s: %s", e.Type, e.Regarding.Kind, e.Regarding.Name, e.Reason, e.Note)
		}
	}
	s.Logf("logs:\n%s", s.logs)
}

func (s *scene) create(object client.Object) {
	s.Helper()
	if s.mode == api.ModeNative {
		s.natives.ask(object)
	}
	s.must(cluster.Create(s.ctx, object))
}

func (s *scene) get(object client.Object) {
	s.Helper()
	s.must(cluster.Get(s.ctx, client.ObjectKeyFromObject(object), object))
}

// await waits until condition holds for the object, which it reads again.
func await[T client.Object](s *scene, object T, what string, condition func(T) bool) {
	s.Helper()
	key := client.ObjectKeyFromObject(object)
	s.must(kube.Await(s.ctx, patience, func(ctx context.Context) (bool, string) {
		if err := cluster.Get(ctx, key, object); err != nil {
			return false, fmt.Sprintf("%T %s: %s: %v", object, key, what, err)
		}
		return condition(object), fmt.Sprintf("%T %s is not %s", object, key, what)
	}))
}

func (s *scene) awaitGone(object client.Object) {
	s.Helper()
	s.must(cluster.AwaitGone(s.ctx, object))
}

func (s *scene) awaitComplete(job *batchv1.Job) {
	s.Helper()
	await(s, job, "complete", kube.JobComplete)
}

func (s *scene) awaitLine(prefix, text string) kube.Line {
	s.Helper()
	line, err := s.logs.Await(s.ctx, prefix, text)
	s.must(err)
	return line
}

// pods are the pods of the scene, by the prefix of their names.
func (s *scene) pods(prefix string) []corev1.Pod {
	s.Helper()
	var list corev1.PodList
	s.must(cluster.List(s.ctx, &list, client.InNamespace(s.namespace)))
	var found []corev1.Pod
	for _, p := range list.Items {
		if strings.HasPrefix(p.Name, prefix) {
			found = append(found, p)
		}
	}
	return found
}

// awaitPod waits for a pod with this prefix for which condition holds.
func (s *scene) awaitPod(prefix, what string, condition func(*corev1.Pod) bool) *corev1.Pod {
	s.Helper()
	var found *corev1.Pod
	s.must(kube.Await(s.ctx, patience, func(context.Context) (bool, string) {
		for _, p := range s.pods(prefix) {
			if condition(&p) {
				found = &p
				return true, ""
			}
		}
		return false, "no pod " + prefix + "* is " + what
	}))
	return found
}

// count asserts how often a text is in the logs.
func (s *scene) count(prefix, text string, want int) {
	s.Helper()
	if got := len(s.logs.Find(prefix, text)); got != want {
		s.Errorf("%q is %d times in the logs of %s*, want %d", text, got, prefix, want)
	}
}

// countStopped asserts that every stopped sidecar had its hook and its signal,
// once each, and after main had ended.
func (s *scene) countStopped(prefix string, want int) {
	s.Helper()
	// The reaped pod is gone, but its last lines may still be on their way.
	for _, text := range []string{kube.PreStop, kube.Terminated} {
		_ = kube.Await(s.ctx, 10*time.Second, func(context.Context) (bool, string) {
			return len(s.logs.Find(prefix, text)) >= want, ""
		})
		s.count(prefix, text, want)
	}
	for _, term := range s.logs.Find(prefix, kube.Terminated) {
		ends := s.logs.Find(term.Pod, kube.MainEnd)
		if len(ends) == 0 || ends[0].Time.After(term.Time) {
			s.Errorf("the sidecar of %s got SIGTERM before main had ended", term.Pod)
		}
	}
}

// events are those about the object with this UID.
func (s *scene) events(about types.UID) (found []eventsv1.Event) {
	s.Helper()
	var events eventsv1.EventList
	s.must(cluster.List(s.ctx, &events, client.InNamespace(s.namespace)))
	for _, e := range events.Items {
		if e.Regarding.UID == about {
			found = append(found, e)
		}
	}
	return found
}

// countEvents counts the events with this reason about a pod.
func (s *scene) countEvents(pod *corev1.Pod, reason string) (count int) {
	s.Helper()
	for _, e := range s.events(pod.UID) {
		if e.Reason == reason {
			count++
		}
	}
	return count
}

// canary has one more pod reaped, in a namespace that opted in. What reached
// the reaper's knowledge before it has been decided upon by then: what is
// untouched afterwards is left alone, without guessing how long to wait.
func (s *scene) canary(namespace string) {
	s.Helper()
	pod := kube.Pod(namespace, "canary", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("true"), kube.Sidecar("proxy")))
	s.create(pod)
	s.awaitGone(pod)
}

// untouched asserts that the reaper has neither stopped nor deleted the pod.
func (s *scene) untouched(pod *corev1.Pod) {
	s.Helper()
	now := pod.DeepCopy()
	err := cluster.Get(s.ctx, client.ObjectKeyFromObject(pod), now)
	switch {
	case apierrors.IsNotFound(err) || err == nil && now.UID != pod.UID:
		s.Errorf("pod %s was deleted", pod.Name)
	case err != nil:
		s.Fatal(err)
	case essential.IsStopped(now), now.DeletionTimestamp != nil, essential.IsTerminal(now):
		s.Errorf("pod %s was touched: annotations %v, phase %s, deletion %v", pod.Name, now.Annotations, now.Status.Phase, now.DeletionTimestamp)
	}
	for _, term := range s.logs.Find(pod.Name, kube.Terminated) {
		s.Errorf("the sidecar of pod %s got SIGTERM at %s", pod.Name, term.Time)
	}
}
