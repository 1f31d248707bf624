package chart

import (
	"slices"
	"strings"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/webhook"
)

// The mutating webhooks: for new pods, and for the status of pods.
const (
	podsWebhook     = "pods.webhook.essential-containers"
	statusesWebhook = "statuses.webhook.essential-containers"
)

// mutatingWebhook returns one of the two webhooks of the configuration.
func mutatingWebhook(t *testing.T, objects []client.Object, name string) admissionv1.MutatingWebhook {
	t.Helper()
	webhooks := only[*admissionv1.MutatingWebhookConfiguration](t, objects).Webhooks
	i := slices.IndexFunc(webhooks, func(w admissionv1.MutatingWebhook) bool { return w.Name == name })
	if i < 0 || len(webhooks) != 2 {
		t.Fatalf("want %s and %s, have %+v", podsWebhook, statusesWebhook, webhooks)
	}
	return webhooks[i]
}

// validatingWebhooks returns the webhook for workloads, if there is one.
func validatingWebhooks(objects []client.Object) (webhooks []admissionv1.ValidatingWebhook) {
	for _, configuration := range all[*admissionv1.ValidatingWebhookConfiguration](objects) {
		webhooks = append(webhooks, configuration.Webhooks...)
	}
	return webhooks
}

// API servers call paths that the webhook serves, at a host for which it has a
// certificate and checks it, and trust the CA of that certificate.
func TestAPIServersReachTheWebhook(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		tls := deployment(t, objects, "webhook").Spec.Template.Spec.Volumes[0].Secret.SecretName
		serving := named[*certmanager.Certificate](t, objects, strings.TrimSuffix(tls, "-tls"))
		if serving.Spec.SecretName != tls {
			t.Errorf("the certificate is in the Secret %s, the webhook mounts %s", serving.Spec.SecretName, tls)
		}
		configurations := []metav1.Object{only[*admissionv1.MutatingWebhookConfiguration](t, objects)}
		clients := map[string]admissionv1.WebhookClientConfig{
			webhook.PodsPath:     mutatingWebhook(t, objects, podsWebhook).ClientConfig,
			webhook.StatusesPath: mutatingWebhook(t, objects, statusesWebhook).ClientConfig,
		}
		for _, w := range validatingWebhooks(objects) {
			clients[webhook.WorkloadsPath] = w.ClientConfig
			configurations = append(configurations, only[*admissionv1.ValidatingWebhookConfiguration](t, objects))
		}
		for _, configuration := range configurations {
			want := map[string]string{certmanager.WantInjectAnnotation: namespace + "/" + serving.Name}
			if diff := cmp.Diff(want, configuration.GetAnnotations()); diff != "" {
				t.Errorf("annotations of the %T (-want +got):\n%s", configuration, diff)
			}
		}
		checked := flags(t, objects, "webhook")["dns-name"]
		for path, config := range clients {
			if *config.Service.Path != path {
				t.Errorf("API servers call %s in place of %s", *config.Service.Path, path)
			}
			if config.CABundle != nil {
				t.Error("the CA bundle, which cert-manager owns, is set")
			}
			host := config.Service.Name + "." + config.Service.Namespace + ".svc"
			if !slices.Contains(serving.Spec.DNSNames, host) || checked != host {
				t.Errorf("API servers call %s, the certificate is for %q, and the webhook checks for %s", host, serving.Spec.DNSNames, checked)
			}
		}
	})
}

// A serving certificate gets the renewed CA at its own renewal. Until then, API servers
// know only the old CA, which must not expire.
func TestCAOutlivesItsCertificates(t *testing.T) {
	certificates := all[*certmanager.Certificate](render(t))
	ca, serving := certificates["essential-containers-ca"].Spec, certificates["essential-containers-webhook"].Spec
	if ca.RenewBefore.Duration <= serving.Duration.Duration {
		t.Errorf("the CA is renewed %s before its expiry, certificates are valid for %s", ca.RenewBefore.Duration, serving.Duration.Duration)
	}
}

// No value limits the verdict to some namespaces, or lets a pod end without it.
func TestVerdictFailsClosed(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		w := mutatingWebhook(t, objects, statusesWebhook)
		if w.FailurePolicy == nil || *w.FailurePolicy != admissionv1.Fail || w.NamespaceSelector != nil {
			t.Errorf("the failure policy is %v, the selector of namespaces %v", w.FailurePolicy, w.NamespaceSelector)
		}
	})
}

// The webhooks see pods with the label alone. The chart's own pods have none: they are
// created before a webhook answers.
func TestWebhooksSeeLabelledPods(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		for _, name := range []string{podsWebhook, statusesWebhook} {
			selector, err := metav1.LabelSelectorAsSelector(mutatingWebhook(t, objects, name).ObjectSelector)
			if err != nil {
				t.Fatal(err)
			}
			if !selector.Matches(labels.Set{api.Label: "main"}) {
				t.Errorf("%s does not see labelled pods", name)
			}
			for _, component := range components {
				if selector.Matches(labels.Set(deployment(t, objects, component).Spec.Template.Labels)) {
					t.Errorf("%s sees the pods of the %s", name, component)
				}
			}
		}
	})
}
