package webhook

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
)

// BenchmarkAdmit measures one review: the handler alone, with a Job's pod and, in
// both modes, with pods of so many sidecars; and over HTTPS, compared with a handler that
// only reads the body and answers.
func BenchmarkAdmit(b *testing.B) {
	body := jobPod(b)
	admission := NewHandlers(prometheus.NewRegistry(), essential.DefaultPolicies())[PodsPath]

	b.Run("handler", func(b *testing.B) { benchmarkHandler(b, admission, body) })
	names := []string{"main"}
	for _, sidecars := range []int{1, 5, 20} {
		for len(names) <= sidecars {
			names = append(names, fmt.Sprintf("sidecar-%d", len(names)))
		}
		for _, mode := range []api.Mode{api.ModeReap, api.ModeNative} {
			pod := manifest.Pod(names...).Label("main").Annotate(api.ModeAnnotation, string(mode))
			pod.Spec["restartPolicy"] = "Never"
			body := aReview(pod).body()
			b.Run(fmt.Sprintf("%s-%d", mode, sidecars), func(b *testing.B) { benchmarkHandler(b, admission, body) })
		}
	}
	noop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	})
	for name, handler := range map[string]http.Handler{"https": admission, "https-noop": noop} {
		b.Run(name, func(b *testing.B) { benchmarkOverTLS(b, handler, body) })
	}
}

func benchmarkHandler(b *testing.B, handler http.Handler, body string) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		request := httptest.NewRequest(http.MethodPost, PodsPath, strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusOK || !strings.Contains(recorder.Body.String(), `"patch"`) {
			b.Fatal(recorder.Body)
		}
	}
}

func benchmarkOverTLS(b *testing.B, handler http.Handler, body string) {
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	b.Cleanup(server.Close)
	client := server.Client()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			response, err := client.Post(server.URL, "application/json", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				b.Errorf("status %d", response.StatusCode)
			}
		}
	})
}
