package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/webhook"
)

// spoiler makes a bad body of a good one.
type spoiler struct {
	name  string
	spoil func(r *rand.Rand, good []byte) []byte
}

// spoilers are all ways; `make fuzz` looks for more of them.
var spoilers = []spoiler{
	{"truncated", func(r *rand.Rand, good []byte) []byte { return good[:r.IntN(len(good))] }},
	{"bytes changed", func(r *rand.Rand, good []byte) []byte {
		bad := bytes.Clone(good)
		for range 1 + r.IntN(8) {
			bad[r.IntN(len(bad))] = byte(r.IntN(256))
		}
		return bad
	}},
	{"a piece repeated", func(r *rand.Rand, good []byte) []byte {
		from := r.IntN(len(good))
		to := from + r.IntN(len(good)-from)
		return bytes.Join([][]byte{good[:to], good[from:]}, nil)
	}},
	{"a value of another type", func(r *rand.Rand, good []byte) []byte {
		values := []string{"null", "-1", "1e999", "true", "[]", "{}", `"x"`, `[[{"a":[null]}]]`}
		colons := bytes.Count(good, []byte(`":`))
		parts := bytes.SplitAfterN(good, []byte(`":`), 1+1+r.IntN(colons))
		last := parts[len(parts)-1]
		parts[len(parts)-1] = append([]byte(values[r.IntN(len(values))]+","), last...)
		return bytes.Join(parts, nil)
	}},
	{"random bytes", func(r *rand.Rand, _ []byte) []byte {
		bad := make([]byte, r.IntN(4096))
		for i := range bad {
			bad[i] = byte(r.IntN(256))
		}
		return bad
	}},
	{"deeply nested", func(r *rand.Rand, _ []byte) []byte {
		return []byte(`{"request":{"object":` + strings.Repeat([]string{"[", `{"metadata":`}[r.IntN(2)], 1+r.IntN(20000)))
	}},
	{"a long label", func(r *rand.Rand, good []byte) []byte {
		return bytes.Replace(good, []byte(`:"main"`), []byte(`:"`+strings.Repeat("main_", 1+r.IntN(20000))+`"`), 1)
	}},
}

// tooLarge is a body above the webhook's limit. It comes once in a while: it is
// work for whoever makes it too.
const (
	tooLarge      = 6<<20 + 1
	tooLargeOneIn = 300
)

// goodReview is one that the webhook admits, or decides about, at the path.
func goodReview(path string) []byte {
	var is, was runtime.RawExtension
	operation, subresource := admissionv1.Create, ""
	o := pod(&work{name: "bad-1"}, optedIn, template(&work{name: "bad-1"}, "true", "true"))
	if path == webhook.StatusesPath {
		o.Annotations = map[string]string{api.TrackedAnnotation: "main"}
		operation, subresource, was.Raw = admissionv1.Update, "status", encode(o)
		o.Status.Phase = corev1.PodFailed
		o.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	}
	is.Raw = encode(o)
	return encode(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "1", Operation: operation, Namespace: optedIn, Name: "bad-1",
			Kind:     metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, SubResource: subresource,
			Object: is, OldObject: was,
		},
	})
}

func encode(object any) []byte {
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return text
}

// badBody draws the next body.
func badBody(r *rand.Rand, good []byte) []byte {
	if r.IntN(tooLargeOneIn) == 0 {
		return bytes.Repeat([]byte(" "), tooLarge)
	}
	return spoilers[r.IntN(len(spoilers))].spoil(r, good)
}

// answers are what bad bodies got.
type answers struct {
	tried    int
	classes  map[int]int // by the hundreds of their status; 0: none, while a webhook was away
	failures []string    // with 5xx
}

func (a *answers) add(code int, body []byte) {
	a.tried++
	a.classes[code/100]++
	if code/100 == 5 {
		a.failures = append(a.failures, fmt.Sprintf("%d to %.200q", code, body))
	}
}

// badInput sends bad bodies to the webhooks.
type badInput struct {
	cluster *kube.Cluster
	answers // to be read when run has ended
}

// paths are all that the webhooks answer on.
var paths = []string{webhook.PodsPath, webhook.StatusesPath, webhook.WorkloadsPath}

// run sends them one by one until ctx ends, to one pod after the other.
func (b *badInput) run(ctx context.Context, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 4))
	asking := &http.Client{Transport: &http.Transport{}} // until the API server says where the webhooks are: asks nobody
	defer func() { asking.CloseIdleConnections() }()
	for n := 0; ctx.Err() == nil; n++ {
		path := paths[r.IntN(len(paths))]
		body := badBody(r, goodReview(path))
		if n%100 == 0 { // replicas come and go
			if c, err := webhookClient(ctx, b.cluster); err == nil {
				asking.CloseIdleConnections()
				asking = c
			}
		}
		if code := send(ctx, asking, path, body); ctx.Err() == nil {
			b.add(code, body)
		}
		wait(ctx, 30*time.Millisecond)
	}
}

// webhookClient connects to the webhooks' pods in turn, whatever host it is asked for.
func webhookClient(ctx context.Context, cluster *kube.Cluster) (*http.Client, error) {
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := cluster.Get(ctx, client.ObjectKey{Name: kube.WebhookConfiguration}, &configuration); err != nil {
		return nil, err
	}
	pods, err := cluster.Components(ctx, "webhook")
	if err != nil || len(pods) == 0 {
		return nil, fmt.Errorf("listing the webhook's pods: %d, %w", len(pods), err)
	}
	config := configuration.Webhooks[0].ClientConfig
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.CABundle)
	next := 0
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		next++
		return cluster.Dial(ctx, network, net.JoinHostPort(pods[next%len(pods)].Status.PodIP, "9443"))
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: config.Service.Name + "." + config.Service.Namespace + ".svc"}}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}

// send returns the status of the answer; 0: there was none.
func send(ctx context.Context, asking *http.Client, path string, body []byte) (code int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://webhook"+path, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := asking.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
