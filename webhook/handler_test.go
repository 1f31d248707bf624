package webhook

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
)

func TestHandlerAnswers(t *testing.T) {
	patchType := admissionv1.PatchTypeJSONPatch
	right := labelled()
	wrong := manifest.Pod("main", "proxy").Label("mian").Annotate(api.TrackedAnnotation, "x")
	scale := metav1.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}
	for name, tt := range map[string]struct {
		path   string // default PodsPath
		review *reviewBuilder
		want   admissionv1.AdmissionResponse // less the UID
		counts string
	}{
		"a right label is tracked": {
			review: aReview(labelled().Annotations(map[string]string{})),
			want: admissionv1.AdmissionResponse{Allowed: true, PatchType: &patchType,
				Patch: []byte(`[{"op":"add","path":"/metadata/annotations/essential-containers~1tracked","value":"main"}]`)},
			counts: "pods tracked",
		},
		"a pod that has been through already gets no patch": {
			review: aReview(labelled().Annotate(api.TrackedAnnotation, "main")),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "pods tracked",
		},
		"a warning": {
			review: aReview(manifest.Pod("main").Label("main").Annotate(api.TrackedAnnotation, "main")),
			want: admissionv1.AdmissionResponse{Allowed: true,
				Warnings: []string{`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes, unless another webhook adds a sidecar`}},
			counts: "pods tracked",
		},
		"a wrong name is denied": {
			review: aReview(wrong),
			want: rejected(`metadata.labels[essential-containers]: Invalid value: "mian": no such container; ` +
				`the pod has "main", "proxy"; did you mean "main"?`),
			counts: "pods denied",
		},
		"several wrong names are denied in one message": {
			review: aReview(manifest.Pod("main").Label("a_b")),
			want: rejected(`[metadata.labels[essential-containers]: Invalid value: "a": no such container; the pod has "main", ` +
				`metadata.labels[essential-containers]: Invalid value: "b": no such container; the pod has "main"]`),
			counts: "pods denied",
		},
		"a pod with no containers is denied": {
			review: aReview(manifest.Pod().Label("main")),
			want:   rejected(`metadata.labels[essential-containers]: Invalid value: "main": no such container; the pod has no containers`),
			counts: "pods denied",
		},
		"a wrong policy is denied, and the warnings come with it": {
			review: aReview(labelled().
				Annotate(api.RetentionAnnotation, "1w").Annotate("essential-containers/retantion", "1h")),
			want: rejected(`metadata.annotations[essential-containers/retention]: Invalid value: "1w": must be a duration such as 90s, 1h30m or 2d, or Forever`,
				`metadata.annotations[essential-containers/retantion]: unknown annotation, ignored; did you mean "essential-containers/retention"?`),
			counts: "pods denied",
		},
		"a pod without the label is left alone": {
			review: aReview(manifest.Pod("main", "proxy")),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "pods untracked",
		},
		"an update is left alone": {
			review: aReview(wrong).with("operation", "UPDATE"),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "pods untracked",
		},
		"a deletion is left alone": {
			review: aReview(wrong).with("operation", "DELETE").with("object", nil),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "pods untracked",
		},
		"ephemeral containers are left alone": {
			review: aReview(wrong).with("operation", "UPDATE").with("subResource", "ephemeralcontainers"),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "pods untracked",
		},
		"a binding is left alone": {
			review: aReview(wrong).with("subResource", "binding").with("kind", metav1.GroupVersionKind{Version: "v1", Kind: "Binding"}),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "pods untracked",
		},
		"a command to execute is left alone": {
			review: aReview(wrong).with("operation", "CONNECT").with("subResource", "exec").
				with("object", map[string]any{"kind": "PodExecOptions", "command": []string{"sh"}}),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "pods untracked",
		},
		"a right template gets no patch": {
			path: WorkloadsPath, review: creation(manifest.Job, right),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "workloads allowed",
		},
		"a wrong name in a template is denied": {
			path: WorkloadsPath, review: creation(manifest.CronJob, manifest.Pod("main", "proxy").Label("mian")),
			want: rejected(`spec.jobTemplate.spec.template.metadata.labels[essential-containers]: Invalid value: "mian": ` +
				`no such container; the pod has "main", "proxy"; did you mean "main"?`),
			counts: "workloads denied",
		},
		"a wrong name in an update is denied": {
			path: WorkloadsPath, review: update(manifest.Job, right, manifest.Pod("main", "proxy").Label("main_x")),
			want:   rejected(`spec.template.metadata.labels[essential-containers]: Invalid value: "x": no such container; the pod has "main", "proxy"`),
			counts: "workloads denied",
		},
		"an update of what was wrong before is admitted with a warning": {
			path: WorkloadsPath, review: update(manifest.Job, manifest.Pod("main", "proxy").Label("x"), manifest.Pod("main", "proxy").Label("x")),
			want: admissionv1.AdmissionResponse{Allowed: true, Warnings: []string{
				`spec.template.metadata.labels[essential-containers]: Invalid value: "x": no such container; the pod has "main", "proxy"; ` +
					`allowed because it was so before, but new pods are denied`}},
			counts: "workloads allowed",
		},
		"a right update is admitted": {
			path: WorkloadsPath, review: update(manifest.Job, wrong, right),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "workloads allowed",
		},
		"the deletion of a workload is left alone": {
			path: WorkloadsPath, review: update(manifest.Job, wrong, wrong).with("operation", "DELETE").with("object", nil),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "workloads allowed",
		},
		"the deletion of a wrong workload is left alone even if its object is sent": {
			path: WorkloadsPath, review: creation(manifest.Job, wrong).with("operation", "DELETE"),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "workloads allowed",
		},
		"a connection to a workload is left alone": {
			path: WorkloadsPath, review: creation(manifest.Job, wrong).with("operation", "CONNECT").with("object", nil),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "workloads allowed",
		},
		"a status is left alone": {
			path: WorkloadsPath, review: creation(manifest.Job, wrong).with("operation", "UPDATE").with("subResource", "status"),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "workloads allowed",
		},
		"a scale is left alone": {
			path: WorkloadsPath, review: creation(manifest.Deployment, wrong).with("operation", "UPDATE").with("subResource", "scale").
				with("kind", scale).with("object", map[string]any{"spec": map[string]any{"replicas": 3}}),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: "workloads allowed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := serveHandlers(t)
			status, body := server.send(t, cmp.Or(tt.path, PodsPath), http.MethodPost, "application/json; charset=utf-8", tt.review.body())
			if status != http.StatusOK {
				t.Fatalf("got %d %s", status, body)
			}
			tt.want.UID = "0a3f2c51"
			if diff := gocmp.Diff(&tt.want, decodeResponse(t, []byte(body))); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			want := map[string]float64{
				"pods/status denied": 0, "pods/status succeeded": 0, "pods/status explained": 0, "pods/status kept": 0, "pods/status unchanged": 0, "pods/status malformed": 0, "pods/status failed": 0,
				"pods tracked": 0, "pods native": 0, "pods fallback": 0, "pods untracked": 0, "pods denied": 0, "pods malformed": 0, "pods failed": 0,
				"workloads allowed": 0, "workloads denied": 0, "workloads malformed": 0, "workloads failed": 0,
			}
			want[tt.counts]++
			if diff := gocmp.Diff(want, server.counts(t)); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHandlerLogsDenialsOnlyAndNamesTheObject(t *testing.T) {
	server, logs := serveHandlers(t)
	server.post(t, PodsPath, aReview(labelled()))
	server.post(t, WorkloadsPath, creation(manifest.CronJob, labelled()))
	if got := logs.from(0); got != "" {
		t.Errorf("an admitted object was logged: %s", got)
	}
	wrong := manifest.Pod("main", "proxy").Label("mian")
	for _, tt := range []struct {
		path   string
		review *reviewBuilder
		want   []string
	}{
		{PodsPath, aReview(wrong),
			[]string{`"resource"="pods"`, `"namespace"="reports"`, `"generateName"="job-"`, `no such container`}},
		{WorkloadsPath, creation(manifest.CronJob, wrong).with("name", "nightly"),
			[]string{`"resource"="cronjobs"`, `"namespace"="reports"`, `"name"="nightly"`, `no such container`}},
	} {
		logged := logs.len()
		server.post(t, tt.path, tt.review)
		for _, want := range tt.want {
			if got := logs.from(logged); !strings.Contains(got, want) {
				t.Errorf("log of a denial %q lacks %s", got, want)
			}
		}
	}
	logged := logs.len()
	long := strings.Repeat("n", 1<<20)
	server.post(t, PodsPath, aReview(manifest.Pod(long).Label("mian").GenerateName(long)).with("name", long))
	if line := logs.from(logged); len(line) > 4*maxText {
		t.Errorf("the log of a denial has %d bytes", len(line))
	}
}

func TestHandlerAdmitsAPodOfAJob(t *testing.T) {
	server, _ := serveHandlers(t)
	_, body := server.send(t, PodsPath, http.MethodPost, "application/json", jobPod(t))
	response := decodeResponse(t, []byte(body))
	want := `[{"op":"add","path":"/metadata/annotations/essential-containers~1tracked","value":"main"}]`
	if !response.Allowed || string(response.Patch) != want {
		t.Errorf("got allowed %v, patch %s, want patch %s", response.Allowed, response.Patch, want)
	}
}

func TestHandlerAnswersAfterAPanic(t *testing.T) {
	for path, resource := range map[string]string{PodsPath: "pods", WorkloadsPath: "workloads"} {
		t.Run(resource, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			var logs logLines
			request := httptest.NewRequest(http.MethodPost, path, panicking{})
			request.Header.Set("Content-Type", "application/json")
			request.ContentLength = 1
			recorder := httptest.NewRecorder()
			NewHandlers(registry, essential.DefaultPolicies())[path].ServeHTTP(recorder, request.WithContext(logr.NewContext(t.Context(), logs.logger())))

			if got := recorder.Result().StatusCode; got != http.StatusInternalServerError {
				t.Errorf("got status %d, want 500", got)
			}
			if got := recorder.Body.String(); got != "internal error\n" {
				t.Errorf("got body %q", got)
			}
			if got := counted(t, registry)[resource+" failed"]; got != 1 {
				t.Errorf("counted as failed: %v, want 1", got)
			}
			for _, want := range []string{"a bug", "panicking.Read", `"resource"="` + resource + `"`} {
				if got := logs.from(0); !strings.Contains(got, want) {
					t.Errorf("log %q lacks %s", got, want)
				}
			}
		})
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a bug") }

func rejected(message string, warnings ...string) admissionv1.AdmissionResponse {
	return admissionv1.AdmissionResponse{Warnings: warnings, Result: &metav1.Status{
		Status: "Failure", Code: 422, Reason: "Invalid", Message: message,
	}}
}
