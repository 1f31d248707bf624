package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	dnsName = "webhook.essential-containers.svc"

	// timeout is how long a condition is awaited before the test gives it up.
	timeout = 30 * time.Second
)

func TestRunServesAdmissionHealthAndMetrics(t *testing.T) {
	w := startWebhook(t, writeCertificate(t, t.TempDir(), dnsName))
	w.await(t, "/readyz", http.StatusOK, "ok\n")

	if a := w.admitGood(t); a != (arrival{protocol: "HTTP/1.1"}) {
		t.Errorf("answered over %+v", a)
	}
	if status, text := w.get(t, "/healthz"); status != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz: %d %q", status, text)
	}
	status, metrics := fetch(t, "http://"+w.listeners.metrics.Addr().String()+"/metrics")
	for _, want := range []string{
		`essential_containers_admission_requests_total{resource="pods",result="fallback"} 1`, // the operator's default, and the pod would be restarted forever
		`essential_containers_admission_duration_seconds_count{resource="pods"} 1`,
		`essential_containers_admission_requests_total{resource="workloads",result="allowed"} 1`,
		`essential_containers_admission_duration_seconds_count{resource="workloads"} 1`,
		`essential_containers_certificate_expiration_timestamp_seconds `,
		`go_goroutines `,
		`process_open_fds `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics (%d) lacks %q", status, want)
		}
	}
	if err := w.end(); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestRunIsReadyOnceThereIsACertificate(t *testing.T) {
	dir := t.TempDir()
	w := startWebhook(t, dir)
	w.await(t, "/readyz", http.StatusServiceUnavailable, "not ready: ", filepath.Join(dir, "tls.crt"))
	if status, _ := w.get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz without a certificate: %d, want 200", status)
	}
	writeCertificate(t, dir, dnsName)
	w.await(t, "/readyz?verbose", http.StatusOK, "ok\n")
	for _, want := range []string{`"ready"=false "reason"="`, `"ready"=true "reason"=""`} {
		if got := w.logs.from(0); !strings.Contains(got, want) {
			t.Errorf("the log lacks %s:\n%s", want, got)
		}
	}
}

func TestRunIsNotReadyWithACertificateOfAnotherName(t *testing.T) {
	w := startWebhook(t, writeCertificate(t, t.TempDir(), "other.svc"))
	w.await(t, "/readyz", http.StatusServiceUnavailable, "not ready: ", dnsName, "other.svc")
}

func TestRunServesDuringTheShutdownDelayAndFinishesWhatIsUnderWay(t *testing.T) {
	w := startWebhook(t, writeCertificate(t, t.TempDir(), dnsName))
	w.await(t, "/readyz", http.StatusOK, "ok\n")

	w.cancel()
	if got := <-w.delays; got != w.options.ShutdownDelay {
		t.Errorf("waits for %v, want %v", got, w.options.ShutdownDelay)
	}
	if status, text := w.get(t, "/readyz"); status != http.StatusServiceUnavailable || text != "not ready: shutting down\n" {
		t.Errorf("/readyz during the shutdown: %d %q", status, text)
	}
	if a := w.admitGood(t); !a.last {
		t.Error("the connection may be used again during the shutdown")
	}

	// A request that is being read at the end of the delay, and sent whole once
	// no other is accepted.
	review := aReview(labelled()).body()
	body, rest := io.Pipe()
	reading := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
	answer := make(chan string, 1)
	go func() {
		text, _, err := w.admit(ctx, PodsPath, body, len(review))
		answer <- fmt.Sprint(text, err)
	}()
	<-reading
	w.endDelay()
	eventually(t, func() error {
		conn, err := net.Dial("tcp", w.listeners.admission.Addr().String())
		if err != nil {
			return nil
		}
		_ = conn.Close()
		return errors.New("connections are still accepted")
	})
	if _, err := io.WriteString(rest, review); err != nil {
		t.Fatal(err)
	}
	_ = rest.Close()
	if got := <-answer; !strings.Contains(got, `"allowed":true`) {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-w.done; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestRunNamesTheAddressThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	address := taken.Addr().String()
	for flag, set := range map[string]func(*Options){
		"--bind-address":              func(o *Options) { o.BindAddress = address },
		"--metrics-bind-address":      func(o *Options) { o.MetricsBindAddress = address },
		"--health-probe-bind-address": func(o *Options) { o.HealthProbeBindAddress = address },
	} {
		t.Run(flag, func(t *testing.T) {
			options := loopback(t.TempDir())
			set(&options)
			err := Run(t.Context(), options)
			if err == nil || !strings.HasPrefix(err.Error(), "listening on "+flag+" "+address+": ") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRunReturnsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	options := loopback(t.TempDir())
	options.ShutdownDelay = 0
	options.MetricsBindAddress = "0"
	if err := Run(ctx, options); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestRunRefusesOptionsThatAreNotValid(t *testing.T) {
	options := loopback("")
	if err := Run(t.Context(), options); err == nil || !strings.Contains(err.Error(), "--cert-dir") {
		t.Errorf("got %v, want an error that names --cert-dir", err)
	}
}

func TestRunReturnsTheErrorOfAServerThatFails(t *testing.T) {
	w := startWebhook(t, t.TempDir())
	_ = w.listeners.health.Close()
	if err := <-w.done; err == nil || !strings.HasPrefix(err.Error(), "serving health: ") {
		t.Errorf("got %v", err)
	}
}
