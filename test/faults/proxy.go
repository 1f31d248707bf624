package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// trouble is what the proxy makes of one request to the API server. The zero
// value is none.
type trouble int

const (
	none        trouble = iota
	held                // carried out late
	late                // carried out at once, and answered late
	throttled           // 429 with Retry-After
	broken              // 500
	unavailable         // 503
	cut                 // the connection ends in the middle of the answer
	lost                // the connection ends before the answer to what was carried out
)

func (t trouble) String() string {
	return [...]string{"passed", "held up", "answered late", "refused with 429", "refused with 500", "refused with 503", "cut off in the middle of the answer", "carried out with the answer lost"}[t]
}

// The odds of a request during a fault.
var (
	slow    = []trouble{none, held, held, late, late}
	failing = []trouble{none, none, none, throttled, broken, unavailable, cut, lost}
)

// longest bounds a delay: the reaper waits 5 s for its Lease.
const longest = 7 * time.Second

// silent is for servers whose clients give up all the time.
var silent = log.New(io.Discard, "", 0)

// proxy stands between the reaper and the API server and makes trouble.
type proxy struct {
	forward http.Handler
	odds    []trouble

	mu    sync.Mutex
	rand  *rand.Rand
	count map[trouble]int
}

func newProxy(target *url.URL, transport http.RoundTripper, odds []trouble, r *rand.Rand) *proxy {
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorLog:      silent,
	}
	return &proxy{forward: forward, odds: odds, rand: r, count: map[trouble]int{}}
}

// draw decides about the next request.
func (p *proxy) draw() (t trouble, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t = p.odds[p.rand.IntN(len(p.odds))]
	p.count[t]++
	return t, time.Duration(p.rand.Int64N(int64(longest)))
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, delay := p.draw()
	if r.URL.Query().Has("watch") && (t == late || t == cut || t == lost) {
		ctx, cancel := context.WithTimeout(r.Context(), delay)
		defer cancel()
		p.forward.ServeHTTP(w, r.WithContext(ctx)) // breaks off with its context
		return
	}
	switch t {
	case none:
		p.forward.ServeHTTP(w, r)
	case held:
		wait(r.Context(), delay)
		p.forward.ServeHTTP(w, r)
	case throttled:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the proxy refuses that", http.StatusTooManyRequests)
	case broken:
		http.Error(w, "the proxy refuses that", http.StatusInternalServerError)
	case unavailable:
		http.Error(w, "the proxy refuses that", http.StatusServiceUnavailable)
	case late, cut, lost:
		p.carryOut(w, r, t, delay)
	}
}

// carryOut has the API server carry the request out, whatever its client does,
// before there is trouble with the answer.
func (p *proxy) carryOut(w http.ResponseWriter, r *http.Request, t trouble, delay time.Duration) {
	answer := httptest.NewRecorder()
	p.forward.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
	body := answer.Body.Bytes()
	switch t {
	case lost:
		disconnect(r)
	case cut:
		answer.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	case late:
		wait(r.Context(), delay)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
	if t == cut {
		_ = http.NewResponseController(w).Flush()
		disconnect(r)
	}
}

func wait(ctx context.Context, delay time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(delay):
	}
}

// connectionKey is the context's key of the connection that a request came by.
type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// disconnect ends the connection, with all else that goes through it, and the
// handler.
func disconnect(r *http.Request) {
	if connection, ok := r.Context().Value(connectionKey{}).(net.Conn); ok {
		_ = connection.Close()
	}
	panic(http.ErrAbortHandler)
}

// serve answers on the listener until it is closed.
func (p *proxy) serve(listener net.Listener, certificate tls.Certificate) *http.Server {
	server := &http.Server{
		Handler:           p,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          silent,
		ConnContext:       withConnection,
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	return server
}

// throughProxy has all that both reapers ask go through a proxy, as long as do
// runs. Their pods notice nothing: the node sends their packets elsewhere.
func (w *world) throughProxy(ctx context.Context, odds []trouble, r *rand.Rand, do func()) error {
	pods, err := w.running(ctx, "reaper")
	if err != nil {
		return err
	}
	pki := filepath.Join(w.cluster.State(), "pki")
	certificate, err := tls.LoadX509KeyPair(filepath.Join(pki, "apiserver.crt"), filepath.Join(pki, "apiserver.key"))
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{DialContext: w.cluster.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()

	node := pods[0].Status.HostIP
	listener, err := w.cluster.Listen(net.JoinHostPort(node, "0"))
	if err != nil {
		return err
	}
	p := newProxy(&url.URL{Scheme: "https", Host: "127.0.0.1:6443"}, transport, odds, rand.New(rand.NewPCG(r.Uint64(), 0)))
	server := p.serve(listener, certificate)
	from := addresses(pods)
	if err := w.redirect(listener.Addr().String(), from); err != nil {
		return errors.Join(err, server.Close())
	}
	err = w.reset(from)
	do()
	err = errors.Join(err, w.open(), server.Close())
	return errors.Join(err, w.note(p))
}

// note adds what the proxy did to what is reported.
func (w *world) note(p *proxy) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t, n := range p.count {
		w.troubles[t] += n
	}
	if len(p.count) == 0 {
		return errors.New("nobody asked the proxy")
	}
	return nil
}
