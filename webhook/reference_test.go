package webhook

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/essential-containers/essential-containers/certs"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/reference"
)

func TestReferenceListsTheMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	NewHandlers(registry, essential.DefaultPolicies())
	folder := t.TempDir()
	writeCertificate(t, folder, "webhook.apps.svc") // without one there is no expiry
	source := certs.NewSource(certs.Options{Dir: folder, Registerer: registry})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- source.Start(ctx) }()
	eventually(t, func() error { return source.Check(nil) })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	reference.Table(t, "### Webhook", reference.Metrics(t, registry))
}
