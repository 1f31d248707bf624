// Package certs is the webhook's serving certificate: loaded from the mounted
// Secret, reloaded when the Secret changes, judged for readiness, measured.
//
// What is served is the last pair that could be loaded, and readiness judges
// that pair alone. Files that break after a pair has been loaded do not make
// the webhook unready: it still answers every API server, and taking all
// replicas out of the Service for it would reject the pods of every namespace
// that opted in. They show in the log and in a metric instead, and in the
// readiness message once the served pair itself is no longer good.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// retryInterval is the time between attempts to load a first pair.
	retryInterval = time.Second
	// recheckInterval is the time between readings once a pair is loaded. A new
	// certificate comes long before the old one expires, and file events need an
	// inotify instance, of which a node may have none left.
	recheckInterval = 10 * time.Second
)

// Options configure a [Source].
type Options struct {
	// Dir holds tls.crt and tls.key, both PEM.
	Dir string
	// DNSName is what the API server calls the webhook (SERVICE.NAMESPACE.svc):
	// the certificate must cover it. Empty: not checked.
	DNSName string
	// ClientCAFile, if not empty, holds PEM certificates: a client has to present
	// a certificate that one of them has signed. It is read at each handshake, so
	// that it may be replaced.
	ClientCAFile string
	// Clock is what validity is judged by. Nil: time.Now.
	Clock func() time.Time
	// Registerer takes the Source's metrics; it must not know those of another
	// Source yet.
	Registerer prometheus.Registerer
}

// Source is a serving certificate that follows its files. Its methods may be
// called from any goroutine.
type Source struct {
	opts              Options
	certPath, keyPath string
	retry, recheck    time.Duration
	failures          prometheus.Counter

	mu      sync.RWMutex
	serving *tls.Certificate // nil until a first pair is loaded
	problem error            // of the latest reading; nil: it gave a pair
}

// NewSource returns a Source that has no certificate before [Source.Start] has
// loaded one, and registers its metrics.
func NewSource(opts Options) *Source {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	s := &Source{
		opts:     opts,
		certPath: filepath.Join(opts.Dir, certFile),
		keyPath:  filepath.Join(opts.Dir, keyFile),
		retry:    retryInterval,
		recheck:  recheckInterval,
		problem:  errors.New("its files have not been read yet"),
	}
	s.failures = newMetrics(opts.Registerer, s.leaf)
	return s
}

// TLSConfig returns a server's TLS options: TLS 1.2 or newer, HTTP/1.1, which
// is all that API servers speak to webhooks, and at each handshake the certificate
// that is loaded by then. As long as there is none, handshakes fail with the
// reason.
func (s *Source) TLSConfig() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		Time:       s.opts.Clock,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, problem := s.current()
			if cert == nil {
				return nil, noCertificate(problem)
			}
			return cert, nil
		},
	}
	if s.opts.ClientCAFile != "" {
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			pool, err := readPool(s.opts.ClientCAFile)
			if err != nil {
				return nil, fmt.Errorf("reading the client CA: %w", err)
			}
			demanding := config.Clone()
			demanding.ClientAuth, demanding.ClientCAs = tls.RequireAndVerifyClientCert, pool
			return demanding, nil
		}
	}
	return config
}

// Check is a readiness check: it fails as long as no certificate is loaded, and
// when the one being served has expired, is not valid yet or does not cover
// Options.DNSName. The error is one sentence that says which.
func (s *Source) Check(*http.Request) error {
	cert, problem := s.current()
	if cert == nil {
		return noCertificate(problem)
	}
	err := judge(cert.Leaf, s.opts.DNSName, s.opts.Clock())
	if err != nil && problem != nil {
		return fmt.Errorf("%w, and no other can be loaded: %w", err, problem)
	}
	return err
}

func noCertificate(problem error) error {
	return fmt.Errorf("no serving certificate is loaded: %w", problem)
}

// Start loads the certificate and reloads it when its files change, until ctx
// is done; then it returns nil. Files that are missing or broken are no error:
// it keeps trying, and logs once per change of what is wrong.
func (s *Source) Start(ctx context.Context) error {
	if wait.PollUntilContextCancel(ctx, s.retry, true, func(ctx context.Context) (bool, error) {
		return s.reload(ctx), nil
	}) != nil {
		return nil // ctx was done first
	}
	_ = wait.PollUntilContextCancel(ctx, s.recheck, false, func(ctx context.Context) (bool, error) {
		s.reload(ctx)
		return false, nil
	})
	return nil
}

// reload reads the files once and reports whether they gave a pair.
func (s *Source) reload(ctx context.Context) bool {
	problem := s.load()
	s.mu.Lock()
	previous := s.problem
	s.problem = problem
	s.mu.Unlock()

	logger := log.FromContext(ctx)
	switch {
	case problem != nil:
		s.failures.Inc()
		if previous == nil || previous.Error() != problem.Error() {
			logger.Error(problem, "Loading the serving certificate failed", "serving", s.leaf() != nil)
		}
	case previous != nil:
		leaf := s.leaf()
		logger.Info("Loaded the serving certificate", "notAfter", leaf.NotAfter, "dnsNames", leaf.DNSNames)
	}
	return problem == nil
}

// current returns the pair being served, if any, and what was wrong with the
// files when they were last read.
func (s *Source) current() (*tls.Certificate, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.serving, s.problem
}

func (s *Source) leaf() *x509.Certificate {
	if cert, _ := s.current(); cert != nil {
		return cert.Leaf
	}
	return nil
}
