package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
)

const (
	// requestTimeout bounds the reading of a request, and the answer to it. The
	// API server gives up after the webhook's timeoutSeconds, 5 s by default.
	requestTimeout = 10 * time.Second

	// idleTimeout is for how long an unused connection is kept. It is longer than
	// the 90 s after which the API server closes one itself, so that none is
	// closed here while a request is on its way.
	idleTimeout = 2 * time.Minute
)

// listeners are what the servers accept from; metrics may be nil.
type listeners struct{ admission, health, metrics net.Listener }

// listen binds every address before anything is served: one that is taken must
// not show only after the process has said that it is ready.
func listen(opts Options) (l listeners, err error) {
	for _, b := range []struct {
		flag, address string
		listener      *net.Listener
	}{
		{bindAddressFlag, opts.BindAddress, &l.admission},
		{healthProbeBindAddressFlag, opts.HealthProbeBindAddress, &l.health},
		{metricsBindAddressFlag, opts.MetricsBindAddress, &l.metrics},
	} {
		if b.address == disabled {
			continue
		}
		if *b.listener, err = net.Listen("tcp", b.address); err != nil {
			l.close()
			return listeners{}, fmt.Errorf("listening on --%s %s: %w", b.flag, b.address, err)
		}
	}
	return l, nil
}

func (l listeners) close() {
	for _, listener := range []net.Listener{l.admission, l.health, l.metrics} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}

// newServer returns a server of the handlers by path. Their requests' contexts
// have the values of ctx, its logger among them, but do not end with it.
func newServer(ctx context.Context, handlers map[string]http.Handler) *http.Server {
	mux := http.NewServeMux()
	for path, handler := range handlers {
		mux.Handle(path, handler)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           mux,
		Protocols:         protocols,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:          slog.NewLogLogger(logr.ToSlogHandler(logr.FromContextOrDiscard(ctx)), slog.LevelInfo),
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
	}
}

// ended returns why a server ended, nil if it was shut down.
func ended(name string, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving %s: %w", name, err)
}
