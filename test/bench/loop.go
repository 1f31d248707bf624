package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// workers is the parallelism of the bare loop: the reaper's default.
const workers = 16

// bareLoop is what the reaper is measured against: the least that stops and
// deletes pods in the same two requests. One list, one watch, a channel, and
// workers. No queue, no cache, no policy, no second try, no event, no metric.
func bareLoop(ctx context.Context, args []string) error {
	flags, kubeconfig, health, _ := contenderFlags(loopCommand)
	selector := flags.String("selector", api.Label, "which pods to stop, by their labels")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	clients, err := newClients(config)
	if err != nil {
		return err
	}
	pods := make(chan *corev1.Pod, 1<<17)
	for range workers {
		go func() {
			for p := range pods {
				if err := handle(ctx, clients, p); err != nil && !apierrors.IsNotFound(err) {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}()
	}
	list, err := clients.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: *selector})
	if err != nil {
		return err
	}
	for i := range list.Items {
		pods <- &list.Items[i]
	}
	watcher, err := watchPods(ctx, clients, metav1.NamespaceAll, *selector, list.ResourceVersion)
	if err != nil {
		return err
	}
	go serveReady(*health)
	for event := range watcher.ResultChan() {
		if p, ok := event.Object.(*corev1.Pod); ok && event.Type != watch.Deleted {
			pods <- p
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("the watch ended")
}

func handle(ctx context.Context, clients kubernetes.Interface, p *corev1.Pod) error {
	switch {
	case p.Status.Phase == corev1.PodRunning && isCompleted(p) && !essential.IsStopped(p):
		body, err := stopPatch(p, time.Now())
		if err != nil {
			return err
		}
		_, err = clients.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, body, metav1.PatchOptions{})
		return err
	case p.Status.Phase == corev1.PodSucceeded && p.DeletionTimestamp == nil:
		return clients.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
	}
	return nil
}

// stopPatch is what the reaper writes: the API server has the same work.
func stopPatch(p *corev1.Pod, now time.Time) ([]byte, error) {
	record := essential.Record{At: now, Phase: corev1.PodSucceeded, Because: essential.End{Container: "main"}.String()}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid": p.UID, "resourceVersion": p.ResourceVersion,
			"annotations": map[string]string{api.StoppedAnnotation: record.String()},
		},
		"spec": map[string]any{"activeDeadlineSeconds": 1},
	})
}

// contenderFlags are those that all contenders have in common.
func contenderFlags(name string) (flags *flag.FlagSet, kubeconfig, health, metrics *string) {
	flags = flag.NewFlagSet(name, flag.ContinueOnError)
	return flags, flags.String("kubeconfig", "", "how to reach the cluster"),
		flags.String("health-probe-bind-address", "", "where /readyz is served"),
		flags.String("metrics-bind-address", "", "where /metrics is served")
}

func serveReady(address string) {
	server := http.Server{Addr: address, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
}
