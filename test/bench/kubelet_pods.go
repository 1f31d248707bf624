package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
)

// stopper is who has the sidecar of a pod stopped once its main has ended.
type stopper string

const (
	byReaper  stopper = "reaper"
	byLoop    stopper = "loop"
	byKubelet stopper = "native"    // the sidecar is a native one
	byWebhook stopper = "converted" // the webhook makes it one
)

var stoppers = []stopper{byReaper, byLoop, byKubelet}

// loopSelector keeps the bare loop to its own pods, which the reaper does not see:
// they lose their label.
const loopSelector = benchKey + "=" + string(byLoop)

// kubeletPod is one that a real kubelet runs. Its main waits for the starter, and
// a part of a second longer; what it and its sidecar report is in the
// folder. Neither runs any other process than its shell.
func kubeletPod(name, node string, by stopper, starter string, pause time.Duration) *corev1.Pod {
	main, sidecar := kubeletContainer("main", mainScript(recordsFolder, name, starter, pause)), kubeletContainer("sidecar", sidecarScript(recordsFolder, name))
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels: map[string]string{benchKey: string(by)}, Annotations: map[string]string{},
		},
		Spec: corev1.PodSpec{
			NodeName:                      node,
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  new(false),
			TerminationGracePeriodSeconds: new(int64(10)),
			Containers:                    []corev1.Container{main, sidecar},
			Volumes: []corev1.Volume{{Name: "records", VolumeSource: corev1.VolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: recordsFolder, Type: new(corev1.HostPathDirectory)},
			}}},
		},
	}
	switch by {
	case byReaper, byLoop:
		p.Labels[api.Label] = "main"
	case byWebhook:
		p.Labels[api.Label], p.Labels[handlerLabel] = "main", string(webhookHandler)
		p.Annotations[api.ModeAnnotation] = string(api.ModeNative)
	case byKubelet:
		sidecar.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		p.Spec.InitContainers, p.Spec.Containers = []corev1.Container{sidecar}, []corev1.Container{main}
	}
	return p
}

func kubeletContainer(name, script string) corev1.Container {
	return corev1.Container{
		Name: name, Image: kube.Image, ImagePullPolicy: corev1.PullIfNotPresent,
		Command:      []string{"sh", "-c", script},
		VolumeMounts: []corev1.VolumeMount{{Name: "records", MountPath: recordsFolder}},
	}
}

const (
	recordsFolder = "/var/lib/bench" // on the node, and in its containers
	idlePipe      = "idle"           // nothing ever comes out of it
	mainMark      = ".main"
	sidecarMark   = ".sidecar"
)

// mainScript opens a pipe, which blocks until its other end is opened: that
// starts any number of mains in the same moment.
func mainScript(folder, name, starter string, pause time.Duration) string {
	return fmt.Sprintf(": <%s/%s; read -t %.3f x <>%s/%s; echo >>%s/%s%s", folder, starter, pause.Seconds(), folder, idlePipe, folder, name, mainMark)
}

func sidecarScript(folder, name string) string {
	return fmt.Sprintf("trap 'echo >>%s/%s%s; exit 143' TERM; while :; do read x <>%s/%s; done", folder, name, sidecarMark, folder, idlePipe)
}

// records is the folder as this program sees it. A container marks a moment by
// writing to a file of its own, and the moment is the time of that file: the
// kernel's clock, which no process has to be started to read.
type records struct{ folder string }

func newRecords(state string) (records, error) {
	r := records{filepath.Join(state, recordsFolder)}
	if err := os.RemoveAll(r.folder); err != nil { // an interrupted run's
		return r, err
	}
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return r, err
	}
	return r, r.pipe(idlePipe)
}

func (r records) remove() error { return os.RemoveAll(r.folder) }

func (r records) pipe(name string) error {
	if err := syscall.Mkfifo(filepath.Join(r.folder, name), 0o666); err != nil {
		return fmt.Errorf("making the pipe %s: %w", name, err)
	}
	return nil
}

// open releases every process that waits at the pipe, until it is closed.
func (r records) open(pipe string) (*os.File, error) {
	return os.OpenFile(filepath.Join(r.folder, pipe), os.O_RDWR, 0)
}

