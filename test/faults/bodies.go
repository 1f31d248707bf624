package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/webhook"
)

// paths are all that the webhooks answer on.
var paths = []string{webhook.PodsPath, webhook.StatusesPath, webhook.WorkloadsPath}

// goodReview is one that the webhook admits, or decides about, at the path.
func goodReview(path string) []byte {
	const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","namespace":"` + optedIn + `","name":"bad-1",` +
		`"kind":{"version":"v1","kind":"Pod"},"resource":{"version":"v1","resource":"pods"},"operation":%q,"subResource":%q,"object":%s,"oldObject":%s}}`
	pod := kube.Pod(optedIn, "bad-1", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("true"), kube.Sidecar("sidecar")))
	if path != webhook.StatusesPath {
		return fmt.Appendf(nil, review, "CREATE", "", encode(pod), "null")
	}
	pod.Annotations = map[string]string{api.TrackedAnnotation: "main"}
	was := encode(pod)
	pod.Status.Phase = corev1.PodFailed
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	return fmt.Appendf(nil, review, "UPDATE", "status", encode(pod), was)
}

func encode(object any) []byte {
	text, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return text
}

// corruptions make a bad body of a good one; `make fuzz` looks for more of them.
var corruptions = map[string]func(r *rand.Rand, good []byte) []byte{
	"truncated": func(r *rand.Rand, good []byte) []byte { return good[:r.IntN(len(good))] },
	"bytes changed": func(r *rand.Rand, good []byte) []byte {
		bad := bytes.Clone(good)
		for range 1 + r.IntN(8) {
			bad[r.IntN(len(bad))] = byte(r.IntN(256))
		}
		return bad
	},
	"a value of another type": func(r *rand.Rand, good []byte) []byte {
		values := []string{"null", "-1", "1e999", "true", "[]", "{}", `"x"`, `[[{"a":[null]}]]`}
		parts := bytes.SplitAfterN(good, []byte(`":`), 2+r.IntN(bytes.Count(good, []byte(`":`))))
		return bytes.Join([][]byte{bytes.Join(parts[:len(parts)-1], nil), []byte(values[r.IntN(len(values))] + ","), parts[len(parts)-1]}, nil)
	},
	"deeply nested": func(r *rand.Rand, _ []byte) []byte {
		return []byte(`{"request":{"object":` + strings.Repeat([]string{"[", `{"metadata":`}[r.IntN(2)], 1+r.IntN(20000)))
	},
	"a long label": func(r *rand.Rand, good []byte) []byte {
		return bytes.Replace(good, []byte(`:"main"`), []byte(`:"`+strings.Repeat("main_", 1+r.IntN(20000))+`"`), 1)
	},
}

// badBody draws the next body. One above the webhook's limit is rare, because it costs
// the sender as much.
func badBody(r *rand.Rand, good []byte) []byte {
	if r.IntN(300) == 0 {
		return bytes.Repeat([]byte(" "), 6<<20+1)
	}
	names := slices.Sorted(maps.Keys(corruptions))
	return corruptions[names[r.IntN(len(names))]](r, good)
}

// hostileBodies are good reviews that need as much memory as they can: with empty
// objects, annotations, short strings, and one long string.
func hostileBodies() (bodies [][]byte) {
	const most, ordinary = 3<<20 - 8<<10, 50 << 10
	for _, size := range []int{8 << 20, most, ordinary} {
		for _, b := range []struct{ path, before, element string }{
			{webhook.PodsPath, `"containers":[`, `{},`},
			{webhook.StatusesPath, `"containerStatuses":[`, `{},`},
			{webhook.StatusesPath, `"name":"bad-1`, `x`},
			{webhook.PodsPath, `"labels":{`, `"a%d":"",`},
		} {
			text := []byte(b.before)
			for i := 0; len(text) < size; i++ {
				text = append(text, strings.ReplaceAll(b.element, "%d", fmt.Sprint(i))...)
			}
			bodies = append(bodies, bytes.Replace(goodReview(b.path), []byte(b.before), text, 1))
		}
	}
	return bodies
}

