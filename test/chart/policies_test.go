package chart

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// The CEL of the policies, by what it says. The end-to-end tests show what API
// servers make of it.
const (
	optedInByDefault = `variables.namespaceLabels[?"essential-containers"] == optional.of("enabled")`
	trackedIsRight   = `.?metadata.?annotations[?"essential-containers/tracked"] == optional.of(variables.names.join(","))`
)

func TestCreationPolicy(t *testing.T) {
	for name, test := range map[string]struct{ set, optedIn string }{
		"the defaults": {optedIn: optedInByDefault},
		"another selector": {
			set: "webhook.namespaceSelector.matchLabels.team=batch",
			optedIn: optedInByDefault +
				` && variables.namespaceLabels[?"team"] == optional.of("batch")`,
		},
		"adoption makes no difference": {set: "reaper.adopt=true", optedIn: optedInByDefault},
	} {
		t.Run(name, func(t *testing.T) {
			checkPolicy(t, "creation", []string{"--set", test.set}, admissionv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: rules(onPods(admissionv1.Create, "pods")),
				MatchConditions: []admissionv1.MatchCondition{hasTheLabel, {
					Name: "has-an-annotation",
					Expression: `["essential-containers/tracked", "essential-containers/due", "essential-containers/stopped"].exists(key, ` +
						`object.?metadata.?annotations[?key].hasValue())`,
				}},
				Variables: podVariables("object", test.optedIn),
				Validations: []admissionv1.Validation{
					{
						Expression: `!["essential-containers/due", "essential-containers/stopped"].exists(key, ` +
							`object.?metadata.?annotations[?key].hasValue())`,
						Message: "metadata.annotations[essential-containers/due] and [essential-containers/stopped] are written " +
							"by the reaper alone: remove them from the new pod",
					},
					{
						Expression: "variables.optedIn",
						Message: "metadata.annotations[essential-containers/tracked] has the reaper delete the pod, and " +
							"this namespace has not opted in: remove the annotation",
					},
					{
						Expression: "variables.namesAreContainers",
						Message: "metadata.annotations[essential-containers/tracked] is for pods whose label " +
							"essential-containers names some of their containers, each once: remove the annotation, or correct the label",
					},
					{
						Expression: "object" + trackedIsRight,
						MessageExpression: `"metadata.annotations[essential-containers/tracked] is written by the webhook alone, ` +
							`which would have written " + variables.names.join(",") + ": remove the annotation"`,
					},
				},
			})
		})
	}
}

var hasTheLabel = admissionv1.MatchCondition{Name: "has-the-label", Expression: `object.?metadata.?labels[?"essential-containers"].hasValue()`}

func TestTrackingPolicy(t *testing.T) {
	want := admissionv1.ValidatingAdmissionPolicySpec{
		ParamKind:        &admissionv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"},
		MatchConstraints: rules(onPods(admissionv1.Create, "pods")),
		MatchConditions: []admissionv1.MatchCondition{hasTheLabel, {
			Name: "is-not-static", Expression: `!object.?metadata.?annotations[?"kubernetes.io/config.mirror"].hasValue()`,
		}},
		Variables: podVariables("object", optedInByDefault),
		Validations: []admissionv1.Validation{{
			Expression: `params.?data.?webhooks.orValue("") != "registered" || !variables.optedIn || object.?metadata.?annotations[?"essential-containers/tracked"].orValue("") != ""`,
			Message: "metadata.labels[essential-containers] has no effect on this pod: no webhook answered, or another mutating webhook " +
				"added the label after the turn of this one. Names of MutatingWebhookConfigurations decide the order: choose a later " +
				"one (webhook.configurationName of the chart)",
		}},
	}
	for set, actions := range map[string][]admissionv1.ValidationAction{
		"":                             {admissionv1.Deny},
		"webhook.failurePolicy=Ignore": {admissionv1.Warn},
		"reaper.adopt=true":            {admissionv1.Warn},
	} {
		t.Run(set, func(t *testing.T) { checkPolicyActions(t, "tracking", []string{"--set", set}, want, actions) })
	}
}

