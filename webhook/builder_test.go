package webhook

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// podBuilder builds the JSON of a pod. It has fields that no API library knows,
// and a number that no Go type holds: both must survive every patch.
type podBuilder struct{ metadata, spec map[string]any }

func aPod(containers ...string) *podBuilder {
	return &podBuilder{
		metadata: map[string]any{"generateName": "job-", "futureField": []any{true}},
		spec: map[string]any{
			"containers":  named(containers),
			"futureField": map[string]any{"number": json.Number("123456789012345678901234567890.10")},
		},
	}
}

func (b *podBuilder) label(value string) *podBuilder {
	b.metadata["labels"] = map[string]any{"app": "report", essential.Label: value}
	return b
}

func (b *podBuilder) generateName(name string) *podBuilder {
	b.metadata["generateName"] = name
	return b
}

func (b *podBuilder) annotate(annotations map[string]string) *podBuilder {
	b.metadata["annotations"] = annotations
	return b
}

func (b *podBuilder) annotated(key, value string) *podBuilder {
	merged := map[string]string{key: value}
	if already, ok := b.metadata["annotations"].(map[string]string); ok {
		maps.Copy(merged, already)
	}
	return b.annotate(merged)
}

// elements gives the pod a field that nobody reads, of so many elements.
func (b *podBuilder) elements(n int) *podBuilder {
	b.spec["elements"] = make([]int, n)
	return b
}

func (b *podBuilder) deadline(seconds int) *podBuilder {
	b.spec["activeDeadlineSeconds"] = seconds
	return b
}

func (b *podBuilder) init(containers ...string) *podBuilder {
	b.spec["initContainers"] = named(containers)
	return b
}

func (b *podBuilder) json() string {
	return encode(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "futureField": "x", "metadata": b.metadata, "spec": b.spec,
	})
}

// template is the pod as a template of pods.
func (b *podBuilder) template() map[string]any {
	return map[string]any{"futureField": "x", "metadata": b.metadata, "spec": b.spec}
}

func named(names []string) []any {
	containers := make([]any, len(names))
	for i, name := range names {
		containers[i] = map[string]any{"name": name, "image": "example.com/" + name, "futureField": map[string]any{}}
	}
	return containers
}

// reviewBuilder builds the body of a request.
type reviewBuilder struct{ review, request map[string]any }

func aReview(p *podBuilder) *reviewBuilder {
	return reviewOf("", "v1", "pods", "Pod", p.json())
}

func reviewOf(group, version, resource, kind, object string) *reviewBuilder {
	request := map[string]any{
		"uid":       "0a3f2c51",
		"kind":      map[string]string{"group": group, "version": version, "kind": kind},
		"resource":  map[string]string{"group": group, "version": version, "resource": resource},
		"namespace": "reports",
		"operation": "CREATE",
		"userInfo":  map[string]any{"username": "somebody"},
		"object":    json.RawMessage(object),
		"oldObject": nil,
	}
	return &reviewBuilder{request: request, review: map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request,
	}}
}

// workload is a kind of workload as its users know it.
type workload struct{ group, resource, kind, path string }

// path is where the template of pods is.
var everyWorkload = []workload{
	{"batch", "jobs", "Job", "spec.template"},
	{"batch", "cronjobs", "CronJob", "spec.jobTemplate.spec.template"},
	{"apps", "deployments", "Deployment", "spec.template"},
	{"apps", "replicasets", "ReplicaSet", "spec.template"},
	{"apps", "statefulsets", "StatefulSet", "spec.template"},
	{"apps", "daemonsets", "DaemonSet", "spec.template"},
}

var aJob, aCronJob, aDeployment = everyWorkload[0], everyWorkload[1], everyWorkload[2]

// around is the JSON of such a workload with this template, without anything that
// deserves a warning. It has labels, annotations and, like the API server's, other
// fields of its own.
func (w workload) around(template any) string {
	return w.with(template, map[string]any{"podReplacementPolicy": "Failed"}, map[string]any{"name": "nightly", "labels": foreign, "annotations": foreign})
}

// foreign are keys that look like the contract's.
var foreign = map[string]string{"essential-containersx": "mian", "essential-containers.example.com/completion": "some"}

// with is the JSON of such a workload with these other fields in the object that
// holds the template, which of a Job are the Job's own, and this metadata.
func (w workload) with(template any, fields, metadata map[string]any) string {
	steps := strings.Split(w.path, ".")
	inner := map[string]any{steps[len(steps)-1]: template, "futureField": "x"}
	maps.Copy(inner, fields)
	for i := len(steps) - 2; i > 0; i-- {
		inner = map[string]any{steps[i]: inner, "futureField": "x"}
	}
	return encode(map[string]any{"apiVersion": w.group + "/v1", "kind": w.kind, "spec": inner, "metadata": metadata})
}

// creation is the review of the creation of such a workload.
func (w workload) creation(template *podBuilder) *reviewBuilder {
	return w.review(w.around(template.template()))
}

// update is the review of the update of such a workload.
func (w workload) update(from, to *podBuilder) *reviewBuilder {
	return w.creation(to).with("operation", "UPDATE").with("oldObject", json.RawMessage(w.around(from.template())))
}

func (w workload) review(object string) *reviewBuilder {
	return reviewOf(w.group, "v1", w.resource, w.kind, object)
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

func (b *reviewBuilder) body() string { return encode(b.review) }

// test is what helpers need of a test, a property's too.
type test interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func encode(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func decodePod(t test, text string) *object {
	t.Helper()
	var p object
	if err := utiljson.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	p.body = []byte(`{"request":{"object":` + text + `}}`)
	return &p
}

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

// apply returns the pod after the patch.
func apply(t test, pod, patch string) string {
	t.Helper()
	decoded, err := jsonpatch.DecodePatch([]byte(patch))
	if err != nil {
		t.Fatalf("decoding patch %s: %v", patch, err)
	}
	patched, err := decoded.Apply([]byte(pod))
	if err != nil {
		t.Fatalf("applying %s to %s: %v", patch, pod, err)
	}
	return string(patched)
}

// tree decodes a document so that numbers stay what they are.
func tree(t test, text string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var out map[string]any
	if err := decoder.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
