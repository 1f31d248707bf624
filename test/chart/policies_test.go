package chart

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/cel-go/common/types"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

const (
	reaperUser  = "system:serviceaccount:apps:essential-containers-reaper"
	otherReaper = "system:serviceaccount:other:other-reaper"
)

// policies returns the policies by the last part of their names.
func policies(objects []client.Object) map[string]*admissionv1.ValidatingAdmissionPolicy {
	found := map[string]*admissionv1.ValidatingAdmissionPolicy{}
	for name, policy := range all[*admissionv1.ValidatingAdmissionPolicy](objects) {
		found[name[strings.LastIndex(name, ".")+1:]] = policy
	}
	return found
}

// pod returns a pod with the containers main and proxy. An empty label is none;
// annotations are pairs without the prefix.
func pod(label string, annotations ...string) map[string]any {
	metadata := map[string]any{"name": "x", "generation": 1}
	if label != "" {
		metadata["labels"] = map[string]any{api.Label: label}
	}
	for i := 0; i < len(annotations); i += 2 {
		if i == 0 {
			metadata["annotations"] = map[string]any{}
		}
		metadata["annotations"].(map[string]any)[api.AnnotationPrefix+annotations[i]] = annotations[i+1]
	}
	return map[string]any{"metadata": metadata, "spec": map[string]any{"containers": []any{
		map[string]any{"name": "main"}, map[string]any{"name": "proxy"},
	}}}
}

// with returns the object with one more field in a section.
func with(object map[string]any, section, field string, value any) map[string]any {
	fields := map[string]any{}
	if old, ok := object[section].(map[string]any); ok {
		maps.Copy(fields, old)
	}
	fields[field] = value
	changed := maps.Clone(object)
	changed[section] = fields
	return changed
}

