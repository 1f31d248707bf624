package webhook

import (
	"encoding/json"
	"maps"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
)

// labelled is a pod with a right label.
func labelled() *manifest.PodBuilder { return manifest.Pod("main", "proxy").Label("main") }

// nativeByDefault is what an operator prefers.
func nativeByDefault() essential.Policies {
	p := essential.DefaultPolicies()
	p.Mode = api.ModeNative
	return p
}

// reviewBuilder builds the body of a request.
type reviewBuilder struct{ review, request map[string]any }

// aReview is the review of the creation of a pod.
func aReview(p *manifest.PodBuilder) *reviewBuilder {
	return reviewOf("", "v1", "pods", "Pod", p.JSON())
}

func reviewOf(group, version, resource, kind, object string) *reviewBuilder {
	request := map[string]any{
		"uid":       "0a3f2c51",
		"kind":      map[string]string{"group": group, "version": version, "kind": kind},
		"resource":  map[string]string{"group": group, "version": version, "resource": resource},
		"namespace": "reports",
		"operation": "CREATE",
		"userInfo":  map[string]any{"username": "jane"},
		"object":    json.RawMessage(object),
		"oldObject": nil,
	}
	return &reviewBuilder{request: request, review: map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
	}}
}

// creation is the review of the creation of such a workload.
func creation(w manifest.Workload, template *manifest.PodBuilder) *reviewBuilder {
	return reviewOf(w.Group, "v1", w.Resource, w.Kind, w.Around(template.Template()))
}

// update is the review of the update of such a workload.
func update(w manifest.Workload, from, to *manifest.PodBuilder) *reviewBuilder {
	return creation(w, to).with("operation", "UPDATE").with("oldObject", json.RawMessage(w.Around(from.Template())))
}

func (b *reviewBuilder) with(key string, value any) *reviewBuilder {
	b.request[key] = value
	return b
}

func (b *reviewBuilder) withTop(key string, value any) *reviewBuilder {
	b.review[key] = value
	return b
}

func (b *reviewBuilder) clone() *reviewBuilder {
	clone := &reviewBuilder{review: maps.Clone(b.review), request: maps.Clone(b.request)}
	return clone.withTop("request", clone.request)
}

func (b *reviewBuilder) body() string { return manifest.Encode(b.review) }

func decodeResponse(t testing.TB, body []byte) *admissionv1.AdmissionResponse {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := utiljson.Unmarshal(body, &review); err != nil {
		t.Fatalf("the answer %q is no AdmissionReview: %v", body, err)
	}
	if review.TypeMeta != reviewType || review.Response == nil {
		t.Fatalf("the answer %q is no AdmissionReview v1 with a response", body)
	}
	return review.Response
}
