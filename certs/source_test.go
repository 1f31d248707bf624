package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestSourceWaitsForItsFiles(t *testing.T) {
	p := cert().build(t)
	write := func(name string, content []byte) func(volume) {
		return func(v volume) { v.must(os.WriteFile(filepath.Join(v.dir, name), content, 0o600)) }
	}
	for name, tt := range map[string]struct {
		setup func(volume)
		clear func(volume)
		want  string
	}{
		"no file": {
			want: `no serving certificate is loaded: DIR/tls.crt is missing`},
		"no key": {
			setup: write(certFile, p.cert),
			clear: func(v volume) { v.must(os.Remove(filepath.Join(v.dir, certFile))) },
			want:  `no serving certificate is loaded: DIR/tls.key is missing`},
		"a certificate that cannot be read": {
			setup: func(v volume) { v.must(os.Mkdir(filepath.Join(v.dir, certFile), 0o700)) },
			clear: func(v volume) { v.must(os.Remove(filepath.Join(v.dir, certFile))) },
			want:  `no serving certificate is loaded: reading serving certificate: read DIR/tls.crt: is a directory`},
		"a key of another certificate": {
			setup: func(v volume) { v.publish(pair{p.cert, cert().build(t).key}) },
			want:  `no serving certificate is loaded: loading tls.crt with tls.key: tls: private key does not match public key`},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tt.setup)
			s.awaitCheck(tt.want)
			if err := s.presents(p); err == nil {
				t.Error("a handshake succeeded without a certificate")
			}
			if _, err := s.TLSConfig().GetCertificate(nil); err == nil || err.Error() != s.Check(nil).Error() {
				t.Errorf("GetCertificate says %v, readiness %v", err, s.Check(nil))
			}
			if _, ok := s.metric(expiryMetric); ok {
				t.Error("there is an expiry without a certificate")
			}
			s.failsAgain(3)
			if lines := s.logged("Loading the serving certificate failed"); len(lines) != 1 {
				t.Errorf("logged %d times, want once:\n%s", len(lines), strings.Join(lines, "\n"))
			}

			if tt.clear != nil {
				tt.clear(s.volume)
			}
			s.volume.publish(p)
			s.await("the certificate to be served", func() error { return s.presents(p) })
			s.awaitCheck("")
			s.await("one log line", func() error {
				if lines := s.logged("Loaded the serving certificate"); len(lines) != 1 {
					return fmt.Errorf("logged %d times: %q", len(lines), lines)
				}
				return nil
			})
		})
	}
}

func TestSourceServesTheRenewedCertificate(t *testing.T) {
	first := cert().build(t)
	renewed := cert().valid(now, now.Add(48*time.Hour)).build(t)
	s := serve(t, func(v volume) { v.publish(first) })
	s.await("the first certificate", func() error { return s.presents(first) })
	s.expires(now.Add(23 * time.Hour))

	s.volume.publish(renewed)
	s.await("the renewed certificate", func() error { return s.presents(renewed) })
	s.expires(now.Add(48 * time.Hour))
	s.awaitCheck("")
}

func TestSourceKeepsServingWhenItsFilesBreak(t *testing.T) {
	for name, breakFiles := range map[string]struct {
		do   func(t *testing.T, v volume, p pair)
		want string
	}{
		"the key is another certificate's": {
			do:   func(t *testing.T, v volume, p pair) { v.publish(pair{p.cert, cert().build(t).key}) },
			want: `loading tls.crt with tls.key: tls: private key does not match public key`},
		"the files are gone": {
			do:   func(_ *testing.T, v volume, _ pair) { v.empty() },
			want: `DIR/tls.crt is missing`},
	} {
		t.Run(name, func(t *testing.T) {
			p := cert().build(t)
			s := serve(t, func(v volume) { v.publish(p) })
			s.await("the certificate", func() error { return s.presents(p) })

			breakFiles.do(t, s.volume, p)
			s.failsAgain(3)
			if err := s.presents(p); err != nil {
				t.Error(err)
			}
			if err := s.checks(""); err != nil {
				t.Error(err)
			}
			s.expires(now.Add(23 * time.Hour))
			if lines := s.logged("Loading the serving certificate failed"); len(lines) != 1 {
				t.Errorf("logged %d times, want once:\n%s", len(lines), strings.Join(lines, "\n"))
			}

			later := now.Add(24 * time.Hour)
			s.now.Store(&later)
			s.awaitCheck("certificate expired at 2026-03-02T11:00:00Z, and no other can be loaded: " + breakFiles.want)

			renewed := cert().valid(now, later.Add(time.Hour)).build(t)
			s.volume.publish(renewed)
			s.await("the renewed certificate", func() error { return s.presents(renewed) })
			s.awaitCheck("")
		})
	}
}

