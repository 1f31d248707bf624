package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/webhook"
)

// admission measures reviews of pods over TLS, on one connection as the API
// server has it, next to a handler of the same server that decodes the review,
// but not the pod in it, and allows everything.
func (b *bench) admission(ctx context.Context) (all []*figure, err error) {
	server := admissionServer()
	defer server.Close()
	for _, size := range b.sizes.PodSizes {
		body, err := reviewOf(size)
		if err != nil {
			return nil, err
		}
		reviews := max(b.sizes.Reviews*b.sizes.PodSizes[0]/size, 100*b.sizes.Reviewers)
		baseline := "handler that allows everything"
		rate := &figure{Row: "admission", Name: fmt.Sprintf("reviews of a pod of %d KiB", size>>10), Unit: "1/s", Baseline: baseline, Higher: true, Reach: new(0.8)}
		p99 := &figure{Row: "admission", Name: fmt.Sprintf("review of a pod of %d KiB, p99", size>>10), Unit: "ms", Baseline: baseline, Reach: new(1.25)}
		for i := range b.sizes.Rounds {
			var own, base reviewed
			err := b.inTurns(i, func(reaper bool) (err error) {
				if reaper {
					own, err = review(ctx, server, webhook.PodsPath, body, reviews, b.sizes.Reviewers)
				} else {
					base, err = review(ctx, server, allowPath, body, reviews, b.sizes.Reviewers)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			rate.add(own.perSecond, base.perSecond)
			p99.add(percentile(own.milliseconds, 99), percentile(base.milliseconds, 99))
		}
		b.say("admission of %d KiB, reviews/s of webhook and baseline: %v", size>>10, rate.Rounds)
		all = append(all, rate, p99)
	}
	return all, nil
}

// admissionServer has the handlers of the webhook and the one that allows
// everything.
func admissionServer() *httptest.Server {
	mux := http.NewServeMux()
	for path, handler := range webhook.NewHandlers(prometheus.NewRegistry(), essential.DefaultPolicies()) {
		mux.Handle(path, handler)
	}
	mux.HandleFunc(allowPath, allowAll)
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	return server
}

const allowPath = "/allow"

func allowAll(w http.ResponseWriter, r *http.Request) { allow(w, r, nil) }

// reviewOf is a request about a pod of the size, as the API server sends it:
// it grows by variables of its main container's environment.
func reviewOf(size int) ([]byte, error) {
	p := pod("import", true, true)
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	delete(p.Annotations, api.TrackedAnnotation)
	for i := 0; ; i++ {
		raw, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		missing := size - len(raw)
		if missing <= 0 {
			return reviewAround(p.Name, raw)
		}
		for j := range max(1, missing/200) {
			p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{Name: fmt.Sprintf("MORE_%d_%d", i, j), Value: strings.Repeat("v", 150)})
		}
	}
}

func reviewAround(name string, pod []byte) ([]byte, error) {
	return json.Marshal(&admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       "8b1f0f5e-5a5e-4c0f-9f39-0a6d0a3f3a11",
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: namespace, Name: name, Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: pod},
		},
	})
}

type reviewed struct {
	perSecond    float64
	milliseconds []float64
}

func review(ctx context.Context, server *httptest.Server, path string, body []byte, count, reviewers int) (r reviewed, err error) {
	client := server.Client()
	var mu sync.Mutex
	var group sync.WaitGroup
	start := time.Now()
	for range reviewers {
		group.Go(func() {
			for range count / reviewers {
				begin := time.Now()
				_, failure := post(ctx, client, server.URL+path, body)
				took := time.Since(begin)
				mu.Lock()
				r.milliseconds = append(r.milliseconds, took.Seconds()*1000)
				if failure != nil {
					err = failure
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	r.perSecond = float64(len(r.milliseconds)) / time.Since(start).Seconds()
	return r, err
}

// post returns the answer, which allows the pod.
func post(ctx context.Context, client *http.Client, url string, body []byte) (answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"allowed":true`)) {
		return nil, fmt.Errorf("%s: %s %s", url, response.Status, answer)
	}
	return answer, nil
}
