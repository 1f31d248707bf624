package kube

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/certs/certmanager"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/timelimit"
)

// Release is the chart's release, and the namespace it is in.
const Release = "essential-containers"

// Names of the release's objects, as the chart makes them.
const (
	ReaperDeployment   = Release + "-reaper"
	WebhookDeployment  = Release + "-webhook"
	ServingCertificate = Release + "-webhook"
	// WebhookConfiguration, of both kinds, carries its namespace, since it has none.
	WebhookConfiguration = Release + "." + Release
	// PodsWebhook is the one for pods, in the configuration.
	PodsWebhook = "pods.webhook." + Release
)

// Install installs or upgrades the chart with the image, and returns when a
// labelled pod would be checked: helm waits for the Deployments, but neither for
// the certificate nor for its authority in the webhook's configuration. say is
// called with what is missing.
func (c *Cluster) Install(ctx context.Context, chart, image string, say func(string), values ...string) error {
	repository, tag, err := splitImage(image)
	if err != nil {
		return err
	}
	args := []string{"upgrade", "--install", Release, chart, "--namespace", Release, "--create-namespace", "--reset-values", "--wait", "--timeout", timelimit.Scaled(3 * time.Minute).String(),
		"--set", "image.repository=" + repository, "--set-string", "image.tag=" + tag}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	// Helm's wait can hide a certificate that is never issued: report what blocks it.
	waiting, cancel := context.WithTimeout(ctx, timelimit.Scaled(3*time.Minute))
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- c.awaitCertificate(waiting, say) }()
	if _, err := c.RunHelm(ctx, args...); err != nil {
		return err
	}
	if err := <-ready; err != nil {
		return err
	}
	if err := c.awaitBundle(ctx); err != nil {
		return err
	}
	return c.awaitAdmission(ctx)
}

// awaitAdmission waits until the API server reaches the webhook. Its Service
// takes a moment longer than its pods: every node's proxy has to learn of them.
func (c *Cluster) awaitAdmission(ctx context.Context) error {
	const namespace = Release + "-probe"
	if err := c.DeleteNamespace(ctx, namespace); err != nil { // an interrupted run's
		return err
	}
	if err := c.CreateNamespace(ctx, namespace, true); err != nil {
		return err
	}
	err := Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		pod := Pod(namespace, "probe", Template(corev1.RestartPolicyNever, new("main"), Main("true"), Sidecar("proxy")))
		err := c.Create(ctx, pod, client.DryRunAll)
		return err == nil && essential.IsTracked(pod), fmt.Sprintf("the webhook does not mark pods yet: %v", err)
	})
	return errors.Join(err, c.DeleteNamespace(ctx, namespace))
}

// awaitCertificate waits for the serving certificate and says what blocks it.
func (c *Cluster) awaitCertificate(ctx context.Context, say func(string)) error {
	key := types.NamespacedName{Namespace: Release, Name: ServingCertificate}
	_, err := certmanager.Wait(ctx, c, key, func(s certmanager.State) { say("certificate: " + s.Message) })
	return err
}

// awaitBundle waits until the API server is configured to trust the certificate that
// the webhook serves: an earlier installation's authority may still be there.
func (c *Cluster) awaitBundle(ctx context.Context) error {
	return Await(ctx, time.Minute, func(ctx context.Context) (bool, string) {
		if err := c.verifyBundle(ctx); err != nil {
			return false, "cert-manager has not put the certificate's authority into the webhook's configuration yet: " + err.Error()
		}
		return true, ""
	})
}

func (c *Cluster) verifyBundle(ctx context.Context) error {
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	if err := c.Get(ctx, client.ObjectKey{Name: WebhookConfiguration}, &configuration); err != nil {
		return err
	}
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: Release, Name: ServingCertificate + "-tls"}, &secret); err != nil {
		return err
	}
	block, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
	if block == nil {
		return fmt.Errorf("secret %s holds no certificate", secret.Name)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	var workloads admissionregistrationv1.ValidatingWebhookConfiguration
	if err := c.Get(ctx, client.ObjectKey{Name: WebhookConfiguration}, &workloads); client.IgnoreNotFound(err) != nil {
		return err
	}
	clients := map[string]admissionregistrationv1.WebhookClientConfig{}
	for _, w := range configuration.Webhooks {
		clients[w.Name] = w.ClientConfig
	}
	for _, w := range workloads.Webhooks { // none, if the check is switched off
		clients[w.Name] = w.ClientConfig
	}
	for name, config := range clients {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(config.CABundle)
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
			return fmt.Errorf("webhook %s: %w", name, err)
		}
	}
	return nil
}

// Uninstall removes the release.
func (c *Cluster) Uninstall(ctx context.Context) error {
	_, err := c.RunHelm(ctx, "uninstall", Release, "--namespace", Release, "--wait", "--timeout", timelimit.Scaled(2*time.Minute).String())
	return err
}

// splitImage takes an image's reference apart: a registry may have a port, so
// the tag begins at the last colon behind the last slash.
func splitImage(image string) (repository, tag string, err error) {
	colon := strings.LastIndex(image, ":")
	if colon <= strings.LastIndex(image, "/") || strings.Contains(image, "@") {
		return "", "", fmt.Errorf("image %q has no tag", image)
	}
	return image[:colon], image[colon+1:], nil
}