// elapsed is the time from the end of the pod's main to its sidecar's SIGTERM,
// once both are marked.
func (r records) elapsed(pod string) (took time.Duration, marked bool, err error) {
	var times [2]time.Time
	for i, mark := range []string{mainMark, sidecarMark} {
		info, err := os.Stat(filepath.Join(r.folder, pod+mark))
		if errors.Is(err, fs.ErrNotExist) && i == 0 {
			_, err = os.Stat(filepath.Join(r.folder, pod+sidecarMark))
			if err == nil {
				return 0, false, fmt.Errorf("the sidecar of %s was stopped before its main had ended", pod)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		times[i] = info.ModTime()
	}
	return times[1].Sub(times[0]), true, nil
}

// await returns the times of all pods, in milliseconds and in their order.
func (r records) await(ctx context.Context, pods []*corev1.Pod) ([]float64, error) {
	milliseconds := make([]float64, len(pods))
	next := 0
	err := kube.Await(ctx, 2*time.Minute, func(context.Context) (bool, string) {
		for ; next < len(pods); next++ {
			took, marked, err := r.elapsed(pods[next].Name)
			if err != nil || !marked {
				return false, fmt.Sprintf("%d of %d sidecars have got SIGTERM, not that of %s (%v)", next, len(pods), pods[next].Name, err)
			}
			milliseconds[next] = took.Seconds() * 1000
		}
		return true, ""
	})
	return milliseconds, err
}

// pauses are parts of a second, in random order: one in each of as many equal
// parts of it as there are pauses, so that few of them already meet the kubelet,
// which looks once a second, in all its states.
func pauses(count int) []time.Duration {
	list := make([]time.Duration, count)
	for i := range list {
		list[i] = time.Duration((float64(i) + rand.Float64()) / float64(count) * float64(time.Second))
	}
	rand.Shuffle(count, func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// kubeletNode is the name of the node whose kubelet answers: the status of one
// whose kubelet has been stopped may be old.
func (c *cluster) kubeletNode(ctx context.Context) (string, error) {
	nodes, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("listing nodes: %w", err)
	}
	for i := range nodes.Items {
		name := nodes.Items[i].Name
		if name == nodeName {
			continue
		}
		if err := c.CoreV1().RESTClient().Get().Resource("nodes").Name(name).SubResource("proxy").Suffix("healthz").Do(ctx).Error(); err != nil {
			return "", fmt.Errorf("the kubelet of node %s does not answer (go run ./test/cluster up starts all parts): %w", name, err)
		}
		return name, nil
	}
	return "", errors.New("the cluster has no node with a kubelet")
}

// run creates the pods and returns when their containers run. The pods are then
// as the API server has taken them.
func (c *cluster) run(ctx context.Context, pods []*corev1.Pod) error {
	err := each(writers, len(pods), func(i int) error {
		created, err := c.CoreV1().Pods(namespace).Create(ctx, pods[i], metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("creating a pod: %w", err)
		}
		created.DeepCopyInto(pods[i])
		if created.Labels[benchKey] != string(byLoop) {
			return nil
		}
		unlabel := fmt.Appendf(nil, `{"metadata":{"labels":{%q:null}}}`, api.Label)
		if _, err := c.CoreV1().Pods(namespace).Patch(ctx, created.Name, types.MergePatchType, unlabel, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("hiding a pod from the reaper: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return kube.Await(ctx, 3*time.Minute, func(ctx context.Context) (bool, string) {
		list, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		ready := 0
		for i := range list.Items {
			if podReady(&list.Items[i]) {
				ready++
			}
		}
		return ready >= len(pods), fmt.Sprintf("%d of %d pods run", ready, len(pods))
	})
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// end deletes what is left of the pods and waits until their kubelet has let
// them go.
func (c *cluster) end(ctx context.Context) error {
	soon := metav1.DeleteOptions{GracePeriodSeconds: new(int64(1))}
	if err := c.CoreV1().Pods(namespace).DeleteCollection(ctx, soon, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("deleting pods: %w", err)
	}
	return kube.Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		list, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err.Error()
		}
		return len(list.Items) == 0, fmt.Sprintf("%d pods are still there", len(list.Items))
	})
}