func TestSourceIsNotReadyWhileItServesABadCertificate(t *testing.T) {
	s := serve(t, func(v volume) { v.publish(cert().dnsNames("elsewhere.svc").build(t)) })
	s.awaitCheck(`certificate does not cover "webhook.system.svc": it has "elsewhere.svc"`)
}

func TestSourceNegotiates(t *testing.T) {
	t.Setenv("GODEBUG", "tls10server=1") // what Go refuses by default must be refused without it
	p := cert().build(t)
	s := serve(t, func(v volume) { v.publish(p) })
	s.await("the certificate", func() error { return s.presents(p) })

	for name, tt := range map[string]struct {
		client   *tls.Config
		version  uint16 // 0: refused
		protocol string
	}{
		"TLS 1.1 is refused": {
			client: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}},
		"TLS 1.2 is spoken": {
			client: &tls.Config{MaxVersion: tls.VersionTLS12}, version: tls.VersionTLS12},
		"TLS 1.3 is preferred": {
			client: &tls.Config{}, version: tls.VersionTLS13},
		"HTTP/2 is not spoken": {
			client: &tls.Config{NextProtos: []string{"h2"}}},
		"HTTP/1.1 is chosen": {
			client:  &tls.Config{NextProtos: []string{"h2", "http/1.1"}},
			version: tls.VersionTLS13, protocol: "http/1.1"},
		"HTTP/1.1 is spoken": {
			client:  &tls.Config{NextProtos: []string{"http/1.1"}},
			version: tls.VersionTLS13, protocol: "http/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			state, err := s.dial(tt.client)
			if refused := err != nil; refused != (tt.version == 0) {
				t.Fatalf("dialing: %v", err)
			}
			if state.Version != tt.version || state.NegotiatedProtocol != tt.protocol {
				t.Errorf("negotiated %s and %q", tls.VersionName(state.Version), state.NegotiatedProtocol)
			}
		})
	}
}

// Who has no certificate of the client CA is refused, also when that is replaced.
func TestSourceDemandsAClientCertificate(t *testing.T) {
	own, ca, other := cert().build(t), cert().client().build(t), cert().client().build(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	s := serveWith(t, Options{ClientCAFile: file}, func(v volume) { v.publish(own) })
	s.await("the certificate", func() error { return s.state.Load().problem })
	for _, step := range []struct {
		sentence string
		trusted  []byte // content of the file
		presents *pair
		refused  bool
	}{
		{"the file is missing", nil, &ca, true},
		{"the file has no certificate", []byte("none"), &ca, true},
		{"a trusted certificate", ca.cert, &ca, false},
		{"no certificate", ca.cert, nil, true},
		{"the certificate of another CA", ca.cert, &other, true},
		{"another CA is trusted by now", other.cert, &other, false},
		{"and the first one is no more", other.cert, &ca, true},
	} {
		if step.trusted != nil {
			if err := os.WriteFile(file, step.trusted, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		client := &tls.Config{MaxVersion: tls.VersionTLS12} // in which a refusal ends the handshake
		if step.presents != nil {
			presented, err := tls.X509KeyPair(step.presents.cert, step.presents.key)
			if err != nil {
				t.Fatal(err)
			}
			// Whatever issuers the server names: it must judge by itself.
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &presented, nil }
		}
		if _, err := s.dial(client); (err != nil) != step.refused {
			t.Errorf("%s: %v", step.sentence, err)
		}
	}
}

func TestSourceEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := NewSource(Options{Dir: t.TempDir(), Registerer: prometheus.NewRegistry()})
	if err := s.Start(ctx); err != nil {
		t.Errorf("Start: %v", err)
	}
}

func TestSourceJudgesByTheRealClockByDefault(t *testing.T) {
	v := newVolume(t)
	v.publish(cert().valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)).build(t))
	s := NewSource(Options{Dir: v.dir, Registerer: prometheus.NewRegistry()})
	s.reload(t.Context())
	if err := s.Check(nil); err == nil || !strings.Contains(err.Error(), "certificate expired") {
		t.Errorf("readiness: %v, want expired", err)
	}

	v.publish(cert().valid(time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour)).build(t))
	s.reload(t.Context())
	if err := s.Check(nil); err != nil {
		t.Errorf("readiness: %v", err)
	}
}