// Each policy has a list of what it does; without any, it is not there.
func TestPolicyActions(t *testing.T) {
	for _, name := range []string{"creation", "changes", "tracking"} {
		for list, want := range map[string][]admissionv1.ValidationAction{
			`["Warn","Audit"]`: {admissionv1.Warn, admissionv1.Audit},
			`["Audit"]`:        {admissionv1.Audit},
			`[]`:               nil,
		} {
			t.Run(name+"="+list, func(t *testing.T) {
				policies, bindings := policies(t, "--set-json", "admissionPolicies."+name+"="+list)
				of := []string{name}
				if name == "changes" { // a Binding changes its pod
					of = append(of, "bindings")
				}
				if all := 5; want == nil && len(policies) != all-len(of) || want != nil && len(policies) != all || len(policies) != len(bindings) {
					t.Fatalf("%d policies and %d bindings", len(policies), len(bindings))
				}
				for _, name := range of {
					if want == nil {
						if policies[name] != nil {
							t.Errorf("the policy %s is there", name)
						}
					} else if diff := cmp.Diff(want, bindings[name].Spec.ValidationActions); diff != "" {
						t.Errorf("%s (-want +got):\n%s", name, diff)
					}
				}
			})
		}
	}
	if policies, _ := policies(t, "--set", "admissionPolicies.enabled=false"); len(policies) != 1 || policies["reaper"] == nil {
		t.Errorf("switched off, %d policies are left", len(policies))
	}
}

// reaperAccounts are values of the chart, and the user that the reaper then is.
var reaperAccounts = map[string]struct{ set, account string }{
	"the defaults":             {account: "system:serviceaccount:apps:essential-containers-reaper"},
	"an account of the user's": {"reaper.serviceAccount.name=scythe", "system:serviceaccount:apps:scythe"},
	"a start of names":         {"fullnameOverride=ec", "system:serviceaccount:apps:ec-reaper"},
}

func TestChangesPolicy(t *testing.T) {
	const exempt = `system:serviceaccount:other:other-reaper`
	for name, test := range reaperAccounts {
		t.Run(name, func(t *testing.T) {
			args := []string{"--set", test.set, "--set-json", `admissionPolicies.exemptReapers=["` + exempt + `"]`}
			matched := rules(onPods(admissionv1.Update, "pods", "pods/*"))
			matched.ObjectSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: api.Label, Operator: metav1.LabelSelectorOpExists},
			}}
			checkPolicy(t, "changes", args, admissionv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: matched,
				MatchConditions: []admissionv1.MatchCondition{
					{
						Name: "changes-a-key",
						Expression: `["essential-containers/tracked", "essential-containers/due", "essential-containers/stopped", ` +
							`"essential-containers/completion", "essential-containers/on-failure", "essential-containers/stop-delay", ` +
							`"essential-containers/retention", "essential-containers/mode"].exists(key, object.?metadata.?annotations[?key] != ` +
							`oldObject.?metadata.?annotations[?key]) || ` +
							`object.?metadata.?labels[?"essential-containers"] != oldObject.?metadata.?labels[?"essential-containers"]`,
					},
					{
						Name:       "is-not-a-reaper",
						Expression: `!(request.userInfo.?username.orValue("") in ["` + test.account + `","` + exempt + `"])`,
					},
				},
				Variables: []admissionv1.Variable{
					{Name: "tracked", Expression: `object.?metadata.?annotations[?"essential-containers/tracked"].hasValue()`},
					{Name: "marked", Expression: `variables.tracked || ["essential-containers/due", "essential-containers/stopped"].exists(key, ` +
						`object.?metadata.?annotations[?key].hasValue())`},
					{Name: "label", Expression: `object.?metadata.?labels[?"essential-containers"]`},
				},
				Validations: []admissionv1.Validation{
					{
						Expression: `["essential-containers/tracked", "essential-containers/due", "essential-containers/stopped"].all(key, ` +
							`!object.?metadata.?annotations[?key].hasValue() || ` +
							`object.?metadata.?annotations[?key] == oldObject.?metadata.?annotations[?key])`,
						Message: "metadata.annotations[essential-containers/tracked], [essential-containers/due] and " +
							"[essential-containers/stopped] are written by the webhook and the reaper alone: leave them as they are; " +
							"to opt a running pod out, remove its label essential-containers",
					},
					{
						Expression: `!variables.marked || !variables.label.hasValue() || ` +
							`variables.label == oldObject.?metadata.?labels[?"essential-containers"]`,
						Message: "metadata.labels[essential-containers] counts when a pod is created: create it again with the other label, " +
							"or remove the label to opt the pod out",
					},
					{
						Expression: `variables.label.hasValue() || !oldObject.?metadata.?annotations[?"essential-containers/stopped"].hasValue()`,
						Message: "metadata.labels[essential-containers] cannot be removed from a pod that has been stopped: to keep the pod " +
							"after its end, set metadata.annotations[essential-containers/retention] to Forever",
					},
					readable("completion", `(Any|All)`, "must be Any or All"),
					readable("mode", `(Reap|Native)`, "must be Reap or Native"),
					readable("on-failure", `(Stop|Ignore)`, "must be Stop or Ignore"),
					readable("retention", `(Forever|`+delayExpression+`)`, "must be a duration such as 90s, 1h30m or 2d, or Forever"),
					readable("stop-delay", delayExpression, "must be a duration such as 90s, 1h30m or 2d"),
				},
			})
		})
	}
}