// answers are what bodies got.
type answers struct {
	codes    map[int]int // 503: there were too many; 0: no answer, while a replica was away
	failures []string    // with another 5xx
}

func (a *answers) add(code int, body []byte) {
	if a.codes == nil {
		a.codes = map[int]int{}
	}
	a.codes[code]++
	if code >= 500 && code != http.StatusServiceUnavailable {
		a.failures = append(a.failures, fmt.Sprintf("%d to %.200q", code, body))
	}
}

// sendBad sends bad bodies to the webhooks until ctx ends.
func (t *trial) sendBad(ctx context.Context) {
	r, connection := rand.New(rand.NewPCG(t.seed, 4)), new(http.Client)
	defer func() { connection.CloseIdleConnections() }()
	for n := 0; ctx.Err() == nil; n++ {
		if n%100 == 0 { // replicas come and go
			if c, err := t.webhookClient(ctx); err == nil {
				connection.CloseIdleConnections()
				connection = c
			}
		}
		path := paths[r.IntN(len(paths))]
		body := badBody(r, goodReview(path))
		if code := send(ctx, connection, path, body); ctx.Err() == nil {
			t.bad.add(code, body)
		}
		wait(ctx, 30*time.Millisecond)
	}
}

// webhookClient connects to the webhooks' pods in turn, for any host.
func (t *trial) webhookClient(ctx context.Context) (*http.Client, error) {
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := t.Get(ctx, client.ObjectKey{Name: kube.WebhookConfiguration}, &configuration); err != nil {
		return nil, err
	}
	pods, err := t.Components(ctx, "webhook")
	if err != nil || len(pods) == 0 {
		return nil, fmt.Errorf("listing the webhook's pods: %d, %w", len(pods), err)
	}
	config, next, roots := configuration.Webhooks[0].ClientConfig, 0, x509.NewCertPool()
	roots.AppendCertsFromPEM(config.CABundle)
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: config.Service.Name + "." + config.Service.Namespace + ".svc"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			next++
			return t.Dial(ctx, network, net.JoinHostPort(pods[next%len(pods)].Status.PodIP, "9443"))
		},
	}}, nil
}

// send returns the status of the answer; 0: there was none.
func send(ctx context.Context, connection *http.Client, path string, body []byte) (code int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://webhook"+path, bytes.NewReader(body))
	if err != nil {
		return 0
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := connection.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// flood sends hostile bodies to the webhooks while the action lasts, 50 at a time, and
// creates labelled pods one after the other.
func flood(during action) action {
	return func(ctx context.Context, t *trial, r *rand.Rand) error {
		flooding, cancel := context.WithCancel(ctx)
		defer cancel()
		bodies := hostileBodies()
		var sending sync.WaitGroup
		var mu sync.Mutex
		for i := range 50 {
			connection, err := t.webhookClient(ctx)
			if err != nil {
				return err
			}
			sending.Go(func() {
				defer connection.CloseIdleConnections()
				for n := i; flooding.Err() == nil; n++ {
					body := bodies[n%len(bodies)]
					code := send(flooding, connection, paths[n%len(paths)], body)
					mu.Lock()
					if flooding.Err() == nil {
						t.hostile.add(code, body)
					}
					mu.Unlock()
				}
			})
		}
		sending.Go(func() { t.probe(flooding) })
		err := during(ctx, t, r)
		cancel()
		sending.Wait()
		return err
	}
}

// probes are labelled pods that were created, as a dry run.
type probes struct {
	admitted int
	refused  []string
}

// probe creates labelled pods until ctx ends.
func (t *trial) probe(ctx context.Context) {
	for ; ctx.Err() == nil; wait(ctx, 200*time.Millisecond) {
		p := kube.Pod(optedIn, "probe", kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("true"), kube.Sidecar("sidecar")))
		switch err := t.Create(ctx, p, client.DryRunAll); {
		case ctx.Err() != nil:
		case err != nil:
			t.probes.refused = append(t.probes.refused, err.Error())
		case !essential.IsTracked(p):
			t.probes.refused = append(t.probes.refused, "admitted untracked")
		default:
			t.probes.admitted++
		}
	}
}
