//go:build broken

// Command broken is the reaper, broken on purpose: `make faults` runs it in the
// reaper's place, and finds what it does. See breakages in ../breakages.go.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/reaper"
)

func main() {
	var options reaper.Options
	command.Main("broken", command.New("reaper", "A reaper that is broken on purpose.", &options, func(ctx context.Context) error {
		restConfig, err := config.GetConfig()
		if err != nil {
			return err
		}
		clientset, err := kubernetes.NewForConfig(restConfig)
		if err != nil {
			return err
		}
		go wait.UntilWithContext(ctx, func(ctx context.Context) { stopTooEarly(ctx, clientset) }, 500*time.Millisecond)
		restConfig.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return &breaker{next: next, deleted: map[string]bool{}}
		})
		return reaper.Run(ctx, restConfig, options)
	}))
}

// stopTooEarly stops pods of the kind "delayed" while their main runs.
func stopTooEarly(ctx context.Context, clientset kubernetes.Interface) {
	pods, err := clientset.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "work"})
	if err != nil {
		return // until the next time
	}
	for _, p := range pods.Items {
		if strings.HasPrefix(p.Name, "delayed-") && p.Status.Phase == corev1.PodRunning && runs(&p, "main") {
			stop := essential.Record{At: time.Now(), Phase: corev1.PodSucceeded, Because: "it is broken"}
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}},"spec":{"activeDeadlineSeconds":1}}`, api.StoppedAnnotation, stop)
			_, _ = clientset.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
	}
}

func runs(pod *corev1.Pod, container string) bool {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Running != nil
		}
	}
	return false
}

// breaker spoils the reaper's requests.
type breaker struct {
	next http.RoundTripper

	mu      sync.Mutex
	deleted map[string]bool // Jobs of which a pod was deleted
	leaked  []any
}

func (b *breaker) RoundTrip(r *http.Request) (*http.Response, error) {
	b.leak()
	if r.Method != http.MethodPatch || path.Base(path.Dir(r.URL.Path)) != "pods" {
		return b.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	pod, method, target := path.Base(r.URL.Path), r.Method, r.URL.Path
	switch kind, _, _ := strings.Cut(pod, "-"); {
	case !bytes.Contains(body, []byte("activeDeadlineSeconds")): // no stop
	case kind == "bare": // nothing is sent
		answer := fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q}}`, pod)
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(answer)), ContentLength: int64(len(answer)),
		}, nil
	case kind == "plain" && b.first(pod[:strings.LastIndex(pod, "-")]): // deleted in place of the stop
		method, body = http.MethodDelete, nil
	case kind == "failing": // a failure is recorded as a completion
		body = bytes.Replace(body, []byte(" Failed: "), []byte(" Succeeded: "), 1)
	case kind == "holding": // the phase is written in place of the stop
		// The kubelet ends the containers of such a pod when more than the status has changed.
		target, body = target+"/status", []byte(`{"metadata":{"annotations":{"broken":"true"}},"status":{"phase":"Succeeded"}}`)
	}
	r = r.Clone(r.Context())
	r.Method, r.URL.Path, r.GetBody = method, target, nil
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return b.next.RoundTrip(r)
}

func (b *breaker) first(job string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.deleted[job]
	b.deleted[job] = true
	return !was
}

// leak keeps something of everything for each request, within what the pod's
// limit of memory leaves alive.
func (b *breaker) leak() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.leaked) > 50 {
		return
	}
	for range 5 {
		go func() { select {} }()
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		panic(err)
	}
	b.leaked = append(b.leaked, [2]any{file, bytes.Repeat([]byte{1}, 2<<20)})
}
