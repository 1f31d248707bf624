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
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	opts           Options
	retry, recheck time.Duration
	failures       prometheus.Counter
	state          atomic.Pointer[state]
}

// state is the result of the latest reading of the files.
type state struct {
	serving *tls.Certificate // nil until a first pair is loaded
	problem error            // nil: the files held a pair
}

// NewSource returns a Source that has no certificate before [Source.Start] has
// loaded one, and registers its metrics.
func NewSource(opts Options) *Source {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	s := &Source{opts: opts, retry: retryInterval, recheck: recheckInterval}
	s.state.Store(&state{problem: errors.New("its files have not been read yet")})
	s.failures = newMetrics(opts.Registerer, s.state.Load)
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
			now := s.state.Load()
			if now.serving == nil {
				return nil, noCertificate(now.problem)
			}
			return now.serving, nil
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
	now := s.state.Load()
	if now.serving == nil {
		return noCertificate(now.problem)
	}
	err := judge(now.serving.Leaf, s.opts.DNSName, s.opts.Clock())
	if err != nil && now.problem != nil {
		return fmt.Errorf("%w, and no other can be loaded: %w", err, now.problem)
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
	for {
		s.reload(ctx)
		interval := s.recheck
		if s.state.Load().serving == nil {
			interval = s.retry
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil
		}
	}
}

// reload reads the files once. It has one caller at a time.
func (s *Source) reload(ctx context.Context) {
	logger, previous := log.FromContext(ctx), s.state.Load()
	pair, err := s.read()
	if err != nil {
		pair, err = s.read() // the pair may have been replaced between the reading of one file and the other
	}
	if err != nil {
		s.failures.Inc()
		s.state.Store(&state{previous.serving, err})
		if previous.problem == nil || previous.problem.Error() != err.Error() {
			logger.Error(err, "Loading the serving certificate failed", "serving", previous.serving != nil)
		}
		return
	}
	s.state.Store(&state{serving: pair})
	if previous.problem != nil {
		logger.Info("Loaded the serving certificate", "notAfter", pair.Leaf.NotAfter, "dnsNames", pair.Leaf.DNSNames)
	}
}

func (s *Source) read() (*tls.Certificate, error) {
	certPEM, err := readFile(filepath.Join(s.opts.Dir, certFile))
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(filepath.Join(s.opts.Dir, keyFile))
	if err != nil {
		return nil, err
	}
	return parse(certPEM, keyPEM)
}

func readFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading serving certificate: %w", err) // names the path
	}
	return content, nil
}

// readPool reads the certificates of a PEM file.
func readPool(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err // names the path
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	return pool, nil
}
