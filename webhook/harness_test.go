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

// testServer is a Handler behind a real HTTP server.
type testServer struct {
	*httptest.Server
	registry *prometheus.Registry
}

func serveHandler(t *testing.T) (*testServer, *logLines) {
	t.Helper()
	logs := &logLines{}
	registry := prometheus.NewRegistry()
	handler := NewHandler(registry)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(logr.NewContext(r.Context(), logs.logger())))
	}))
	t.Cleanup(server.Close)
	return &testServer{Server: server, registry: registry}, logs
}

// send posts JSON unless told otherwise; the content type "-" sends none.
func (s *testServer) send(t *testing.T, method, contentType, body string) (status int, text string) {
	t.Helper()
	if method == "" {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(t.Context(), method, s.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch contentType {
	case "":
		request.Header.Set("Content-Type", "application/json")
	case "-":
	default:
		request.Header.Set("Content-Type", contentType)
	}
	response, err := s.Client().Do(request)
	return answer(t, response, err)
}

// answer reads what a client's call has returned.
func answer(t testing.TB, response *http.Response, err error) (status int, text string) {
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

func (s *testServer) count(o outcome) float64 { return counted(s.registry, o) }

func counted(gatherer prometheus.Gatherer, o outcome) float64 {
	families, err := gatherer.Gather()
	if err != nil {
		panic(err)
	}
	for _, family := range families {
		if family.GetName() != "essential_containers_admission_requests_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == string(o) {
				return metric.GetCounter().GetValue()
			}
		}
	}
	panic("no series for " + o)
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
