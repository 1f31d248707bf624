package chart

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// clusterScoped lists the kinds without a namespace.
var clusterScoped = []string{
	"ClusterRole",
	"ClusterRoleBinding",
	"MutatingWebhookConfiguration",
	"ValidatingAdmissionPolicy",
	"ValidatingAdmissionPolicyBinding",
	"ValidatingWebhookConfiguration",
}

func TestObjects(t *testing.T) {
	policies := []string{
		"ConfigMap essential-containers-tracking",
		"ValidatingAdmissionPolicy essential-containers.apps.bindings",
		"ValidatingAdmissionPolicy essential-containers.apps.changes",
		"ValidatingAdmissionPolicy essential-containers.apps.creation",
		"ValidatingAdmissionPolicy essential-containers.apps.tracking",
		"ValidatingAdmissionPolicyBinding essential-containers.apps.bindings",
		"ValidatingAdmissionPolicyBinding essential-containers.apps.changes",
		"ValidatingAdmissionPolicyBinding essential-containers.apps.creation",
		"ValidatingAdmissionPolicyBinding essential-containers.apps.tracking",
	}
	defaults := append([]string{
		"Certificate essential-containers-ca",
		"Certificate essential-containers-webhook",
		"ClusterRole essential-containers.apps",
		"ClusterRoleBinding essential-containers.apps",
		"Deployment essential-containers-reaper",
		"Deployment essential-containers-webhook",
		"Issuer essential-containers-ca",
		"Issuer essential-containers-ca-root",
		"MutatingWebhookConfiguration essential-containers.apps",
		"PodDisruptionBudget essential-containers-webhook",
		"Role essential-containers-reaper",
		"RoleBinding essential-containers-reaper",
		"Service essential-containers-webhook",
		"ServiceAccount essential-containers-reaper",
		"ServiceAccount essential-containers-webhook",
		"ValidatingAdmissionPolicy essential-containers.apps.reaper",
		"ValidatingAdmissionPolicyBinding essential-containers.apps.reaper",
		"ValidatingWebhookConfiguration essential-containers.apps",
	}, policies...)
	for name, test := range map[string]struct {
		args        []string
		plus, minus []string
	}{
		"the defaults": {},
		"an issuer that exists replaces the chart's authority": {
			args: []string{"--set", "certificate.issuerRef.name=corporate"},
			minus: []string{
				"Certificate essential-containers-ca",
				"Issuer essential-containers-ca",
				"Issuer essential-containers-ca-root",
			},
		},
		"a single webhook has no disruption budget": {
			args:  []string{"--set", "webhook.replicas=1"},
			minus: []string{"PodDisruptionBudget essential-containers-webhook"},
		},
		"the disruption budget is switched off": {
			args:  []string{"--set", "webhook.podDisruptionBudget.enabled=false"},
			minus: []string{"PodDisruptionBudget essential-containers-webhook"},
		},
		"workloads are not validated": {
			args:  []string{"--set", "webhook.workloads.enabled=false"},
			minus: []string{"ValidatingWebhookConfiguration essential-containers.apps"},
		},
		"the admission policies are switched off, all but the bound of the reaper's rights": {
			args:  []string{"--set", "admissionPolicies.enabled=false"},
			minus: policies,
		},
		"the pod monitor is switched on": {
			args: []string{"--set", "podMonitor.enabled=true"},
			plus: []string{"PodMonitor essential-containers"},
		},
		"the webhook's pods are closed to all but some": {
			args: []string{"--set-json", `webhook.networkPolicy={"enabled":true,"from":[{"ipBlock":{"cidr":"10.0.0.0/28"}}]}`},
			plus: []string{"NetworkPolicy essential-containers-webhook"},
		},
		"the mutating webhooks have a name of their own": {
			args:  []string{"--set", "webhook.configurationName=zz-essential-containers"},
			minus: []string{"MutatingWebhookConfiguration essential-containers.apps"},
			plus:  []string{"MutatingWebhookConfiguration zz-essential-containers"},
		},
		"the accounts have names of their own": {
			args:  []string{"--set", "webhook.serviceAccount.name=door,reaper.serviceAccount.name=scythe"},
			minus: []string{"ServiceAccount essential-containers-webhook", "ServiceAccount essential-containers-reaper"},
			plus:  []string{"ServiceAccount door", "ServiceAccount scythe"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := slices.DeleteFunc(slices.Concat(defaults, test.plus), func(name string) bool {
				return slices.Contains(test.minus, name)
			})
			slices.Sort(want)
			if diff := cmp.Diff(want, objectNames(render(t, test.args...))); diff != "" {
				t.Errorf("objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStartOfNames(t *testing.T) {
	long := "a-release-whose-name-is-as-long-as-helm-lets-it-be-53"
	for name, test := range map[string]struct {
		release, want string
		args          []string
	}{
		"a release named like the chart":       {release: "essential-containers", want: "essential-containers"},
		"a release with the name in it":        {release: "my-essential-containers", want: "my-essential-containers"},
		"any other release":                    {release: "prod", want: "prod-essential-containers"},
		"a dot, which a Service must not have": {release: "v1.prod", want: "v1-prod-essential-containers"},
		"a name that is too long":              {release: long, want: "a-release-whose-name-is-as-long-as-helm-lets-it-be"},
		"a cut that would end in a dash": {
			release: "a-release-whose-name-is-cut-right-behind-the-dash-x",
			want:    "a-release-whose-name-is-cut-right-behind-the-dash",
		},
		"a name of the user's": {
			release: "prod", want: "ec", args: []string{"--set", "fullnameOverride=ec"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := objectNames(renderRelease(t, test.release, namespace, test.args...))
			want := []string{
				"Certificate " + test.want + "-ca",
				"Certificate " + test.want + "-webhook",
				"ClusterRole " + test.want + ".apps",
			}
			if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
				t.Errorf("first objects (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReleasesDoNotCollide(t *testing.T) {
	type place struct{ release, namespace string }
	for name, places := range map[string][2]place{
		"one name in two namespaces":       {{"ec", "one"}, {"ec", "two"}},
		"two names in one namespace":       {{"one", "apps"}, {"two", "apps"}},
		"names that are equal when joined": {{"essential-containers-a", "b"}, {"essential-containers", "a-b"}},
	} {
		t.Run(name, func(t *testing.T) {
			taken := map[string]bool{}
			for _, place := range places {
				for _, o := range renderRelease(t, place.release, place.namespace) {
					key := o.kind + " " + o.GetNamespace() + "/" + o.GetName()
					if taken[key] {
						t.Errorf("both releases have %s", key)
					}
					taken[key] = true
				}
			}
		})
	}
}

func TestNamespaces(t *testing.T) {
	for _, o := range render(t, "--set", "podMonitor.enabled=true") {
		want := namespace
		if slices.Contains(clusterScoped, o.kind) {
			want = ""
		}
		if o.GetNamespace() != want {
			t.Errorf("%s is in the namespace %q, want %q", o, o.GetNamespace(), want)
		}
	}
}

// A hook is no part of the release: helm uninstall would leave it behind.
func TestNoHooks(t *testing.T) {
	for _, o := range render(t, "--set", "podMonitor.enabled=true") {
		for _, key := range []string{"helm.sh/hook", "helm.sh/resource-policy"} {
			if _, ok := o.GetAnnotations()[key]; ok {
				t.Errorf("%s has the annotation %s", o, key)
			}
		}
	}
}

func TestLabels(t *testing.T) {
	for _, o := range renderRelease(t, "007", namespace, "--set", "podMonitor.enabled=true") {
		labels := o.GetLabels()
		component := labels["app.kubernetes.io/component"]
		if component == "" {
			t.Errorf("%s has no component label", o)
		}
		want := map[string]string{
			"app.kubernetes.io/name":       "essential-containers",
			"app.kubernetes.io/instance":   "007",
			"app.kubernetes.io/component":  component,
			"app.kubernetes.io/version":    version,
			"app.kubernetes.io/managed-by": "Helm",
			"helm.sh/chart":                "essential-containers-" + version,
		}
		if diff := cmp.Diff(want, labels); diff != "" {
			t.Errorf("labels of %s (-want +got):\n%s", o, diff)
		}
	}
}

// objectNames returns kinds and names in alphabetical order.
func objectNames(objects []object) []string {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.String()
	}
	slices.Sort(names)
	return names
}
