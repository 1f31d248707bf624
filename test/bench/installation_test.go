package main

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

const manifests = `---
# Source: templates/webhook-configuration.yaml
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: bench
webhooks:
  - name: pods.webhook.essential-containers
    clientConfig: {service: {name: webhook, namespace: bench, path: /mutate-pods}}
  - name: statuses.webhook.essential-containers
    clientConfig: {service: {name: webhook, namespace: bench, path: /mutate-pod-status}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: bench
webhooks:
  - name: workloads.webhook.essential-containers
    clientConfig: {service: {name: webhook, namespace: bench, path: /validate-workloads}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: bench
`

func TestAllWebhooksOfTheChartAreRedirected(t *testing.T) {
	objects, err := decodeManifests([]byte(manifests))
	if err != nil || len(objects) != 3 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	redirect(objects, "https://127.0.0.1:1", []byte("bundle"))
	var clients []admissionregistrationv1.WebhookClientConfig
	for _, w := range objects[0].(*admissionregistrationv1.MutatingWebhookConfiguration).Webhooks {
		clients = append(clients, w.ClientConfig)
	}
	for _, w := range objects[1].(*admissionregistrationv1.ValidatingWebhookConfiguration).Webhooks {
		clients = append(clients, w.ClientConfig)
	}
	for i, path := range []string{"/mutate-pods", "/mutate-pod-status", "/validate-workloads"} {
		if c := clients[i]; c.URL == nil || *c.URL != "https://127.0.0.1:1"+path || c.Service != nil || string(c.CABundle) != "bundle" {
			t.Errorf("%s: %s", path, &c)
		}
	}
	if got, err := decodeManifests([]byte("apiVersion: example.com/v1\nkind: Unknown\n")); err == nil {
		t.Errorf("an object of another API is %v", got)
	}
}