// What the policies and the match conditions of the webhooks decide. The end-to-end tests
// show that API servers agree, and have the other cases.
func TestDecisions(t *testing.T) {
	const (
		onlyReaper = "remove them from the new pod"
		notNames   = "requires a label essential-containers that names containers of the pod, each once"
		forged     = "are written by the webhook and the reaper alone"
		relabelled = "takes effect when a pod is created"
		notTracked = "only pods with the annotation essential-containers/tracked"
		spec       = "nothing in a pod's spec but activeDeadlineSeconds"
		metadata   = "nothing in a pod's metadata but its own annotations"
		called     = "the webhook is called"
	)
	optedIn, registered := map[string]any{api.Label: api.NamespaceEnabled}, map[string]any{"webhooks": "registered"}
	create := func(object map[string]any) request {
		return request{operation: "CREATE", object: object, namespace: optedIn, param: registered}
	}
	change := func(old, object map[string]any) request {
		return request{operation: "UPDATE", old: old, object: object, namespace: optedIn}
	}
	outside := func(r request) request { r.namespace = nil; return r }
	by := func(user string, r request) request { r.user = user; return r }
	byReaper := func(old, object map[string]any) request { return by(reaperUser, change(old, object)) }
	status := func(pod map[string]any, phase, reason string) map[string]any {
		pod["status"] = map[string]any{"phase": phase, "reason": reason}
		return pod
	}
	template := func(pod map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"template": pod}}
	}
	cron := func(template map[string]any) map[string]any {
		return map[string]any{"spec": map[string]any{"jobTemplate": template}}
	}
	main, tracked := pod("main"), pod("main", "tracked", "main")
	due, stopped := pod("main", "tracked", "main", "due", "x"), pod("main", "tracked", "main", "stopped", "x")
	limited := with(tracked, "spec", "activeDeadlineSeconds", 60)
	static := with(main, "metadata", "annotations", map[string]any{"kubernetes.io/config.mirror": "x"})

	objects := render(t, "--set-json", `admissionPolicies.exemptReapers=["`+otherReaper+`"]`)
	installed := policies(objects)
	installed["reaper, adopting"] = policies(render(t, "--set", "reaper.adopt=true"))["reaper"]
	for name, conditions := range map[string][]admissionv1.MatchCondition{
		"verdict":   mutatingWebhook(t, objects, statusesWebhook).MatchConditions,
		"workloads": validatingWebhooks(objects)[0].MatchConditions,
	} {
		installed[name] = &admissionv1.ValidatingAdmissionPolicy{Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConditions: conditions, Validations: []admissionv1.Validation{{Expression: "false", Message: called}},
		}}
	}
	for name, cases := range map[string]map[string]struct {
		request
		want string // in the denial; empty: none
	}{
		"creation": {
			"the webhook's annotation":                {create(tracked), ""},
			"the webhook's annotation of two":         {create(pod("main_proxy", "tracked", "main,proxy")), ""},
			"a pod without the label, such as a copy": {create(pod("", "tracked", "proxy", "stopped", "x")), ""},
			"another annotation than the webhook's":   {create(pod("main", "tracked", "proxy")), "tracked] must be main, which only the webhook writes"},
			"a tracked pod in another namespace":      {outside(create(tracked)), "this namespace has not opted in"},
			"a label that names no container":         {create(pod("mian", "tracked", "mian")), notNames},
			"a label that names a container twice":    {create(pod("main_main", "tracked", "main,main")), notNames},
			"a pod that is due":                       {create(due), onlyReaper},
			"a pod that is stopped":                   {create(stopped), onlyReaper},
		},
		"tracking": {
			"an untracked pod":                      {create(main), "has no effect on this pod"},
			"an untracked pod in another namespace": {outside(create(main)), ""},
			"a tracked pod":                         {create(tracked), ""},
			"a pod without the label":               {create(pod("")), ""},
			"a static pod":                          {create(static), ""},
			"an untracked pod during an uninstall":  {request{operation: "CREATE", object: main, namespace: optedIn}, ""},
		},
		"changes": {
			"a user stops a pod":                      {change(tracked, stopped), forged},
			"the reaper stops a pod":                  {byReaper(tracked, stopped), ""},
			"an exempt reaper stops a pod":            {by(otherReaper, change(tracked, stopped)), ""},
			"a user adds the label to a stopped copy": {change(pod("", "stopped", "x"), pod("main", "stopped", "x")), relabelled},
			"a user removes the label":                {change(tracked, pod("", "tracked", "main")), ""},
			"a user removes the label after the stop": {change(stopped, pod("", "tracked", "main", "stopped", "x")), "cannot be removed from a pod that has been stopped"},
			"an invalid policy of an untracked pod":   {change(main, pod("main", "retention", "1w")), ""},
			"an invalid policy from before":           {change(pod("main", "tracked", "main", "mode", "x"), pod("main", "tracked", "main", "mode", "x", "retention", "1d")), ""},
		},
		"bindings": {
			"no metadata":        {create(map[string]any{}), ""},
			"another annotation": {create(with(pod(""), "metadata", "annotations", map[string]any{"example.com/x": "y"})), ""},
			"a policy":           {create(pod("", "mode", "Native")), "the API server copies the metadata of a Binding to the pod"},
		},
		"reaper": {
			"a tracked pod is deleted":             {request{user: reaperUser, operation: "DELETE", old: tracked}, ""},
			"an untracked pod is deleted":          {request{user: reaperUser, operation: "DELETE", old: main}, notTracked},
			"a user deletes an untracked pod":      {request{user: "user", operation: "DELETE", old: main}, ""},
			"a tracked pod is stopped":             {byReaper(tracked, with(stopped, "spec", "activeDeadlineSeconds", 1)), ""},
			"a deadline is lowered":                {byReaper(limited, with(limited, "spec", "activeDeadlineSeconds", 1)), ""},
			"a deadline is raised":                 {byReaper(limited, with(limited, "spec", "activeDeadlineSeconds", 61)), spec},
			"a deadline is removed":                {byReaper(limited, tracked), spec},
			"a field is added":                     {byReaper(tracked, with(tracked, "spec", "tolerations", []any{})), spec},
			"the API server counts the generation": {byReaper(tracked, with(tracked, "metadata", "generation", 2)), ""},
			"a label is removed":                   {byReaper(tracked, pod("", "tracked", "main")), metadata},
			"a pod is adopted":                     {byReaper(main, tracked), notTracked},
		},
		"reaper, adopting": {
			"a pod is adopted":                     {byReaper(main, tracked), ""},
			"a pod in another namespace":           {outside(byReaper(main, tracked)), notTracked},
			"another container is tracked":         {byReaper(main, pod("main", "tracked", "proxy")), notTracked},
			"a label that names no container":      {byReaper(pod("mian"), pod("mian", "tracked", "mian")), notTracked},
			"a pod is labelled":                    {byReaper(pod(""), tracked), notTracked},
			"a pod is adopted and stopped at once": {byReaper(main, limited), notTracked},
			"a tracked pod gets another container": {byReaper(tracked, pod("main", "tracked", "proxy")), metadata},
		},
		"verdict": {
			"a tracked pod fails":          {change(tracked, status(pod("main"), "Failed", "DeadlineExceeded")), called},
			"a failed verdict is repeated": {change(status(pod("main", "tracked", "main"), "Failed", api.FailedReason), status(pod("main"), "Failed", "x")), called},
			"another failure is repeated":  {change(status(pod("main", "tracked", "main"), "Failed", "Evicted"), status(pod("main"), "Failed", "Evicted")), ""},
			"a tracked pod runs":           {change(tracked, status(pod("main"), "Running", "")), ""},
			"a tracked pod succeeds":       {change(tracked, status(pod("main"), "Succeeded", "")), ""},
			"an untracked pod fails":       {change(main, status(pod("main"), "Failed", "")), ""},
		},
		"workloads": {
			"a Job with the label":             {create(template(main)), called},
			"a Job with an annotation":         {create(template(pod("", "mode", "Native"))), called},
			"a Job without either":             {create(template(pod(""))), ""},
			"a Job with a misplaced label":     {create(main), called},
			"a CronJob with the label":         {create(cron(template(main))), called},
			"a CronJob with a misplaced label": {create(cron(main)), called},
			"a Deployment gets the label":      {change(template(pod("")), template(main)), called},
			"a Deployment is scaled":           {change(template(main), with(template(main), "spec", "replicas", 2)), ""},
			"a CronJob gets another template":  {change(cron(template(main)), cron(template(pod("proxy")))), called},
			"a CronJob is annotated":           {change(cron(template(main)), with(cron(template(main)), "metadata", "annotations", map[string]any{"x": "y"})), ""},
		},
	} {
		for sentence, c := range cases {
			t.Run(name+"/"+sentence, func(t *testing.T) {
				if got := c.denial(t, installed[name]); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
					t.Errorf("the denial is %q, want %q", got, c.want)
				}
			})
		}
	}
}

