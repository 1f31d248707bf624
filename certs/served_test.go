package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	expiryMetric   = "essential_containers_certificate_expiration_timestamp_seconds"
	failuresMetric = "essential_containers_certificate_load_failures_total"
)

// served is a Source that runs behind a TLS listener on a volume of its own.
type served struct {
	*Source
	t        testing.TB
	volume   volume
	registry *prometheus.Registry
	now      atomic.Pointer[time.Time]
	addr     string

	mu   sync.Mutex
	logs []string
}

// serve starts a Source on an empty volume; the setup, if any, fills it first.
func serve(t *testing.T, setup func(volume)) *served {
	t.Helper()
	return serveWith(t, Options{}, setup)
}

// serveWith is serve with options of its own.
func serveWith(t *testing.T, opts Options, setup func(volume)) *served {
	t.Helper()
	s := &served{t: t, volume: newVolume(t), registry: prometheus.NewRegistry()}
	s.now.Store(&now)
	if setup != nil {
		setup(s.volume)
	}
	opts.Dir, opts.DNSName, opts.Registerer = s.volume.dir, service, s.registry
	opts.Clock = func() time.Time { return *s.now.Load() }
	s.Source = NewSource(opts)
	s.retry, s.recheck = 5*time.Millisecond, 5*time.Millisecond

	listener, err := tls.Listen("tcp", "127.0.0.1:0", s.TLSConfig())
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(logr.NewContext(context.Background(), funcr.New(s.log, funcr.Options{})))
	var running sync.WaitGroup
	running.Go(func() { accept(listener) })
	running.Go(func() {
		if err := s.Start(ctx); err != nil {
			t.Errorf("Start: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		running.Wait()
	})
	return s
}

// accept completes the handshake of one connection after the other.
func accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.(*tls.Conn).Handshake() // a failure shows at the client
		conn.Close()
	}
}

func (s *served) log(_, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, line)
}

// logged returns the lines that contain what.
func (s *served) logged(what string) (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.logs {
		if strings.Contains(line, what) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (s *served) dial(config *tls.Config) (tls.ConnectionState, error) {
	config.InsecureSkipVerify = true // compared byte by byte instead
	conn, err := tls.Dial("tcp", s.addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	return conn.ConnectionState(), nil
}

// presents reports why a handshake does not end with the pair's certificate.
func (s *served) presents(p pair) error {
	state, err := s.dial(&tls.Config{})
	if err != nil {
		return err
	}
	if !bytes.Equal(state.PeerCertificates[0].Raw, p.der(s.t)) {
		return errors.New("another certificate is presented")
	}
	return nil
}

// metric returns the value of the metric and whether it is there.
func (s *served) metric(name string) (float64, bool) {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
		}
	}
	return 0, false
}

// failsAgain waits until the files have been read, and found bad, n more times.
func (s *served) failsAgain(n float64) {
	s.t.Helper()
	before, _ := s.metric(failuresMetric)
	s.await("more failures", func() error {
		if got, _ := s.metric(failuresMetric); got < before+n {
			return fmt.Errorf("%v failures, %v of them before", got, before)
		}
		return nil
	})
}

func (s *served) await(what string, condition func() error) {
	s.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(s.t.Context(), 5*time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) { last = condition(); return last == nil, nil })
	if err != nil {
		s.t.Fatalf("waiting for %s: %v; problem on disk: %v", what, last, s.Check(nil))
	}
}

// checks compares the readiness with the wanted message ("": ready); the
// message may name the volume's directory as DIR.
func (s *served) checks(want string) error {
	got := ""
	if err := s.Check(nil); err != nil {
		got = strings.ReplaceAll(err.Error(), s.volume.dir, "DIR")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return fmt.Errorf("readiness (-want +got):\n%s", diff)
	}
	return nil
}

func (s *served) awaitCheck(want string) {
	s.t.Helper()
	s.await("readiness", func() error { return s.checks(want) })
}

func (s *served) expires(want time.Time) {
	s.t.Helper()
	got, ok := s.metric(expiryMetric)
	if !ok || got != float64(want.Unix()) {
		s.t.Errorf("%s is %f (there: %t), want %d", expiryMetric, got, ok, want.Unix())
	}
}
