package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
	"github.com/essential-containers/essential-containers/webhook"
)

// flood is what hostile bodies got, and labelled pods while these were sent.
type flood struct {
	answers
	busy     int // bodies that were refused because there were too many
	admitted int
	refused  []string
}

func (f *flood) add(code int, body []byte) {
	if code == http.StatusServiceUnavailable {
		f.busy++
		return
	}
	f.answers.add(code, body)
}

// senders is how many hostile bodies are sent at a time.
const senders = 50

// hostileBodies are good reviews that become as much memory as they can: of empty
// objects, of annotations, of short strings, and of one long string.
func hostileBodies() (bodies [][]byte) {
	grow := func(path, old, element string, size int) {
		good := goodReview(path)
		bodies = append(bodies, bytes.Replace(good, []byte(old), []byte(old+strings.Repeat(element, size/len(element))), 1))
	}
	annotations := func(size int) []byte {
		var all strings.Builder
		for i := 0; all.Len() < size; i++ {
			fmt.Fprintf(&all, `"a%d":"",`, i)
		}
		return bytes.Replace(goodReview(webhook.PodsPath), []byte(`"labels":{`), []byte(`"annotations":{`+all.String()+`"z":""},"labels":{`), 1)
	}
	const most, ordinary = 3<<20 - 8<<10, 50 << 10
	for _, size := range []int{8 << 20, most, ordinary} {
		grow(webhook.PodsPath, `"containers":[`, `{},`, size)
		grow(webhook.StatusesPath, `"containerStatuses":[`, `{},`, size)
		grow(webhook.StatusesPath, `"name":"bad-1`, `x`, size)
		bodies = append(bodies, annotations(size))
	}
	return bodies
}

// flooded sends hostile bodies to the webhooks, many at a time, for so long, while
// labelled pods are created one after the other.
func (w *world) flooded(ctx context.Context, r *rand.Rand, from, to float64) error {
	bodies := hostileBodies()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sending sync.WaitGroup
	var mu sync.Mutex
	for i := range senders {
		asking, err := webhookClient(ctx, w.cluster)
		if err != nil {
			return err
		}
		sending.Go(func() {
			defer asking.CloseIdleConnections()
			for n := i; ctx.Err() == nil; n++ {
				body := bodies[n%len(bodies)]
				code := send(ctx, asking, paths[n%len(paths)], body)
				mu.Lock()
				if ctx.Err() == nil {
					w.flood.add(code, body)
				}
				mu.Unlock()
			}
		})
	}
	until := time.Now().Add(time.Duration((from + r.Float64()*(to-from)) * float64(time.Second)))
	for time.Now().Before(until) && ctx.Err() == nil {
		w.tryAdmission(ctx)
		wait(ctx, 200*time.Millisecond)
	}
	cancel()
	sending.Wait()
	return nil
}

// tryAdmission creates a labelled pod, without a trace.
func (w *world) tryAdmission(ctx context.Context) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: optedIn, Name: "flooded"}}
	template := kube.Template(corev1.RestartPolicyNever, new("main"), kube.Main("true"), kube.Sidecar("sidecar"))
	p.Labels, p.Spec = template.Labels, template.Spec
	err := w.cluster.Create(ctx, p, client.DryRunAll)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.flood.refused = append(w.flood.refused, err.Error())
	case !essential.IsTracked(p):
		w.flood.refused = append(w.flood.refused, "admitted untracked")
	default:
		w.flood.admitted++
	}
}
