package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestOneHandlerIsAskedAboutAPod(t *testing.T) {
	labelled := &admissionregistrationv1.MutatingWebhook{ObjectSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: api.Label, Operator: metav1.LabelSelectorOpExists}},
	}}
	c := newRegistration(labelled, map[handler]string{webhookHandler: "https://a", baselineHandler: "https://b"}, nil)
	if len(labelled.ObjectSelector.MatchLabels) > 0 {
		t.Errorf("the chart's own is changed: %v", labelled.ObjectSelector)
	}
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
		if p := labelledPod("p", of); essential.IsTracked(p) {
			t.Errorf("%s: the pod is tracked before the webhook has been asked", of)
		}
	}
}

// The baseline serves as the webhook does: with the certificate that the API
// server is configured to trust.
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
