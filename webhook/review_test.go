package webhook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/test/manifest"
)

// secret is in every bad body, and must not be in a log or an answer.
const secret = "s3cr3t"

// A refusal is checked on the path of pods, on that of workloads, or on both.
func TestHandlerRefusesWhatIsNoReviewOfItsPathsObjects(t *testing.T) {
	pod := labelled()
	good := map[string]*reviewBuilder{PodsPath: aReview(pod), WorkloadsPath: creation(manifest.CronJob, pod)}
	server, logs := serveHandlers(t)
	tooMany := fmt.Sprintf("the body must not have more than %d elements, nor more than %d levels", maxElements, maxDepth)
	type refusalTest struct {
		method      string // default POST
		contentType string // default application/json; "-": none
		body        string
		status      int
		text        string // its beginning
	}
	resources := map[string]string{PodsPath: "pods", WorkloadsPath: "workloads"}
	check := func(path string, tt refusalTest) func(*testing.T) {
		return func(t *testing.T) {
			counts, logged := server.counts(t), logs.len()
			contentType := strings.TrimPrefix(cmp.Or(tt.contentType, "application/json"), "-")
			status, text := server.send(t, path, cmp.Or(tt.method, http.MethodPost), contentType, tt.body)
			if status != tt.status || !strings.HasPrefix(text, tt.text) {
				t.Errorf("got %d %.400q, want %d %q", status, text, tt.status, tt.text)
			}
			if lines := strings.Count(text, "\n"); lines != 1 || len(text) > 2*maxText || strings.Contains(text, secret) {
				t.Errorf("the answer is no short line without the body: %d lines, %d bytes: %.200q", lines, len(text), text)
			}
			counts[resources[path]+" malformed"]++
			if diff := gocmp.Diff(counts, server.counts(t)); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			line := logs.from(logged)
			if !strings.Contains(line, `"resource"="`+resources[path]+`"`) || len(line) > 2*maxText || strings.Contains(line, secret) {
				t.Errorf("want one short log line with the resource and without the body, got %d bytes: %.200q", len(line), line)
			}
			if response := server.ask(t, path, good[path]); !response.Allowed {
				t.Errorf("a good request afterwards was denied: %s", response.Result.Message)
			}
		}
	}

	for path := range good {
		whole := good[path].body()
		with := func(key string, value any) string { return good[path].clone().with(key, value).body() }
		withTop := func(key string, value any) string { return good[path].clone().withTop(key, value).body() }
		for name, tt := range map[string]refusalTest{
			"an empty body": {
				body: "", status: 400, text: "decoding the AdmissionReview: unexpected end of JSON input"},
			"truncated JSON": {
				body: whole[:len(whole)/2], status: 400, text: "decoding the AdmissionReview: unexpected end of JSON input"},
			"no JSON": {
				body: "#" + secret, status: 400, text: "decoding the AdmissionReview: invalid character '#' looking for beginning of value"},
			"text after the document": {
				body: whole + "#" + secret, status: 400, text: "decoding the AdmissionReview: invalid character '#' after top-level value"},
			"a second document": {
				body: whole + whole, status: 400, text: "decoding the AdmissionReview: invalid character '{' after top-level value"},
			"a wrong kind": {
				body:   withTop("kind", "TokenReview"),
				status: 400, text: `the body must be an AdmissionReview of admission.k8s.io/v1, not "TokenReview" of "admission.k8s.io/v1"`},
			"a wrong version": {
				body:   withTop("apiVersion", "admission.k8s.io/v1beta1"),
				status: 400, text: `the body must be an AdmissionReview of admission.k8s.io/v1, not "AdmissionReview" of "admission.k8s.io/v1beta1"`},
			"an object instead of a review": {
				body: manifest.Pod(secret).JSON(), status: 400, text: `the body must be an AdmissionReview of admission.k8s.io/v1, not "Pod" of "v1"`},
			"a review without a request": {
				body: withTop("request", nil), status: 400, text: "the AdmissionReview has no request"},
			"an answer instead of a request": {
				body:   `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"1","allowed":true}}`,
				status: 400, text: "the AdmissionReview has no request"},
			"a request without a resource": {
				body: with("resource", nil), status: 400, text: "the request must be about "},
			"a request without a kind": {
				body: with("kind", nil), status: 400, text: "the object must be a "},
			"no object": {
				body: with("object", nil), status: 400, text: "the request has no object"},
			"an object of a wrong shape": {
				body:   with("object", map[string]any{"spec": secret}),
				status: 400, text: "decoding the AdmissionReview: json: cannot unmarshal string into Go struct field"},
			"labels of a wrong shape": {
				body:   with("object", map[string]any{"metadata": map[string]any{"labels": []string{secret}}}),
				status: 400, text: "decoding the AdmissionReview: json: cannot unmarshal array into Go struct field"},
			"a number that does not end where a text should be": {
				body:   with("name", json.Number(strings.Repeat("7", 1<<20))),
				status: 400, text: "decoding the AdmissionReview: json: cannot unmarshal number"},
			"a kind that does not end": {
				body:   withTop("kind", strings.Repeat("k", 1<<20)),
				status: 400, text: "the body must be an AdmissionReview"},
			"JSON of bottomless depth": {
				body: strings.Repeat("[", 1<<20), status: 413, text: tooMany},
			"templates in templates without end": {
				body: strings.Replace(with("object", "@"), `"@"`,
					strings.Repeat(`{"spec":{"template":`, maxDepth)+"{}"+strings.Repeat("}}", maxDepth), 1),
				status: 413, text: tooMany},
			"10 MiB of junk": {
				body: strings.Repeat(secret+"####", 1<<20), status: 413, text: "the body must not exceed "},
			"more elements than memory is reserved for": {
				body:   strings.Replace(with("object", "@"), `"@"`, `{"spec":{"containers":[{}`+strings.Repeat(",{}", maxElements)+`]}}`, 1),
				status: 413, text: tooMany},
			"another content type": {
				contentType: "text/plain", body: whole, status: 415, text: "Content-Type must be application/json"},
			"no content type": {
				contentType: "-", body: whole, status: 415, text: "Content-Type must be application/json"},
			"a content type that is none": {
				contentType: "application/json; charset", body: whole, status: 415, text: "Content-Type must be application/json"},
			"another method": {
				method: http.MethodGet, status: 405, text: "method must be POST"},
			"a method that is none": {
				method: "ADMIT", body: whole, status: 405, text: "method must be POST"},
		} {
			t.Run(resources[path]+"/"+name, check(path, tt))
		}
	}

	for name, tt := range map[string]refusalTest{
		"a workload": {
			body:   creation(manifest.Job, pod).body(),
			status: 400, text: `the request must be about pods of v1, not "jobs" of "batch/v1"`},
		"pods of another group": {
			body:   reviewOf("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", pod.JSON()).body(),
			status: 400, text: `the request must be about pods of v1, not "pods" of "metrics.k8s.io/v1beta1"`},
		"another kind of object": {
			body:   reviewOf("", "v1", "pods", "Binding", pod.JSON()).body(),
			status: 400, text: `the object must be a Pod of v1, not "Binding" of "v1"`},
		"a resource of another kind with a pod": {
			body:   reviewOf("", "v1", "replicationcontrollers", "Pod", pod.JSON()).body(),
			status: 400, text: `the request must be about pods of v1, not "replicationcontrollers" of "v1"`},
	} {
		t.Run("pods/"+name, check(PodsPath, tt))
	}

	const list = "jobs of batch/v1 or cronjobs of batch/v1 or deployments of apps/v1 or replicasets of apps/v1 or " +
		"statefulsets of apps/v1 or daemonsets of apps/v1"
	template := manifest.Job.Around(pod.Template())
	for name, tt := range map[string]refusalTest{
		"a pod": {
			body:   aReview(pod).body(),
			status: 400, text: "the request must be about " + list + `, not "pods" of "v1"`},
		"a workload of another kind": {
			body:   reviewOf("", "v1", "replicationcontrollers", "ReplicationController", template).body(),
			status: 400, text: "the request must be about " + list + `, not "replicationcontrollers" of "v1"`},
		"a workload of another group": {
			body:   reviewOf("extensions", "v1", "deployments", "Deployment", template).body(),
			status: 400, text: "the request must be about " + list + `, not "deployments" of "extensions/v1"`},
		"a workload of another version": {
			body:   reviewOf("batch", "v1beta1", "cronjobs", "CronJob", manifest.CronJob.Around(pod.Template())).body(),
			status: 400, text: "the request must be about " + list + `, not "cronjobs" of "batch/v1beta1"`},
		"a Job as a CronJob": {
			body:   reviewOf("batch", "v1", "cronjobs", "Job", template).body(),
			status: 400, text: `the object must be a CronJob of batch/v1, not "Job" of "batch/v1"`},
		"a CronJob as a Job": {
			body:   reviewOf("batch", "v1", "jobs", "CronJob", manifest.CronJob.Around(pod.Template())).body(),
			status: 400, text: `the object must be a Job of batch/v1, not "CronJob" of "batch/v1"`},
		"a kind of another group": {
			body:   creation(manifest.Job, pod).with("kind", metav1.GroupVersionKind{Group: "batch.example.com", Version: "v1", Kind: "Job"}).body(),
			status: 400, text: `the object must be a Job of batch/v1, not "Job" of "batch.example.com/v1"`},
		"a resource named as a kind": {
			body:   reviewOf("batch", "v1", "Job", "Job", template).body(),
			status: 400, text: "the request must be about " + list + `, not "Job" of "batch/v1"`},
		"an update to no object": {
			body:   creation(manifest.Job, pod).with("operation", "UPDATE").with("object", nil).body(),
			status: 400, text: "the request has no object"},
		"a template of a wrong shape": {
			body:   reviewOf("batch", "v1", "cronjobs", "CronJob", manifest.CronJob.Around(secret)).body(),
			status: 400, text: "decoding the AdmissionReview: json: cannot unmarshal string into Go struct field"},
		"an old object of a wrong shape": {
			body:   creation(manifest.Job, pod).with("operation", "UPDATE").with("oldObject", secret).body(),
			status: 400, text: "decoding the AdmissionReview: json: cannot unmarshal string into Go struct field"},
	} {
		t.Run("workloads/"+name, check(WorkloadsPath, tt))
	}
}
