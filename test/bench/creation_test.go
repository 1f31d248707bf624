package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestAskedHandlersAreCounted(t *testing.T) {
	const metrics = `# HELP apiserver_admission_webhook_request_total counts
apiserver_admission_webhook_request_total{code="200",name="webhook.bench.essential-containers",operation="CREATE",rejected="false",type="admit"} 3
apiserver_admission_webhook_request_total{code="500",name="webhook.bench.essential-containers",operation="CREATE",rejected="true",type="admit"} 1
apiserver_admission_webhook_request_total{code="200",name="baseline.bench.essential-containers",operation="CREATE",rejected="false",type="admit"} 1.2e+01
apiserver_admission_webhook_request_total{code="200",name="pods.webhook.essential-containers",operation="CREATE",rejected="false",type="admit"} 9
apiserver_admission_webhook_admission_duration_seconds_count{name="webhook.bench.essential-containers"} 7
`
	got, err := parseAsked(metrics)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[handler]float64{webhookHandler: 4, baselineHandler: 12}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOneHandlerIsAskedAboutAPod(t *testing.T) {
	c := newRegistration(map[handler]string{webhookHandler: "https://a", baselineHandler: "https://b"}, nil)
	for of, url := range map[handler]string{webhookHandler: "https://a", baselineHandler: "https://b", noHandler: ""} {
		var urls []string
		for _, w := range c.Webhooks {
			selector, err := metav1.LabelSelectorAsSelector(w.ObjectSelector)
			if err != nil {
				t.Fatal(err)
			}
			if selector.Matches(labels.Set(labelledPod("p", of).Labels)) {
				urls = append(urls, *w.ClientConfig.URL)
			}
		}
		var want []string
		if url != "" {
			want = []string{url}
		}
		if diff := cmp.Diff(want, urls); diff != "" {
			t.Errorf("%s (-want +got):\n%s", of, diff)
		}
		if p := labelledPod("p", of); essential.Tracked(p) {
			t.Errorf("%s: the pod is tracked before the webhook has been asked", of)
		}
	}
}

// The baseline serves as the webhook does: with the certificate that the API
// server is told to trust.
func TestBaseline(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "tls")
	bundle, err := writeCertificate(folder)
	if err != nil {
		t.Fatal(err)
	}
	var address, health string
	if err := freeAddresses(&address, &health); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- allowServer(ctx, []string{"--bind-address=" + address, "--health-probe-bind-address=" + health, "--cert-dir=" + folder})
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
	body, err := reviewOf(4 << 10)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the baseline answers", func() bool {
		_, err := post(ctx, client, "https://"+address+allowPath, body)
		return err == nil
	})
	client.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the baseline ended with %v", err)
	}
}
