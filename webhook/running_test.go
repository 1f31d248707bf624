package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/cert"

	"github.com/essential-containers/essential-containers/test/manifest"
)

// runningWebhook is what Run runs, on loopback, with a shutdown delay that lasts
// until it is released.
type runningWebhook struct {
	options     Options
	listeners   listeners
	logs        *logLines
	cancel      context.CancelFunc
	delays      chan time.Duration // gets the delay when it begins
	release     chan time.Time     // ends the delay when closed
	releaseOnce sync.Once
	done        chan error // gets what serve returns
}

func startWebhook(t *testing.T, certDir string) *runningWebhook {
	t.Helper()
	w := &runningWebhook{
		options: loopback(certDir), logs: &logLines{},
		delays: make(chan time.Duration, 1), release: make(chan time.Time), done: make(chan error, 1),
	}
	var err error
	if w.listeners, err = listen(w.options); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(logr.NewContext(context.Background(), w.logs.logger()))
	w.cancel = cancel
	after := func(d time.Duration) <-chan time.Time {
		w.delays <- d
		return w.release
	}
	go func() {
		defer close(w.done)
		w.done <- serve(ctx, w.options, w.listeners, after)
	}()
	t.Cleanup(func() { _ = w.end() })
	return w
}

// end shuts the webhook down and returns what serve returns, the first time.
func (w *runningWebhook) end() error {
	w.cancel()
	w.endDelay()
	return <-w.done
}

func (w *runningWebhook) endDelay() {
	w.releaseOnce.Do(func() { close(w.release) })
}

// loopback are options of a webhook on free ports.
func loopback(certDir string) Options {
	return Options{
		BindAddress: "127.0.0.1:0", MetricsBindAddress: "127.0.0.1:0", HealthProbeBindAddress: "127.0.0.1:0",
		CertDir: certDir, DNSName: dnsName, ShutdownDelay: time.Hour, Defaults: nativeByDefault(),
	}
}

// get asks the health server.
func (w *runningWebhook) get(t *testing.T, path string) (status int, text string) {
	t.Helper()
	return fetch(t, "http://"+w.listeners.health.Addr().String()+path)
}

func fetch(t *testing.T, url string) (status int, text string) {
	t.Helper()
	response, err := http.Get(url)
	return readAnswer(t, response, err)
}

// await asks the health server until it answers one line with all these words.
func (w *runningWebhook) await(t *testing.T, path string, status int, words ...string) {
	t.Helper()
	eventually(t, func() error {
		gotStatus, text := w.get(t, path)
		lacks := func(word string) bool { return !strings.Contains(text, word) }
		if gotStatus != status || strings.Count(text, "\n") != 1 || slices.ContainsFunc(words, lacks) {
			return fmt.Errorf("%s: got %d %q, want %d and one line with %q", path, gotStatus, text, status, words)
		}
		return nil
	})
}

// admit asks the admission server as the API server does: by the DNS name, and
// trusting only what is in the directory of the certificate. The review has this
// length. It returns the answer, and how it came.
func (w *runningWebhook) admit(ctx context.Context, path string, review io.Reader, length int) (body string, a arrival, err error) {
	authority, err := os.ReadFile(filepath.Join(w.options.CertDir, "tls.crt"))
	if err != nil {
		return "", a, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, ExpectContinueTimeout: timeout,
		TLSClientConfig: &tls.Config{ServerName: dnsName, RootCAs: roots},
	}}
	defer client.CloseIdleConnections()
	url := "https://" + w.listeners.admission.Addr().String() + path
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, review)
	if err != nil {
		return "", a, err
	}
	request.ContentLength = int64(length)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Expect", "100-continue") // shows when the handler reads
	response, err := client.Do(request)
	if err != nil {
		return "", a, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return string(content), arrival{response.Proto, response.Close}, err
}

// arrival is how an answer came: the protocol, and whether the connection ends
// with it.
type arrival struct {
	protocol string
	last     bool
}

// admitGood asks about a pod and about a Job that must be admitted.
func (w *runningWebhook) admitGood(t *testing.T) (a arrival) {
	t.Helper()
	good := labelled()
	for path, review := range map[string]*reviewBuilder{
		"/mutate-pods": aReview(good), "/validate-workloads": creation(manifest.Job, good),
	} {
		var body string
		var err error
		text := review.body()
		if body, a, err = w.admit(t.Context(), path, strings.NewReader(text), len(text)); err != nil {
			t.Fatal(err)
		}
		if !decodeResponse(t, []byte(body)).Allowed {
			t.Errorf("%s: denied: %s", path, body)
		}
	}
	return a
}

// eventually repeats the check until it succeeds.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(timeout)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// writeCertificate puts a pair for name, and the CA that signed it, into dir, and
// returns dir.
func writeCertificate(t *testing.T, dir, name string) string {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey(name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
