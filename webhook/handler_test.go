package webhook

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// secret stands in every bad body, and must not stand in a log or an answer.
const secret = "s3cr3t"

func TestHandlerRefusesWhatIsNoReviewOfAPod(t *testing.T) {
	good := aReview(aPod("main", "proxy").label("main")).body()
	server, logs := serveHandler(t)
	for name, tt := range map[string]struct {
		method      string // default POST
		contentType string // default application/json
		body        string
		status      int
		text        string
	}{
		"an empty body": {
			body: "", status: 400, text: "decoding the AdmissionReview: unexpected end of JSON input"},
		"truncated JSON": {
			body: good[:len(good)/2], status: 400, text: "decoding the AdmissionReview: unexpected end of JSON input"},
		"no JSON": {
			body: "#" + secret, status: 400, text: "decoding the AdmissionReview: invalid character '#' looking for beginning of value"},
		"text after the document": {
			body: good + "#" + secret, status: 400, text: "decoding the AdmissionReview: invalid character '#' after top-level value"},
		"a second document": {
			body: good + good, status: 400, text: "decoding the AdmissionReview: invalid character '{' after top-level value"},
		"a wrong kind": {
			body:   aReview(aPod("main")).withTop("kind", "TokenReview").body(),
			status: 400, text: `the body must be an AdmissionReview of admission.k8s.io/v1, not "TokenReview" of "admission.k8s.io/v1"`},
		"a wrong version": {
			body:   aReview(aPod("main")).withTop("apiVersion", "admission.k8s.io/v1beta1").body(),
			status: 400, text: `the body must be an AdmissionReview of admission.k8s.io/v1, not "AdmissionReview" of "admission.k8s.io/v1beta1"`},
		"a pod instead of a review": {
			body: aPod(secret).json(), status: 400, text: `the body must be an AdmissionReview of admission.k8s.io/v1, not "Pod" of "v1"`},
		"a review without a request": {
			body: aReview(aPod("main")).withTop("request", nil).body(), status: 400, text: "the AdmissionReview has no request"},
		"an answer instead of a request": {
			body:   `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"1","allowed":true}}`,
			status: 400, text: "the AdmissionReview has no request"},
		"another resource": {
			body:   aReview(aPod("main")).with("resource", metav1.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).body(),
			status: 400, text: `the request must be about pods of v1, not "deployments" of "apps/v1"`},
		"pods of another group": {
			body:   aReview(aPod("main")).with("resource", metav1.GroupVersionResource{Group: "metrics.k8s.io", Version: "v1beta1", Resource: "pods"}).body(),
			status: 400, text: `the request must be about pods of v1, not "pods" of "metrics.k8s.io/v1beta1"`},
		"another object": {
			body:   aReview(aPod("main")).with("kind", metav1.GroupVersionKind{Version: "v1", Kind: "Binding"}).body(),
			status: 400, text: `the object must be a Pod of v1, not "Binding" of "v1"`},
		"no object": {
			body: aReview(aPod("main")).with("object", nil).body(), status: 400, text: "the request has no object"},
		"an object of a wrong shape": {
			body:   aReview(aPod("main")).with("object", map[string]any{"spec": secret}).body(),
			status: 400, text: "decoding the AdmissionReview: json: cannot unmarshal string into Go struct field"},
		"a number that does not end where a text should be": {
			body:   aReview(aPod("main")).with("name", json.Number(strings.Repeat("7", 1<<20))).body(),
			status: 400, text: "decoding the AdmissionReview: json: cannot unmarshal number"},
		"a kind that does not end": {
			body:   aReview(aPod("main")).withTop("kind", strings.Repeat("k", 1<<20)).body(),
			status: 400, text: "the body must be an AdmissionReview"},
		"JSON of bottomless depth": {
			body: strings.Repeat("[", 1<<20), status: 400, text: "decoding the AdmissionReview: invalid character '[' exceeded max depth"},
		"10 MiB of junk": {
			body: strings.Repeat(secret+"####", 1<<20), status: 413, text: "the body must not exceed 8388608 bytes"},
		"another content type": {
			contentType: "text/plain", body: good, status: 415, text: "Content-Type must be application/json"},
		"no content type": {
			contentType: "-", body: good, status: 415, text: "Content-Type must be application/json"},
		"a content type that is none": {
			contentType: "application/json; charset", body: good, status: 415, text: "Content-Type must be application/json"},
		"another method": {
			method: http.MethodGet, status: 405, text: "method must be POST"},
		"a method that is none": {
			method: "ADMIT", body: good, status: 405, text: "method must be POST"},
	} {
		t.Run(name, func(t *testing.T) {
			before, logged := server.count(malformed), logs.len()
			status, text := server.send(t, tt.method, tt.contentType, tt.body)
			if status != tt.status || !strings.HasPrefix(text, tt.text) {
				t.Errorf("got %d %.200q, want %d %q", status, text, tt.status, tt.text)
			}
			if lines := strings.Count(text, "\n"); lines != 1 || len(text) > 2*maxText || strings.Contains(text, secret) {
				t.Errorf("the answer is no short line without the body: %d lines, %d bytes: %.200q", lines, len(text), text)
			}
			if got := server.count(malformed); got != before+1 {
				t.Errorf("%v requests counted as malformed, want %v", got, before+1)
			}
			if line := logs.from(logged); line == "" || len(line) > 2*maxText || strings.Contains(line, secret) {
				t.Errorf("want one short log line without the body, got %d bytes: %.200q", len(line), line)
			}
			if status, _ := server.send(t, "", "", good); status != http.StatusOK {
				t.Errorf("a good request afterwards got %d", status)
			}
		})
	}
}

