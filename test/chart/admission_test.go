package chart

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/webhook"
)

// The mutating webhooks: of new pods, and of the status of pods.
const (
	podsWebhook     = "pods.webhook.essential-containers"
	statusesWebhook = "statuses.webhook.essential-containers"
)

// mutatingWebhook returns one of the two webhooks of the configuration.
func mutatingWebhook(t *testing.T, objects []object, name string) admissionv1.MutatingWebhook {
	t.Helper()
	webhooks := only[*admissionv1.MutatingWebhookConfiguration](t, objects).Webhooks
	if len(webhooks) != 2 || webhooks[0].Name != podsWebhook || webhooks[1].Name != statusesWebhook {
		t.Fatalf("want %s and %s, have %+v", podsWebhook, statusesWebhook, webhooks)
	}
	if name == statusesWebhook {
		return webhooks[1]
	}
	return webhooks[0]
}

// validatingWebhook returns the one webhook of the configuration.
func validatingWebhook(t *testing.T, objects []object) admissionv1.ValidatingWebhook {
	t.Helper()
	webhooks := only[*admissionv1.ValidatingWebhookConfiguration](t, objects).Webhooks
	if len(webhooks) != 1 {
		t.Fatalf("want one webhook, have %d", len(webhooks))
	}
	return webhooks[0]
}

func TestAdmission(t *testing.T) {
	defaults := admissionv1.MutatingWebhook{
		Name: podsWebhook,
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{
			Namespace: namespace,
			Name:      "essential-containers-webhook",
			Path:      new(webhook.PodsPath),
			Port:      new(int32(443)),
		}},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{
				APIGroups:   []string{""},
				APIVersions: []string{"v1"},
				Resources:   []string{"pods"},
				Scope:       new(admissionv1.NamespacedScope),
			},
		}},
		NamespaceSelector: &metav1.LabelSelector{
			MatchLabels:      map[string]string{api.Label: api.NamespaceEnabled},
			MatchExpressions: []metav1.LabelSelectorRequirement{},
		},
		ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: api.Label, Operator: metav1.LabelSelectorOpExists},
		}},
		FailurePolicy:           new(admissionv1.Fail),
		TimeoutSeconds:          new(int32(5)),
		SideEffects:             new(admissionv1.SideEffectClassNone),
		MatchPolicy:             new(admissionv1.Equivalent),
		ReinvocationPolicy:      new(admissionv1.IfNeededReinvocationPolicy),
		AdmissionReviewVersions: []string{"v1"},
	}
	for name, test := range map[string]struct {
		set    string
		change func(*admissionv1.MutatingWebhook)
	}{
		"the defaults, with no CA bundle that cert-manager would have to share": {
			change: func(*admissionv1.MutatingWebhook) {},
		},
		"pods are let through when no webhook answers": {
			set:    "webhook.failurePolicy=Ignore",
			change: func(w *admissionv1.MutatingWebhook) { w.FailurePolicy = new(admissionv1.Ignore) },
		},
		"a longer time-out": {
			set:    "webhook.timeoutSeconds=30",
			change: func(w *admissionv1.MutatingWebhook) { w.TimeoutSeconds = new(int32(30)) },
		},
		"a Service of another name": {
			set:    "fullnameOverride=ec",
			change: func(w *admissionv1.MutatingWebhook) { w.ClientConfig.Service.Name = "ec-webhook" },
		},
		"further namespace labels are demanded as well": {
			set: "webhook.namespaceSelector.matchLabels.team=batch",
			change: func(w *admissionv1.MutatingWebhook) {
				w.NamespaceSelector.MatchLabels["team"] = "batch"
			},
		},
		"null gives every namespace": {
			set: "webhook.namespaceSelector.matchLabels.essential-containers=null",
			change: func(w *admissionv1.MutatingWebhook) {
				delete(w.NamespaceSelector.MatchLabels, api.Label)
			},
		},
		"every namespace but some": {
			set: "webhook.namespaceSelector.matchLabels.essential-containers=null," +
				"webhook.namespaceSelector.matchExpressions[0].key=system," +
				"webhook.namespaceSelector.matchExpressions[0].operator=DoesNotExist",
			change: func(w *admissionv1.MutatingWebhook) {
				delete(w.NamespaceSelector.MatchLabels, api.Label)
				w.NamespaceSelector.MatchExpressions = []metav1.LabelSelectorRequirement{
					{Key: "system", Operator: metav1.LabelSelectorOpDoesNotExist},
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := defaults.DeepCopy()
			test.change(want)
			if diff := cmp.Diff(*want, mutatingWebhook(t, render(t, "--set", test.set), podsWebhook)); diff != "" {
				t.Errorf("webhook (-want +got):\n%s", diff)
			}
		})
	}
}