// The API server copies what a Binding brings to the pod, over what the pod has.
func TestBindingsPolicy(t *testing.T) {
	checkPolicy(t, "bindings", nil, admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: rules(onPods(admissionv1.Create, "pods/binding", "bindings")),
		Validations: []admissionv1.Validation{{
			Expression: `[object.?metadata.?labels.orValue({}), object.?metadata.?annotations.orValue({})].all(keys, ` +
				`!keys.exists(key, key == "essential-containers" || key.startsWith("essential-containers/")))`,
			Message: "metadata of a Binding becomes its pod's: remove the label essential-containers and the annotations of " +
				"essential-containers from the Binding",
		}},
	})
}

// delayExpression is the regular expression of durations.
const delayExpression = `(0|[0-9]{1,4}d|([0-9]{1,4}d)?([0-9]{1,9}([.][0-9]{1,9})?(ns|us|µs|ms|s|m|h))+)`

// readable is the validation of a policy annotation that has changed.
func readable(name, expression, must string) admissionv1.Validation {
	key := `?metadata.?annotations[?"essential-containers/` + name + `"]`
	return admissionv1.Validation{
		Expression: `!variables.tracked || object.` + key + ` == oldObject.` + key + ` || ` +
			`!object.` + key + `.hasValue() || object.` + key + `.orValue("").matches("^` + expression + `$")`,
		Message: "metadata.annotations[essential-containers/" + name + "] " + must,
		Reason:  new(metav1.StatusReasonInvalid),
	}
}

// What the policy takes for a duration, the program can read, and the other way
// round, but for what nobody writes.
func TestDurationsOfThePolicyCanBeRead(t *testing.T) {
	expression := regexp.MustCompile("^" + delayExpression + "$")
	for text, want := range map[string]bool{
		"0": true, "0s": true, "90s": true, "1h30m": true, "1.5h": true, "2d": true, "1d12h": true, "30d": true, "100ms": true,
		"": false, "d": false, "1": false, "1d1": false, "-1s": false, "1w": false, "forever": false, "1 h": false, "1h ": false, "12h1d": false,
	} {
		policies, policy := essential.DefaultPolicies(), expression.MatchString(text)
		program := policies.Set(api.StopDelayAnnotation, text) == nil
		if policy != want || program != want {
			t.Errorf("%q: the policy accepts it: %v, the program: %v, want %v", text, policy, program, want)
		}
	}
}

// Without adoption, and with the other policies switched off: the reaper's role is
// the same.
func TestReaperPolicy(t *testing.T) {
	for name, test := range reaperAccounts {
		for _, enabled := range []string{"true", "false"} {
			t.Run(name+", admissionPolicies.enabled="+enabled, func(t *testing.T) {
				checkPolicy(t, "reaper", []string{"--set", test.set, "--set", "admissionPolicies.enabled=" + enabled},
					reaperPolicy(test.account))
			})
		}
	}
}

func TestReaperPolicyWithAdoption(t *testing.T) {
	for name, test := range map[string]struct{ set, optedIn string }{
		"the default selector": {optedIn: optedInByDefault},
		"every namespace":      {"webhook.namespaceSelector.matchLabels=null", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			want := reaperPolicy(reaperAccounts["the defaults"].account)
			want.Variables = slices.Concat(want.Variables, podVariables("oldObject", test.optedIn), []admissionv1.Variable{{
				Name: "adopted",
				Expression: `!variables.tracked && variables.optedIn && variables.namesAreContainers && ` +
					`variables.new` + trackedIsRight + ` && variables.new.?spec == variables.old.?spec`,
			}})
			of := func(v *admissionv1.Validation, old, adoption string) {
				v.Expression = strings.Replace(v.Expression, old, old+adoption, 1)
			}
			of(&want.Validations[0], "variables.tracked", " || variables.adopted")
			want.Validations[0].Message += "; it adopts only labelled pods of namespaces that opted in"
			of(&want.Validations[2], `"essential-containers/stopped"] || `, `key == "essential-containers/tracked" && variables.adopted || `)
			checkPolicy(t, "reaper", []string{"--set", "reaper.adopt=true", "--set", test.set}, want)
		})
	}
}