func TestHandlerAnswers(t *testing.T) {
	patchType := admissionv1.PatchTypeJSONPatch
	wrong := aPod("main", "proxy").label("mian").annotated(essential.TrackedAnnotation, "x")
	for name, tt := range map[string]struct {
		review *reviewBuilder
		want   admissionv1.AdmissionResponse // less the UID
		counts outcome
	}{
		"a right label is tracked": {
			review: aReview(aPod("main", "proxy").label("main").annotate(map[string]string{})),
			want: admissionv1.AdmissionResponse{Allowed: true, PatchType: &patchType,
				Patch: []byte(`[{"op":"add","path":"/metadata/annotations/essential-containers~1tracked","value":"main"}]`)},
			counts: tracked,
		},
		"a pod that has been through already gets no patch": {
			review: aReview(aPod("main", "proxy").label("main").annotated(essential.TrackedAnnotation, "main")),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: tracked,
		},
		"a warning": {
			review: aReview(aPod("main").label("main").annotated(essential.TrackedAnnotation, "main")),
			want: admissionv1.AdmissionResponse{Allowed: true,
				Warnings: []string{`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes`}},
			counts: tracked,
		},
		"a wrong name is denied": {
			review: aReview(wrong),
			want: rejected(`metadata.labels[essential-containers]: Invalid value: "mian": no such container; ` +
				`the pod has "main", "proxy"; did you mean "main"?`),
			counts: denied,
		},
		"several wrong names are denied in one message": {
			review: aReview(aPod("main").label("a_b")),
			want: rejected(`[metadata.labels[essential-containers]: Invalid value: "a": no such container; the pod has "main", ` +
				`metadata.labels[essential-containers]: Invalid value: "b": no such container; the pod has "main"]`),
			counts: denied,
		},
		"a pod with no containers is denied": {
			review: aReview(aPod().label("main")),
			want:   rejected(`metadata.labels[essential-containers]: Invalid value: "main": no such container; the pod has no containers`),
			counts: denied,
		},
		"a pod without the label is left alone": {
			review: aReview(aPod("main", "proxy")),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: untracked,
		},
		"an update is left alone": {
			review: aReview(wrong).with("operation", "UPDATE"),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: untracked,
		},
		"a deletion is left alone": {
			review: aReview(wrong).with("operation", "DELETE").with("object", nil),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: untracked,
		},
		"ephemeral containers are left alone": {
			review: aReview(wrong).with("operation", "UPDATE").with("subResource", "ephemeralcontainers"),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: untracked,
		},
		"a binding is left alone": {
			review: aReview(wrong).with("subResource", "binding").with("kind", metav1.GroupVersionKind{Version: "v1", Kind: "Binding"}),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: untracked,
		},
		"a command to execute is left alone": {
			review: aReview(wrong).with("operation", "CONNECT").with("subResource", "exec").
				with("object", map[string]any{"kind": "PodExecOptions", "command": []string{"sh"}}),
			want:   admissionv1.AdmissionResponse{Allowed: true},
			counts: untracked,
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := serveHandler(t)
			status, body := server.send(t, "", "application/json; charset=utf-8", tt.review.body())
			if status != http.StatusOK {
				t.Fatalf("got %d %s", status, body)
			}
			tt.want.UID = "0a3f2c51"
			if diff := cmp.Diff(&tt.want, decodeResponse(t, []byte(body))); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			for _, o := range []outcome{tracked, untracked, denied, malformed, failed} {
				want := 0.0
				if o == tt.counts {
					want = 1
				}
				if got := server.count(o); got != want {
					t.Errorf("counted as %s: %v, want %v", o, got, want)
				}
			}
		})
	}
}