// The policy accepts a value of an annotation if the programs do.
func TestPolicyValues(t *testing.T) {
	changes := policies(render(t))["changes"]
	tracked := pod("main", "tracked", "main")
	delays := []string{
		"0", "0s", "90s", "1h30m", "1.5h", "2d", "1d12h", "30d", "100ms", "Forever",
		"", "d", "1", "1d1", "-1s", "1w", "forever", "1 h", "1h ", "12h1d",
	}
	for key, values := range map[string][]string{
		api.CompletionAnnotation: {"Any", "All", "all", "", "Any "},
		api.OnFailureAnnotation:  {"Stop", "Ignore", "Fail", ""},
		api.ModeAnnotation:       {"Reap", "Native", "native", ""},
		api.StopDelayAnnotation:  delays,
		api.RetentionAnnotation:  delays,
	} {
		for _, value := range values {
			defaults := essential.DefaultPolicies()
			err := defaults.Set(key, value)
			name := strings.TrimPrefix(key, api.AnnotationPrefix)
			denial := request{operation: "UPDATE", old: tracked, object: pod("main", "tracked", "main", name, value)}.denial(t, changes)
			if (denial == "") != (err == nil) || denial != "" && !strings.HasPrefix(denial, "metadata.annotations["+key+"] must be ") {
				t.Errorf("%s=%q: the denial is %q, the programs return %v", key, value, denial, err)
			}
		}
	}
}

