package chart

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The namespaces that opted in are written down three times: as the webhooks'
// selector, as the reaper's flag, and in the CEL of the admission policies.
func TestNamespaceSelector(t *testing.T) {
	const label = `variables.namespaceLabels[?"essential-containers"] == optional.of("enabled")`
	for name, test := range map[string]struct{ set, flag, cel string }{
		"the default": {
			set:  `{}`,
			flag: "essential-containers=enabled",
			cel:  label,
		},
		"every namespace": {
			set:  `{"matchLabels":null}`,
			flag: "",
			cel:  "true",
		},
		"several labels": {
			set:  `{"matchLabels":{"team":"batch","a.example.com/b":""}}`,
			flag: "a.example.com/b=,essential-containers=enabled,team=batch",
			cel: `variables.namespaceLabels[?"a.example.com/b"] == optional.of("") && ` + label +
				` && variables.namespaceLabels[?"team"] == optional.of("batch")`,
		},
		"one of several values": {
			set:  `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"In","values":["batch","web"]}]}`,
			flag: "team in (batch,web)",
			cel:  `["batch","web"].exists(v, variables.namespaceLabels[?"team"] == optional.of(v))`,
		},
		"none of several values": {
			set:  `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"NotIn","values":["batch","web"]}]}`,
			flag: "team notin (batch,web)",
			cel:  `!["batch","web"].exists(v, variables.namespaceLabels[?"team"] == optional.of(v))`,
		},
		"a label, whatever its value": {
			set:  `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"Exists"}]}`,
			flag: "team",
			cel:  `"team" in variables.namespaceLabels`,
		},
		"no such label": {
			set:  `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"DoesNotExist"}]}`,
			flag: "!team",
			cel:  `!("team" in variables.namespaceLabels)`,
		},
		"an empty value": {
			set:  `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"In","values":[""]},{"key":"a.example.com/b","operator":"NotIn","values":["","x"]}]}`,
			flag: "team in (),a.example.com/b notin (,x)",
			cel: `[""].exists(v, variables.namespaceLabels[?"team"] == optional.of(v)) && ` +
				`!["","x"].exists(v, variables.namespaceLabels[?"a.example.com/b"] == optional.of(v))`,
		},
		"all together": {
			set: `{"matchExpressions":[{"key":"team","operator":"NotIn","values":["web"]},` +
				`{"key":"team","operator":"Exists"},{"key":"system","operator":"DoesNotExist"}]}`,
			flag: "essential-containers=enabled,team notin (web),team,!system",
			cel: label + ` && !["web"].exists(v, variables.namespaceLabels[?"team"] == optional.of(v)) && ` +
				`"team" in variables.namespaceLabels && !("system" in variables.namespaceLabels)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			set := []string{"--set-json", "webhook.namespaceSelector=" + test.set}
			objects := render(t, set...)
			flag := flags(t, container(t, objects, "reaper").Args)["namespace-selector"]
			if flag != test.flag {
				t.Errorf("the reaper's flag is %q, want %q", flag, test.flag)
			}
			forReaper, err := labels.Parse(flag)
			if err != nil {
				t.Fatal(err)
			}
			forWebhook, err := metav1.LabelSelectorAsSelector(mutatingWebhook(t, objects, podsWebhook).NamespaceSelector)
			if err != nil {
				t.Fatal(err)
			}
			for _, namespace := range namespaces() {
				if want, got := forWebhook.Matches(namespace), forReaper.Matches(namespace); got != want {
					t.Errorf("%v opted in: %v for the webhook, %v for the reaper", namespace, want, got)
				}
			}
			policies, _ := policies(t, set...)
			if cel := policies["creation"].Spec.Variables[1].Expression; cel != test.cel {
				t.Errorf("the policies have\n%s, want\n%s", cel, test.cel)
			}
		})
	}
}

// namespaces returns label sets with each combination of the keys and values
// that the selectors above look at.
func namespaces() []labels.Set {
	sets := []labels.Set{nil}
	for key, values := range map[string][]string{
		"essential-containers": {"enabled", "disabled"},
		"team":                 {"", "batch", "web", "x"},
		"system":               {"yes"},
		"a.example.com/b":      {"", "x", "y"},
	} {
		for _, set := range sets {
			for _, value := range values {
				sets = append(sets, labels.Merge(set, labels.Set{key: value}))
			}
		}
	}
	return sets
}
