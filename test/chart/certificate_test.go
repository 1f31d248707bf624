package chart

import (
	"slices"
	"strings"
	"testing"
	"time"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// servingCertificate returns the Certificate whose Secret the webhook mounts.
func servingCertificate(t *testing.T, objects []object) *certmanager.Certificate {
	t.Helper()
	secret := deployment(t, objects, "webhook").Spec.Template.Spec.Volumes[0].Secret.SecretName
	return certificateOf(t, objects, secret)
}

// certificateOf returns the one Certificate that is kept in the Secret.
func certificateOf(t *testing.T, objects []object, secret string) *certmanager.Certificate {
	t.Helper()
	var found []*certmanager.Certificate
	for _, c := range all[*certmanager.Certificate](objects) {
		if c.Spec.SecretName == secret {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		t.Fatalf("want one Certificate kept in the Secret %s, have %d", secret, len(found))
	}
	return found[0]
}

// What the API server calls, what it trusts, what the certificate says and what
// the webhook's readiness checks are one and the same.
func TestCertificateFitsTheWebhook(t *testing.T) {
	for name, args := range map[string][]string{
		"the defaults":            nil,
		"a start of names":        {"--set", "fullnameOverride=ec"},
		"an issuer of the user's": {"--set", "certificate.issuerRef.name=corporate"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, args...)
			serving := servingCertificate(t, objects)

			want := map[string]string{certmanager.WantInjectAnnotation: namespace + "/" + serving.Name}
			for _, configuration := range []metav1.Object{
				only[*admissionv1.MutatingWebhookConfiguration](t, objects),
				only[*admissionv1.ValidatingWebhookConfiguration](t, objects),
			} {
				if diff := cmp.Diff(want, configuration.GetAnnotations()); diff != "" {
					t.Errorf("annotations of the %T (-want +got):\n%s", configuration, diff)
				}
			}
			checked := flags(t, container(t, objects, "webhook").Args)["dns-name"]
			for _, called := range []*admissionv1.ServiceReference{
				mutatingWebhook(t, objects, podsWebhook).ClientConfig.Service,
				mutatingWebhook(t, objects, statusesWebhook).ClientConfig.Service,
				validatingWebhook(t, objects).ClientConfig.Service,
			} {
				host := called.Name + "." + called.Namespace + ".svc"
				if !slices.Contains(serving.Spec.DNSNames, host) {
					t.Errorf("the API server calls %s, the certificate is for %s", host, strings.Join(serving.Spec.DNSNames, ", "))
				}
				if checked != host {
					t.Errorf("the API server calls %s, readiness checks for %s", host, checked)
				}
			}
		})
	}
}

func TestServingCertificate(t *testing.T) {
	defaults := certmanager.CertificateSpec{
		SecretName:  "essential-containers-webhook-tls",
		Duration:    &metav1.Duration{Duration: 2160 * time.Hour},
		RenewBefore: &metav1.Duration{Duration: 720 * time.Hour},
		PrivateKey: &certmanager.CertificatePrivateKey{
			Algorithm:      certmanager.ECDSAKeyAlgorithm,
			Size:           256,
			RotationPolicy: certmanager.RotationPolicyAlways,
		},
		Usages: []certmanager.KeyUsage{certmanager.UsageDigitalSignature, certmanager.UsageServerAuth},
		DNSNames: []string{
			"essential-containers-webhook.apps.svc",
			"essential-containers-webhook.apps.svc.cluster.local",
			"essential-containers-webhook.apps",
		},
		IssuerRef: cmmeta.IssuerReference{Group: "cert-manager.io", Kind: "Issuer", Name: "essential-containers-ca"},
	}
	for name, test := range map[string]struct {
		set    string
		change func(*certmanager.CertificateSpec)
	}{
		"the defaults": {change: func(*certmanager.CertificateSpec) {}},
		"an issuer of the user's": {
			set: "certificate.issuerRef.name=corporate",
			change: func(s *certmanager.CertificateSpec) {
				s.IssuerRef.Name = "corporate"
			},
		},
		"an issuer of another kind": {
			set: "certificate.issuerRef.name=corporate,certificate.issuerRef.kind=Vault,certificate.issuerRef.group=example.com",
			change: func(s *certmanager.CertificateSpec) {
				s.IssuerRef = cmmeta.IssuerReference{Group: "example.com", Kind: "Vault", Name: "corporate"}
			},
		},
		"a renewal every ten seconds": {
			set: "certificate.duration=1h,certificate.renewBefore=59m50s",
			change: func(s *certmanager.CertificateSpec) {
				s.Duration.Duration, s.RenewBefore.Duration = time.Hour, time.Hour-10*time.Second
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaults.DeepCopy()
			test.change(want)
			got := servingCertificate(t, render(t, "--set", test.set)).Spec
			if diff := cmp.Diff(*want, got); diff != "" {
				t.Errorf("certificate (-want +got):\n%s", diff)
			}
		})
	}
}

// API servers trust the authority, not the serving certificate, so that a
// renewal of the latter changes nothing for them.
func TestAuthority(t *testing.T) {
	objects := render(t, "--set", "certificate.ca.duration=48h,certificate.ca.renewBefore=24h")
	serving := servingCertificate(t, objects)
	signer := named[*certmanager.Issuer](t, objects, serving.Spec.IssuerRef.Name)
	if signer.Spec.CA == nil {
		t.Fatalf("the serving certificate is issued by %+v", signer.Spec)
	}
	authority := certificateOf(t, objects, signer.Spec.CA.SecretName)
	want := certmanager.CertificateSpec{
		SecretName:  "essential-containers-ca",
		IsCA:        true,
		CommonName:  "essential-containers-ca",
		Duration:    &metav1.Duration{Duration: 48 * time.Hour},
		RenewBefore: &metav1.Duration{Duration: 24 * time.Hour},
		PrivateKey: &certmanager.CertificatePrivateKey{
			Algorithm:      certmanager.ECDSAKeyAlgorithm,
			Size:           256,
			RotationPolicy: certmanager.RotationPolicyNever,
		},
		Usages: []certmanager.KeyUsage{certmanager.UsageCertSign},
	}
	if diff := cmp.Diff(want, authority.Spec, cmpopts.IgnoreFields(want, "IssuerRef")); diff != "" {
		t.Errorf("authority (-want +got):\n%s", diff)
	}
	if root := named[*certmanager.Issuer](t, objects, authority.Spec.IssuerRef.Name); root.Spec.SelfSigned == nil {
		t.Errorf("the authority is issued by %+v, want itself", root.Spec)
	}
}

// A serving certificate takes the renewed authority along at its own renewal:
// until then API servers know the old authority only, which must not expire.
func TestAuthorityOutlivesWhatItSigned(t *testing.T) {
	objects := render(t)
	serving := servingCertificate(t, objects).Spec
	authority := certificateOf(t, objects, named[*certmanager.Issuer](t, objects, serving.IssuerRef.Name).Spec.CA.SecretName).Spec
	if authority.RenewBefore.Duration <= serving.Duration.Duration {
		t.Errorf("the authority is renewed %s before its end, certificates are valid for %s", authority.RenewBefore.Duration, serving.Duration.Duration)
	}
}