// A policy with an empty list of actions is not installed. The actions of changes are those
// of bindings too, because a Binding changes its pod.
func TestPolicyActions(t *testing.T) {
	for set, want := range map[string]string{
		`{}`: "bindings:[Deny] changes:[Deny] creation:[Deny] reaper:[Deny] tracking:[Deny]",
		`{"admissionPolicies":{"enabled":false}}`:             "reaper:[Deny]",
		`{"admissionPolicies":{"changes":[]}}`:                "creation:[Deny] reaper:[Deny] tracking:[Deny]",
		`{"admissionPolicies":{"creation":["Warn","Audit"]}}`: "bindings:[Deny] changes:[Deny] creation:[Warn Audit] reaper:[Deny] tracking:[Deny]",
		`{"admissionPolicies":{"creation":[],"tracking":[]}}`: "bindings:[Deny] changes:[Deny] reaper:[Deny]",
		`{"reaper":{"adopt":true}}`:                           "bindings:[Deny] changes:[Deny] creation:[Deny] reaper:[Deny] tracking:[Warn]",
		`{"webhook":{"failurePolicy":"Ignore"}}`:              "bindings:[Deny] changes:[Deny] creation:[Deny] reaper:[Deny] tracking:[Warn]",
	} {
		objects, got := render(t, "--set-json", set), map[string][]admissionv1.ValidationAction{}
		for name, policy := range policies(objects) {
			got[name] = named[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects, policy.Name).Spec.ValidationActions
		}
		if fmt.Sprint(got) != "map["+want+"]" {
			t.Errorf("%s: got %v, want %s", set, got, want)
		}
	}
}

// The chart writes webhook.namespaceSelector in three notations: the selector of the
// webhooks, the flag of the reaper, and the CEL of the policies. All select the same
// namespaces.
func TestNamespaceSelector(t *testing.T) {
	for name, set := range map[string]string{
		"the default":                 `{}`,
		"every namespace":             `{"matchLabels":null}`,
		"several labels":              `{"matchLabels":{"team":"batch","a.example.com/b":""}}`,
		"one of several values":       `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"In","values":["batch","web"]}]}`,
		"none of several values":      `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"NotIn","values":["batch","web"]}]}`,
		"a label, whatever its value": `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"Exists"}]}`,
		"no such label":               `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"DoesNotExist"}]}`,
		"an empty value": `{"matchLabels":null,"matchExpressions":[{"key":"team","operator":"In","values":[""]},` +
			`{"key":"a.example.com/b","operator":"NotIn","values":["","x"]}]}`,
		"all together": `{"matchExpressions":[{"key":"team","operator":"NotIn","values":["web"]},` +
			`{"key":"team","operator":"Exists"},{"key":"system","operator":"DoesNotExist"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--set-json", "webhook.namespaceSelector="+set)
			forReaper, err := labels.Parse(flags(t, objects, "reaper")["namespace-selector"])
			if err != nil {
				t.Fatal(err)
			}
			forWebhook, err := metav1.LabelSelectorAsSelector(mutatingWebhook(t, objects, podsWebhook).NamespaceSelector)
			if err != nil {
				t.Fatal(err)
			}
			creation, selected := policies(objects)["creation"], 0
			for _, namespace := range namespaces() {
				want := forWebhook.Matches(namespace)
				if want {
					selected++
				}
				if got := forReaper.Matches(namespace); got != want {
					t.Errorf("%v opted in: %v for the webhook, %v for the reaper", namespace, want, got)
				}
				values := map[string]any{}
				for key, value := range namespace {
					values[key] = value
				}
				variables := request{namespace: values, object: pod("main")}.variables(t, creation)["variables"].(map[string]any)
				if got := variables["optedIn"] == types.True; got != want {
					t.Errorf("%v opted in: %v for the webhook, %v for the policies", namespace, want, got)
				}
			}
			if selected == 0 {
				t.Error("no namespace is selected")
			}
		})
	}
}

// namespaces returns label sets with each combination of the keys and values that the
// selectors above use.
func namespaces() []labels.Set {
	sets := []labels.Set{nil}
	for key, values := range map[string][]string{
		api.Label:         {api.NamespaceEnabled, "disabled"},
		"team":            {"", "batch", "web", "x"},
		"system":          {"yes"},
		"a.example.com/b": {"", "x", "y"},
	} {
		for _, set := range sets {
			for _, value := range values {
				sets = append(sets, labels.Merge(set, labels.Set{key: value}))
			}
		}
	}
	return sets
}
