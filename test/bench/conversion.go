package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/webhook"
)

// conversion measures what it costs at admission that sidecars become native
// ones, compared with the tracking annotation alone for the same pod in mode Reap: the
// review itself, and the creation at the API server, which applies the patch.
func (b *bench) conversion(ctx context.Context) (figures []*figure, err error) {
	server := admissionServer()
	defer server.Close()
	stop, err := b.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer afterwards(ctx, &err, stop, b.cluster.clear)
	for _, sidecars := range b.sizes.Sidecars {
		f := func(what, unit string) *figure {
			return &figure{Row: "conversion", Name: fmt.Sprintf(what, sidecars), Unit: unit, Baseline: "the same pod in mode Reap"}
		}
		rate, p99 := f("reviews of a pod, sidecars to convert: %d", "1/s"), f("review of a pod, sidecars to convert: %d, p99", "ms")
		creation := f("creation of a pod, sidecars to convert: %d, p50", "ms")
		rate.Higher = true
		if err := b.clear(ctx); err != nil {
			return nil, err
		}
		for i := range b.sizes.Rounds {
			took := map[api.Mode]reviewed{}
			err := b.inTurns(i, func(own bool) (err error) {
				mode := api.ModeReap
				if own {
					mode = api.ModeNative
				}
				took[mode], err = b.reviewMode(ctx, server, mode, sidecars)
				return err
			})
			if err != nil {
				return nil, err
			}
			created, err := b.createModes(ctx, i, sidecars)
			if err != nil {
				return nil, err
			}
			own, base := took[api.ModeNative], took[api.ModeReap]
			rate.add(own.perSecond, base.perSecond)
			p99.add(percentile(own.milliseconds, 99), percentile(base.milliseconds, 99))
			creation.add(median(created[api.ModeNative]), median(created[api.ModeReap]))
		}
		b.say("conversion of %d sidecars, compared with mode Reap: reviews/s %v, p99 %v ms, creation p50 %v ms", sidecars, rate.Rounds, p99.Rounds, creation.Rounds)
		figures = append(figures, rate, p99, creation)
	}
	return figures, nil
}

// modePod is one that no webhook has seen, with a main container and sidecars.
func modePod(name string, mode api.Mode, sidecars int) *corev1.Pod {
	p := labelledPod(name, webhookHandler)
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.Annotations[api.ModeAnnotation] = string(mode)
	p.Spec.Containers = []corev1.Container{container("main")}
	for i := range sidecars {
		p.Spec.Containers = append(p.Spec.Containers, container(fmt.Sprintf("sidecar-%d", i)))
	}
	return p
}

// toConvert is how many of its sidecars the webhook has to make native.
func toConvert(mode api.Mode, sidecars int) int {
	if mode == api.ModeNative {
		return sidecars
	}
	return 0
}

func (b *bench) reviewMode(ctx context.Context, server *httptest.Server, mode api.Mode, sidecars int) (r reviewed, err error) {
	raw, err := json.Marshal(modePod("import", mode, sidecars))
	if err != nil {
		return r, err
	}
	body, err := reviewAround("import", raw)
	if err != nil {
		return r, err
	}
	answer, err := post(ctx, server.Client(), server.URL+webhook.PodsPath, body)
	if err != nil {
		return r, err
	}
	if err := checkPatch(answer, toConvert(mode, sidecars)); err != nil {
		return r, fmt.Errorf("mode %s: %w", mode, err)
	}
	reviews := max(b.sizes.Reviews*b.sizes.PodSizes[0]/len(body), 100*b.sizes.Reviewers)
	return review(ctx, server, webhook.PodsPath, body, reviews, b.sizes.Reviewers)
}

// checkPatch fails unless the answer has a patch that converts so many containers:
// what is not done is not measured.
func checkPatch(answer []byte, sidecars int) error {
	patch, err := patchOf(answer)
	if err != nil {
		return err
	}
	var operations []struct{ Op, Path string }
	if err := json.Unmarshal(patch, &operations); err != nil {
		return fmt.Errorf("reading the webhook's patch: %w", err)
	}
	converted := 0
	for _, o := range operations {
		if o.Op == "add" && o.Path == "/spec/initContainers/-" {
			converted++
		}
	}
	if converted != sidecars {
		return fmt.Errorf("the webhook has converted %d containers, not %d", converted, sidecars)
	}
	return nil
}

func patchOf(answer []byte) ([]byte, error) {
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return nil, fmt.Errorf("reading the webhook's answer: %w", err)
	}
	return review.Response.Patch, nil
}

// createModes returns milliseconds of the pods of each mode, which take turns
// every few.
func (b *bench) createModes(ctx context.Context, round, sidecars int) (milliseconds map[api.Mode][]float64, err error) {
	milliseconds = map[api.Mode][]float64{}
	modes := []api.Mode{api.ModeNative, api.ModeReap}
	for turn := range max(1, b.sizes.Converted/batch) {
		for i := range modes {
			mode := modes[(round+turn+i)%len(modes)]
			for n := range batch {
				name := strings.ToLower(fmt.Sprintf("%s-%d-%d-%d", mode, round, turn, n))
				created, took, err := b.cluster.timed(ctx, modePod(name, mode, sidecars))
				if err != nil {
					return nil, err
				}
				if got := len(created.Spec.InitContainers); got != toConvert(mode, sidecars) || !essential.IsTracked(created) {
					return nil, fmt.Errorf("the API server has taken pod %s with %d native sidecars, not %d; tracked: %t",
						name, got, toConvert(mode, sidecars), essential.IsTracked(created))
				}
				milliseconds[mode] = append(milliseconds[mode], took.Seconds()*1000)
			}
		}
	}
	return milliseconds, nil
}