// The verdict holds for every tracked pod, wherever it is and whatever labels it
// has by now, and fails closed: no value changes that.
func TestVerdict(t *testing.T) {
	for name, set := range map[string]string{
		"the defaults": "",
		"pods are let through when no webhook answers":      "webhook.failurePolicy=Ignore",
		"workloads are let through when no webhook answers": "webhook.workloads.failurePolicy=Ignore",
		"nothing else is validated":                         "webhook.workloads.enabled=false,admissionPolicies.enabled=false",
		"a longer time-out":                                 "webhook.timeoutSeconds=30",
		"a Service of another name":                         "fullnameOverride=ec",
		"another selector":                                  "webhook.namespaceSelector.matchLabels.team=batch",
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--set", set)
			pods := mutatingWebhook(t, objects, podsWebhook) // TestAdmission has what the two have in common
			service := *pods.ClientConfig.Service
			service.Path = new(webhook.StatusesPath)
			want := admissionv1.MutatingWebhook{
				Name:         statusesWebhook,
				ClientConfig: admissionv1.WebhookClientConfig{Service: &service},
				Rules: []admissionv1.RuleWithOperations{{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule: admissionv1.Rule{
						APIGroups:   []string{""},
						APIVersions: []string{"v1"},
						Resources:   []string{"pods/status"},
						Scope:       new(admissionv1.NamespacedScope),
					},
				}},
				ObjectSelector: pods.ObjectSelector,
				MatchConditions: []admissionv1.MatchCondition{
					{
						Name: "becomes-failed",
						Expression: `object.?status.?phase.orValue("") == "Failed" && ` +
							`(oldObject.?status.?phase.orValue("") != "Failed" || ` +
							`oldObject.?status.?reason.orValue("") == "EssentialContainerFailed")`,
					},
					{
						Name:       "is-tracked",
						Expression: `oldObject.?metadata.?annotations[?"essential-containers/tracked"].orValue("") != ""`,
					},
				},
				FailurePolicy:           new(admissionv1.Fail),
				TimeoutSeconds:          pods.TimeoutSeconds,
				SideEffects:             new(admissionv1.SideEffectClassNone),
				MatchPolicy:             new(admissionv1.Equivalent),
				AdmissionReviewVersions: []string{"v1"},
			}
			if diff := cmp.Diff(want, mutatingWebhook(t, objects, statusesWebhook)); diff != "" {
				t.Errorf("webhook (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAdmission's table has the namespace selectors and what else the two
// webhooks have in common.
func TestWorkloadValidation(t *testing.T) {
	rule := func(group string, resources ...string) admissionv1.RuleWithOperations {
		return admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule: admissionv1.Rule{
				APIGroups:   []string{group},
				APIVersions: []string{"v1"},
				Resources:   resources,
				Scope:       new(admissionv1.NamespacedScope),
			},
		}
	}
	for name, test := range map[string]struct {
		set    string
		policy admissionv1.FailurePolicyType
	}{
		"the defaults": {policy: admissionv1.Ignore},
		"workloads are rejected when no webhook answers": {
			set:    "webhook.workloads.failurePolicy=Fail",
			policy: admissionv1.Fail,
		},
		"pods are let through when no webhook answers": {
			set:    "webhook.failurePolicy=Ignore,webhook.workloads.failurePolicy=Fail",
			policy: admissionv1.Fail,
		},
		"a longer time-out": {
			set:    "webhook.timeoutSeconds=30",
			policy: admissionv1.Ignore,
		},
		"a Service of another name": {
			set:    "fullnameOverride=ec",
			policy: admissionv1.Ignore,
		},
		"every namespace but some": {
			set: "webhook.namespaceSelector.matchLabels.essential-containers=null," +
				"webhook.namespaceSelector.matchExpressions[0].key=system," +
				"webhook.namespaceSelector.matchExpressions[0].operator=DoesNotExist",
			policy: admissionv1.Ignore,
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--set", test.set)
			pods := mutatingWebhook(t, objects, podsWebhook)
			service := *pods.ClientConfig.Service
			service.Path = new(webhook.WorkloadsPath)
			want := admissionv1.ValidatingWebhook{
				Name:         "workloads.webhook.essential-containers",
				ClientConfig: admissionv1.WebhookClientConfig{Service: &service},
				Rules: []admissionv1.RuleWithOperations{
					rule("batch", "jobs", "cronjobs"),
					rule("apps", "deployments", "replicasets", "statefulsets", "daemonsets"),
				},
				NamespaceSelector: pods.NamespaceSelector,
				MatchConditions: []admissionv1.MatchCondition{
					{
						Name: "has-a-key",
						Expression: `[object.?metadata, object.?spec.?template.?metadata, object.?spec.?jobTemplate.?metadata, ` +
							`object.?spec.?jobTemplate.?spec.?template.?metadata].exists(metadata, ` +
							`[metadata.?labels.orValue({}), metadata.?annotations.orValue({})].exists(keys, ` +
							`keys.exists(key, key == "essential-containers" || key.startsWith("essential-containers/"))))`,
					},
					{
						Name: "pod-template-is-new",
						Expression: `request.operation == "CREATE" || object.?spec.?template != oldObject.?spec.?template || ` +
							`object.?spec.?jobTemplate.?spec.?template != oldObject.?spec.?jobTemplate.?spec.?template`,
					},
				},
				FailurePolicy:           &test.policy,
				TimeoutSeconds:          pods.TimeoutSeconds,
				SideEffects:             new(admissionv1.SideEffectClassNone),
				MatchPolicy:             new(admissionv1.Equivalent),
				AdmissionReviewVersions: []string{"v1"},
			}
			if diff := cmp.Diff(want, validatingWebhook(t, objects)); diff != "" {
				t.Errorf("webhook (-want +got):\n%s", diff)
			}
		})
	}
}

// The chart's own pods must be created while no webhook runs yet.
func TestOwnPodsNeedNoWebhook(t *testing.T) {
	objects := render(t)
	selector, err := metav1.LabelSelectorAsSelector(mutatingWebhook(t, objects, podsWebhook).ObjectSelector)
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range components {
		if selector.Matches(labels.Set(deployment(t, objects, component).Spec.Template.Labels)) {
			t.Errorf("the pods of the %s wait for the webhook", component)
		}
	}
}
