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

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// stopTooEarly stops pods of the kind "delayed" while their main runs, if the
// reaper is to be broken.
func stopTooEarly(ctx context.Context, clientset kubernetes.Interface) {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if ordered("broken") == "" {
			return
		}
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
	}, 500*time.Millisecond)
}

func runs(pod *corev1.Pod, container string) bool {
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Running != nil
		}
	}
	return false
}

// breaker changes the reaper's requests, by the kind of work that they are about.
type breaker struct {
	mu     sync.Mutex
	seen   map[string]bool
	leaked []any
}

func (b *breaker) roundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPatch || path.Base(path.Dir(r.URL.Path)) != "pods" || ordered("broken") == "" {
		return next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	pod, method, target := path.Base(r.URL.Path), r.Method, r.URL.Path
	stop := bytes.Contains(body, []byte("activeDeadlineSeconds"))
	if stop && b.first(pod) {
		b.leak()
	}
	switch kind, _, _ := strings.Cut(pod, "-"); {
	case !stop:
	case kind == "bare": // nothing is sent
		return respond(r, http.StatusOK, fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q}}`, pod)), nil
	case kind == "plain" && b.first("Job "+pod[:strings.LastIndex(pod, "-")]): // deleted in place of the stop
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
	return next.RoundTrip(r)
}

// first reports whether it is called with the key for the first time.
func (b *breaker) first(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.seen[key]
	b.seen[key] = true
	return !was
}

// leak keeps a goroutine, a file and 1 MiB, once for each pod that is stopped.
func (b *breaker) leak() {
	go func() { select {} }()
	file := must(os.Open(os.DevNull))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leaked = append(b.leaked, file, bytes.Repeat([]byte{1}, 1<<20))
}