// reaperPolicy is the policy for a reaper with this account that adopts no pods.
func reaperPolicy(account string) admissionv1.ValidatingAdmissionPolicySpec {
	return admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: rules(admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Update, admissionv1.Delete},
			Rule:       onPods(admissionv1.Update, "pods").Rule,
		}}),
		MatchConditions: []admissionv1.MatchCondition{{
			Name:       "is-the-reaper",
			Expression: `request.userInfo.?username.orValue("") == ` + strconv.Quote(account),
		}},
		Variables: []admissionv1.Variable{
			{Name: "old", Expression: `dyn(oldObject)`},
			{Name: "new", Expression: `dyn(request.operation == "DELETE" ? oldObject : object)`},
			{Name: "tracked", Expression: `variables.old.?metadata.?annotations[?"essential-containers/tracked"].orValue("") != ""`},
		},
		Validations: []admissionv1.Validation{
			{
				Expression: `variables.tracked`,
				Message:    "the reaper deletes and changes only pods with the annotation essential-containers/tracked",
			},
			{
				Expression: `[variables.old, variables.new].all(pod, pod.?spec.orValue({}).all(field, ` +
					`field == "activeDeadlineSeconds" || variables.new.?spec[?field] == variables.old.?spec[?field])) && ` +
					`variables.new.?spec.?activeDeadlineSeconds.orValue(9223372036854775807) <= ` +
					`variables.old.?spec.?activeDeadlineSeconds.orValue(9223372036854775807)`,
				Message: "the reaper changes nothing in a pod's spec but activeDeadlineSeconds, which it lowers",
			},
			{
				Expression: `[variables.old, variables.new].all(pod, pod.?metadata.orValue({}).all(field, ` +
					`field in ["annotations", "generation", "managedFields"] || ` +
					`variables.new.?metadata[?field] == variables.old.?metadata[?field]) && ` +
					`pod.?metadata.?annotations.orValue({}).all(key, ` +
					`key in ["essential-containers/due", "essential-containers/stopped"] || ` +
					`variables.new.?metadata.?annotations[?key] == variables.old.?metadata.?annotations[?key]))`,
				Message: "the reaper changes nothing in a pod's metadata but its own annotations",
			},
		},
	}
}

// checkPolicy compares the rendered policy to want, which lacks what all have
// in common, and its binding to what most bindings are.
func checkPolicy(t *testing.T, suffix string, args []string, want admissionv1.ValidatingAdmissionPolicySpec) {
	t.Helper()
	checkPolicyActions(t, suffix, args, want, []admissionv1.ValidationAction{admissionv1.Deny})
}

func checkPolicyActions(t *testing.T, suffix string, args []string, want admissionv1.ValidatingAdmissionPolicySpec, actions []admissionv1.ValidationAction) {
	t.Helper()
	want.FailurePolicy = new(admissionv1.Fail)
	for i := range want.Validations {
		if want.Validations[i].Reason == nil {
			want.Validations[i].Reason = new(metav1.StatusReasonForbidden)
		}
	}
	policies, bindings := policies(t, args...)
	policy, binding := policies[suffix], bindings[suffix]
	if policy == nil || binding == nil {
		t.Fatalf("no policy or no binding of the name %s", suffix)
	}
	if diff := cmp.Diff(want, policy.Spec); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	bound := admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: policy.Name, ValidationActions: actions}
	if want.ParamKind != nil { // whose absence switches the policy off
		bound.ParamRef = &admissionv1.ParamRef{Name: "essential-containers-" + suffix, Namespace: namespace, ParameterNotFoundAction: new(admissionv1.AllowAction)}
	}
	if diff := cmp.Diff(bound, binding.Spec); diff != "" {
		t.Errorf("binding (-want +got):\n%s", diff)
	}
}

