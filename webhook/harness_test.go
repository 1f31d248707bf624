package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// jobPod is the body of a request about a Job's pod, with all that a real one has.
func jobPod(t testing.TB) string {
	t.Helper()
	content, err := os.ReadFile("testdata/job-pod.json")
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, content); err != nil {
		t.Fatal(err)
	}
	return compact.String()
}

// testServer serves the handlers over real HTTP.
type testServer struct {
	*httptest.Server
	registry *prometheus.Registry
	turns    *turns
}

func serveHandlers(t *testing.T) (*testServer, *logLines) {
	t.Helper()
	return serveHandlersWith(t, essential.DefaultPolicies())
}

func serveHandlersWith(t *testing.T, defaults essential.Policies) (*testServer, *logLines) {
	t.Helper()
	logs := &logLines{}
	registry := prometheus.NewRegistry()
	server := httptest.NewUnstartedServer(nil)
	handlers := NewHandlers(registry, defaults)
	server.Config = newServer(logr.NewContext(t.Context(), logs.logger()), handlers)
	server.Start()
	t.Cleanup(server.Close)
	return &testServer{Server: server, registry: registry, turns: handlers[PodsPath].(*handler).turns}, logs
}

// post sends a review.
func (s *testServer) post(t *testing.T, path string, review *reviewBuilder) (status int, text string) {
	t.Helper()
	return s.send(t, path, http.MethodPost, "application/json", review.body())
}

// send sends no content type if that is empty.
func (s *testServer) send(t *testing.T, path, method, contentType, body string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := s.Client().Do(request)
	return readAnswer(t, response, err)
}

// ask sends a review that must get an answer.
func (s *testServer) ask(t *testing.T, path string, review *reviewBuilder) *admissionv1.AdmissionResponse {
	t.Helper()
	status, text := s.post(t, path, review)
	if status != http.StatusOK {
		t.Fatalf("got %d %s", status, text)
	}
	return decodeResponse(t, []byte(text))
}

// readAnswer reads what a client's call has returned.
func readAnswer(t testing.TB, response *http.Response, err error) (status int, text string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

// counts are the requests that were counted, by "resource result", series that
// are still at zero included.
func (s *testServer) counts(t testing.TB) map[string]float64 { return counted(t, s.registry) }

func counted(t testing.TB, gatherer prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		if family.GetName() != "essential_containers_admission_requests_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			counts[labels["resource"]+" "+labels["result"]] = metric.GetCounter().GetValue()
		}
	}
	return counts
}

// logLines keeps what is logged at verbosity 0.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) logger() logr.Logger {
	return funcr.New(func(_, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, args)
	}, funcr.Options{})
}

func (l *logLines) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

func (l *logLines) from(i int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[i:], "\n")
}