func TestHandlerLogsDenialsOnlyAndNamesThePod(t *testing.T) {
	server, logs := serveHandler(t)
	server.send(t, "", "", aReview(aPod("main", "proxy").label("main")).body())
	if got := logs.from(0); got != "" {
		t.Errorf("an admitted pod was logged: %s", got)
	}
	server.send(t, "", "", aReview(aPod("main", "proxy").label("mian")).body())
	for _, want := range []string{`"namespace"="reports"`, `"generateName"="job-"`, `no such container`} {
		if got := logs.from(0); !strings.Contains(got, want) {
			t.Errorf("log of a denial %q lacks %s", got, want)
		}
	}
	logged := logs.len()
	long := strings.Repeat("n", 1<<20)
	server.send(t, "", "", aReview(aPod(long).label("mian").generateName(long)).with("name", long).body())
	if line := logs.from(logged); len(line) > 4*maxText {
		t.Errorf("the log of a denial has %d bytes", len(line))
	}
}

func TestHandlerAdmitsAPodOfAJob(t *testing.T) {
	server, _ := serveHandler(t)
	_, body := server.send(t, "", "", jobPod(t))
	response := decodeResponse(t, []byte(body))
	want := `[{"op":"add","path":"/metadata/annotations/essential-containers~1tracked","value":"main"}]`
	if !response.Allowed || string(response.Patch) != want {
		t.Errorf("got allowed %v, patch %s, want patch %s", response.Allowed, response.Patch, want)
	}
}

func TestHandlerAnswersAfterAPanic(t *testing.T) {
	registry := prometheus.NewRegistry()
	handler := NewHandler(registry)
	var logs logLines
	request := httptest.NewRequest(http.MethodPost, PodsPath, panicking{})
	request.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request.WithContext(logr.NewContext(t.Context(), logs.logger())))

	if got := recorder.Result().StatusCode; got != http.StatusInternalServerError {
		t.Errorf("got status %d, want 500", got)
	}
	if got := recorder.Body.String(); got != "internal error\n" {
		t.Errorf("got body %q", got)
	}
	if got := counted(registry, failed); got != 1 {
		t.Errorf("counted as failed: %v, want 1", got)
	}
	if got := logs.from(0); !strings.Contains(got, "a bug") {
		t.Errorf("log %q does not name the panic", got)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a bug") }

func rejected(message string) admissionv1.AdmissionResponse {
	return admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: "Failure", Code: 422, Reason: "Invalid", Message: message,
	}}
}