// policies returns policies and their bindings by the last part of their names.
func policies(t *testing.T, args ...string) (
	map[string]*admissionv1.ValidatingAdmissionPolicy, map[string]*admissionv1.ValidatingAdmissionPolicyBinding,
) {
	t.Helper()
	objects := render(t, args...)
	policies := map[string]*admissionv1.ValidatingAdmissionPolicy{}
	for name, policy := range all[*admissionv1.ValidatingAdmissionPolicy](objects) {
		policies[lastPart(name)] = policy
	}
	bindings := map[string]*admissionv1.ValidatingAdmissionPolicyBinding{}
	for name, binding := range all[*admissionv1.ValidatingAdmissionPolicyBinding](objects) {
		bindings[lastPart(name)] = binding
	}
	return policies, bindings
}

func lastPart(name string) string { return name[strings.LastIndex(name, ".")+1:] }

func rules(rules ...admissionv1.NamedRuleWithOperations) *admissionv1.MatchResources {
	return &admissionv1.MatchResources{ResourceRules: rules, MatchPolicy: new(admissionv1.Equivalent)}
}

func onPods(operation admissionv1.OperationType, resources ...string) admissionv1.NamedRuleWithOperations {
	return admissionv1.NamedRuleWithOperations{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{operation},
		Rule: admissionv1.Rule{
			APIGroups:   []string{""},
			APIVersions: []string{"v1"},
			Resources:   resources,
			Scope:       new(admissionv1.NamespacedScope),
		},
	}}
}

func podVariables(pod, optedIn string) []admissionv1.Variable {
	return []admissionv1.Variable{
		{Name: "namespaceLabels", Expression: "namespaceObject.?metadata.?labels.orValue({})"},
		{Name: "optedIn", Expression: optedIn},
		{Name: "names", Expression: pod + `.?metadata.?labels[?"essential-containers"].orValue("").split("_")`},
		{Name: "namesAreContainers", Expression: pod +
			`.?spec.?containers.orValue([]).filter(c, c.name in variables.names).size() == variables.names.size()`},
	}
}

// mandatory finds a field of an object, a variable or a macro's pod that an
// expression takes for granted.
var mandatory = regexp.MustCompile(`\b(object|oldObject|namespaceObject|pod|variables\.\w+)(\.\?\w+|\[\?[^\]]*\])*(\.\w+\b([^(]|$)|\[[^?])`)

// An expression that fails is a denial: where a field is missing, pods all over
// the cluster would be denied.
func TestNoExpressionCanFail(t *testing.T) {
	expressions := map[string]string{}
	policies, _ := policies(t, "--set", "reaper.adopt=true")
	for name, policy := range policies {
		for _, c := range policy.Spec.MatchConditions {
			expressions[name+" "+c.Name] = c.Expression
		}
		for _, v := range policy.Spec.Variables {
			expressions[name+" "+v.Name] = v.Expression
		}
		for i, v := range policy.Spec.Validations {
			expressions[name+" validation "+strconv.Itoa(i)] = v.Expression
			expressions[name+" message "+strconv.Itoa(i)] = v.MessageExpression
		}
	}
	objects := render(t)
	for _, c := range slices.Concat(mutatingWebhook(t, objects, statusesWebhook).MatchConditions, validatingWebhook(t, objects).MatchConditions) {
		expressions["webhook "+c.Name] = c.Expression
	}
	for name, expression := range expressions {
		if found := mandatory.FindString(expression); found != "" {
			t.Errorf("%s relies on %s", name, found)
		}
	}
}

func TestExpressionsThatCanFail(t *testing.T) {
	for expression, want := range map[string]bool{
		`object.metadata.?annotations`:                                              true,
		`object.?metadata.annotations == 1`:                                         true,
		`object.?metadata.?annotations["a"] == 1`:                                   true,
		`object.?a[?"b"] == oldObject.a`:                                            true,
		`namespaceObject.metadata && true`:                                          true,
		`variables.new.spec.?activeDeadlineSeconds.orValue(1)`:                      true,
		`variables.old.?metadata["labels"] == 1`:                                    true,
		`[variables.old].all(pod, pod.spec.all(field, true))`:                       true,
		`[variables.old].all(pod, pod.?spec.orValue({}).all(field, true))`:          false,
		`variables.new.?spec[?field] == variables.old.?spec[?field]`:                false,
		`variables.names.size() == 1 && variables.tracked`:                          false,
		`object.?metadata.?annotations[?"a"].hasValue()`:                            false,
		`object.?spec.?containers.orValue([]).filter(c, c.name in variables.names)`: false,
		`object.?a[?key] != oldObject.?a[?key]`:                                     false,
	} {
		if got := mandatory.MatchString(expression); got != want {
			t.Errorf("%s can fail: %v, want %v", expression, got, want)
		}
	}
}
