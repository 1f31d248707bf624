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
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

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

// timeLimit bounds every wait for something that takes seconds.
const timeLimit = 2 * time.Minute

// root is the repository's, seen from here.
const root = "../.."

const chart = root + "/charts/essential-containers"

// What `make e2e` says in the environment: the image under test that the
// clusters' nodes have, and the programs to use.
var (
	image   = os.Getenv("IMG")
	helm    = os.Getenv("HELM")
	helm3   = os.Getenv("HELM3")
	kubectl = os.Getenv("KUBECTL")
)

// clusters are those of KUBECONFIG and INSTALLATION_KUBECONFIG. The second one is
// optional: without it, both tests use the first one.
var clusters []*kube.Cluster

// clusterOf returns the cluster of the test.
func clusterOf(t testing.TB) *kube.Cluster {
	if strings.HasPrefix(t.Name(), "TestInstallation") {
		return clusters[len(clusters)-1]
	}
	return clusters[0]
}

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	if err := connect(); err != nil {
		log.Fatal("e2e: ", err)
	}
	os.Exit(m.Run())
}

func connect() error {
	kubeconfig := os.Getenv("KUBECONFIG")
	if kubeconfig == "" || image == "" || helm == "" || helm3 == "" || kubectl == "" {
		return errors.New("KUBECONFIG, IMG, HELM, HELM3 and KUBECTL must be set: use make e2e")
	}
	for _, path := range []string{kubeconfig, os.Getenv("INSTALLATION_KUBECONFIG")} {
		if path == "" {
			continue
		}
		cluster, err := kube.Connect(path, helm)
		if err != nil {
			return err
		}
		clusters = append(clusters, cluster)
	}
	return nil
}

// fixture is a namespace of its own for one case, with all its logs.
type fixture struct {
	testing.TB
	ctx       context.Context
	cluster   *kube.Cluster
	namespace string
	logs      *kube.Logs
	mode      api.Mode // that its pods ask for; empty: none
	natives   *natives // in mode Native

	uninstalled atomic.Bool // kept pods may get their kubelet's phase
}

func newFixture(t *testing.T, optedIn bool) *fixture {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	_, name, _ := strings.Cut(t.Name(), "/")
	name = "e2e-" + strings.ToLower(strings.ReplaceAll(name, "/", "-"))
	f := &fixture{TB: t, ctx: ctx, cluster: clusterOf(t), namespace: name}
	f.must(f.cluster.CreateNamespace(ctx, name, optedIn))
	f.logs = f.cluster.FollowLogs(ctx, name, nil)
	phases := phases{}
	watched := f.watchPods(func(pod *corev1.Pod) { phases.see(f, pod) })
	t.Cleanup(func() {
		cancel()
		<-watched
		if t.Failed() {
			f.dump()
		}
		f.deleteNamespace(name)
	})
	return f
}

// anotherNamespace creates a namespace that the test deletes at its end.
func (f *fixture) anotherNamespace(suffix string, optedIn bool) (name string) {
	f.Helper()
	name = f.namespace + suffix
	f.must(f.cluster.CreateNamespace(f.ctx, name, optedIn))
	f.Cleanup(func() { f.deleteNamespace(name) })
	return name
}

func (f *fixture) deleteNamespace(name string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit) // the test's context is done by now
	defer cancel()
	if err := f.cluster.DeleteNamespace(ctx, name); err != nil {
		f.Error(err)
	}
}

// client is another client of the fixture's cluster.
func (f *fixture) client(user rest.ImpersonationConfig, warnings rest.WarningHandlerWithContext) client.Client {
	f.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", f.cluster.Kubeconfig)
	f.must(err)
	config.Impersonate, config.WarningHandlerWithContext = user, warnings
	c, err := client.New(config, client.Options{})
	f.must(err)
	return c
}

// kubectlCommand is kubectl in the fixture's namespace.
func (f *fixture) kubectlCommand(args ...string) *exec.Cmd {
	return exec.CommandContext(f.ctx, kubectl, append([]string{"--kubeconfig", f.cluster.Kubeconfig, "-n", f.namespace}, args...)...)
}

