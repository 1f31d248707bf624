package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/essential-containers/essential-containers/certs"
)

// drainTimeout bounds how long the end waits for requests under way.
const drainTimeout = 10 * time.Second

// Run serves admission, health and metrics until ctx is done: then it is no
// longer ready at once, keeps serving for opts.ShutdownDelay, each connection
// once more, finishes the requests under way and returns nil. It returns an error for options that are
// not valid, an address that cannot be bound, and a server that fails.
//
// It logs to the logger of ctx.
func Run(ctx context.Context, opts Options) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	l, err := listen(opts)
	if err != nil {
		return err
	}
	return serve(ctx, opts, l, time.After)
}

// serve is [Run] on addresses that are bound. The shutdown delay ends when the
// channel that after returns does.
func serve(ctx context.Context, opts Options, l listeners, after func(time.Duration) <-chan time.Time) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	source := certs.NewSource(certs.Options{Dir: opts.CertDir, DNSName: opts.DNSName, ClientCAFile: opts.ClientCAFile, Registerer: registry})
	ready := &readiness{certificate: source.Check}

	admission := newServer(ctx, NewHandlers(registry, opts.Defaults))
	admission.TLSConfig = source.TLSConfig()
	admission.Handler = ready.lastAnswers(admission.Handler)
	health := newServer(ctx, map[string]http.Handler{"/healthz": http.HandlerFunc(ok), "/readyz": ready})
	metrics := newServer(ctx, map[string]http.Handler{"/metrics": promhttp.HandlerFor(registry, promhttp.HandlerOpts{})})

	// Not ctx: what arrives during the shutdown is served like anything before.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, serving := errgroup.WithContext(serving)
	group.Go(func() error { return source.Start(serving) })
	group.Go(func() error { return ended("admission", admission.ServeTLS(l.admission, "", "")) })
	group.Go(func() error { return ended("health", health.Serve(l.health)) })
	if l.metrics != nil {
		group.Go(func() error { return ended("metrics", metrics.Serve(l.metrics)) })
	}
	group.Go(func() error {
		defer stop()
		select {
		case <-ctx.Done():
			ready.shutDown()
			logr.FromContextOrDiscard(ctx).Info("Shutting down", "delay", opts.ShutdownDelay.String())
			select {
			case <-after(opts.ShutdownDelay):
			case <-serving.Done():
			}
		case <-serving.Done(): // one of the servers has failed
		}
		return shutDown(ctx, admission, health, metrics)
	})
	return group.Wait()
}

// shutDown lets each server finish the requests under way, one after the other:
// the probes are answered until admission has ended.
func shutDown(ctx context.Context, servers ...*http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	var errs []error
	for _, server := range servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("waiting for requests under way: %w", err))
		}
	}
	return errors.Join(errs...)
}