// kubectl returns what kubectl prints.
func (f *fixture) kubectl(args ...string) string {
	f.Helper()
	output, err := f.kubectlCommand(args...).CombinedOutput()
	if err != nil {
		f.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return string(output)
}

// phases are the terminal phases of its pods.
type phases map[types.UID]corev1.PodPhase

// see asserts what Kubernetes promises of every pod: it has no terminal phase while
// a container runs, and a terminal phase does not change.
func (p phases) see(f *fixture, pod *corev1.Pod) {
	_, old := essential.OldStop(pod)
	switch was := p[pod.UID]; {
	case old, f.uninstalled.Load(): // old: by the phase, as version 0.1 did
	case was != "" && was != pod.Status.Phase:
		f.Errorf("the phase of pod %s is %s after it was %s", pod.Name, pod.Status.Phase, was)
	case essential.IsTerminal(pod) && essential.HasRunningContainers(pod) && !essential.IsMirror(pod):
		f.Errorf("pod %s is %s while a container runs: %+v", pod.Name, pod.Status.Phase, pod.Status.ContainerStatuses)
	case essential.IsTerminal(pod):
		p[pod.UID] = pod.Status.Phase
	}
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// dump shows what an engineer on call looks at first.
func (f *fixture) dump() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var pods corev1.PodList
	if err := f.cluster.List(ctx, &pods, client.InNamespace(f.namespace)); err == nil {
		for _, p := range pods.Items {
			f.Logf("pod %s: annotations %v, phase %s, deletion %v, containers %+v", p.Name, p.Annotations, p.Status.Phase, p.DeletionTimestamp, p.Status.ContainerStatuses)
		}
	}
	var events eventsv1.EventList
	if err := f.cluster.List(ctx, &events, client.InNamespace(f.namespace)); err == nil {
		for _, e := range events.Items {
			f.Logf("event %s %s/%s %s: %s", e.Type, e.Regarding.Kind, e.Regarding.Name, e.Reason, e.Note)
		}
	}
	f.Logf("logs:\n%s", f.logs)
	for _, component := range []string{"reaper", "webhook"} {
		pods, _ := f.cluster.Components(ctx, component)
		for _, pod := range pods {
			text, err := f.cluster.Clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
			f.Logf("%s says of this namespace (error: %v):", pod.Name, err)
			for line := range strings.Lines(string(text)) {
				if strings.Contains(line, f.namespace) {
					f.Log(strings.TrimSpace(line))
				}
			}
		}
	}
}

func (f *fixture) create(object client.Object) {
	f.Helper()
	if f.mode == api.ModeNative {
		f.natives.ask(object)
	}
	f.must(f.cluster.Create(f.ctx, object))
}

func (f *fixture) get(object client.Object) {
	f.Helper()
	f.must(f.cluster.Get(f.ctx, client.ObjectKeyFromObject(object), object))
}

// await waits until condition holds for the object, which it reads again.
func await[T client.Object](f *fixture, object T, what string, condition func(T) bool) {
	f.Helper()
	key := client.ObjectKeyFromObject(object)
	f.must(kube.Await(f.ctx, timeLimit, func(ctx context.Context) (bool, string) {
		if err := f.cluster.Get(ctx, key, object); err != nil {
			return false, fmt.Sprintf("%T %s: %s: %v", object, key, what, err)
		}
		return condition(object), fmt.Sprintf("%T %s is not %s", object, key, what)
	}))
}

func (f *fixture) awaitGone(object client.Object) {
	f.Helper()
	f.must(f.cluster.AwaitGone(f.ctx, object))
}

func (f *fixture) awaitComplete(job *batchv1.Job) {
	f.Helper()
	await(f, job, "complete", kube.JobComplete)
}

func (f *fixture) awaitLine(prefix, text string) kube.Line {
	f.Helper()
	line, err := f.logs.Await(f.ctx, prefix, text)
	f.must(err)
	return line
}

// pods are the pods of the fixture, by the prefix of their names.
func (f *fixture) pods(prefix string) []corev1.Pod {
	f.Helper()
	var list corev1.PodList
	f.must(f.cluster.List(f.ctx, &list, client.InNamespace(f.namespace)))
	var found []corev1.Pod
	for _, p := range list.Items {
		if strings.HasPrefix(p.Name, prefix) {
			found = append(found, p)
		}
	}
	return found
}

// awaitPod waits for a pod with this prefix for which condition holds.
func (f *fixture) awaitPod(prefix, what string, condition func(*corev1.Pod) bool) *corev1.Pod {
	f.Helper()
	var found *corev1.Pod
	f.must(kube.Await(f.ctx, timeLimit, func(context.Context) (bool, string) {
		for _, p := range f.pods(prefix) {
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
func (f *fixture) count(prefix, text string, want int) {
	f.Helper()
	if got := len(f.logs.Find(prefix, text)); got != want {
		f.Errorf("%q is %d times in the logs of %s*, want %d", text, got, prefix, want)
	}
}

// countStopped asserts that every stopped sidecar had its hook and its signal,
// once each, and after main had ended.
func (f *fixture) countStopped(prefix string, want int) {
	f.Helper()
	// The reaped pod is gone, but its last lines may still be on their way.
	for _, text := range []string{kube.PreStop, kube.Terminated} {
		_ = kube.Await(f.ctx, 10*time.Second, func(context.Context) (bool, string) {
			return len(f.logs.Find(prefix, text)) >= want, ""
		})
		f.count(prefix, text, want)
	}
	for _, term := range f.logs.Find(prefix, kube.Terminated) {
		ends := f.logs.Find(term.Pod, kube.MainEnd)
		if len(ends) == 0 || ends[0].Time.After(term.Time) {
			f.Errorf("the sidecar of %s got SIGTERM before main had ended", term.Pod)
		}
	}
}

// events are those about the object with this UID.
func (f *fixture) events(about types.UID) (found []eventsv1.Event) {
	f.Helper()
	var events eventsv1.EventList
	f.must(f.cluster.List(f.ctx, &events, client.InNamespace(f.namespace)))
	for _, e := range events.Items {
		if e.Regarding.UID == about {
			found = append(found, e)
		}
	}
	return found
}

// countEvents counts the events with this reason about a pod.
func (f *fixture) countEvents(pod *corev1.Pod, reason string) (count int) {
	f.Helper()
	for _, e := range f.events(pod.UID) {
		if e.Reason == reason {
			count++
		}
	}
	return count
}

// canary has one more pod reaped, in a namespace that opted in. What reached
// the reaper's knowledge before it has been decided upon by then: what is
// notReaped afterwards is left alone, without guessing how long to wait.
func (f *fixture) canary(namespace string) {
	f.Helper()
	pod := kube.Pod(namespace, "canary", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("true"), kube.Sidecar("proxy")))
	f.create(pod)
	f.awaitGone(pod)
}

// notReaped asserts that the reaper has neither stopped nor deleted the pod.
func (f *fixture) notReaped(pod *corev1.Pod) {
	f.Helper()
	now := pod.DeepCopy()
	err := f.cluster.Get(f.ctx, client.ObjectKeyFromObject(pod), now)
	switch {
	case apierrors.IsNotFound(err) || err == nil && now.UID != pod.UID:
		f.Errorf("pod %s was deleted", pod.Name)
	case err != nil:
		f.Fatal(err)
	case essential.IsStopped(now), now.DeletionTimestamp != nil, essential.IsTerminal(now):
		f.Errorf("pod %s was touched: annotations %v, phase %s, deletion %v", pod.Name, now.Annotations, now.Status.Phase, now.DeletionTimestamp)
	}
	for _, term := range f.logs.Find(pod.Name, kube.Terminated) {
		f.Errorf("the sidecar of pod %s got SIGTERM at %s", pod.Name, term.Time)
	}
}
