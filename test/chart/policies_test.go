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
)

// The CEL of the policies, by what it says. The end-to-end tests show what API
// servers make of it.
const (
	optedInByDefault = `variables.namespaceLabels[?"essential-containers"] == optional.of("enabled")`
	trackedIsRight   = `object.?metadata.?annotations[?"essential-containers/tracked"] == optional.of(variables.names.join(","))`
	trackedBefore    = `oldObject.?metadata.?annotations[?"essential-containers/tracked"].orValue("") != ""`
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
				MatchConditions: []admissionv1.MatchCondition{{
					Name: "has-an-annotation",
					Expression: `["essential-containers/tracked", "essential-containers/stopped"].exists(key, ` +
						`object.?metadata.?annotations[?key].hasValue())`,
				}},
				Variables: podVariables("object", test.optedIn),
				Validations: []admissionv1.Validation{
					{
						Expression: `!object.?metadata.?annotations[?"essential-containers/stopped"].hasValue()`,
						Message: "metadata.annotations[essential-containers/stopped] is written by the reaper alone: " +
							"no pod is created with it",
					},
					{
						Expression: "variables.optedIn",
						Message: "metadata.annotations[essential-containers/tracked] has the reaper delete the pod: " +
							"this namespace has not opted in",
					},
					{
						Expression: "variables.namesAreContainers",
						Message: "metadata.annotations[essential-containers/tracked] is for pods whose label " +
							"essential-containers names some of their containers, each once",
					},
					{
						Expression: trackedIsRight,
						MessageExpression: `"metadata.annotations[essential-containers/tracked] is written by the webhook alone, ` +
							`which would have written " + variables.names.join(",")`,
					},
				},
			})
		})
	}
}

// reaperAccounts are values of the chart, and the user that the reaper then is.
var reaperAccounts = map[string]struct{ set, account string }{
	"the defaults":             {account: "system:serviceaccount:apps:essential-containers-reaper"},
	"an account of the user's": {"reaper.serviceAccount.name=scythe", "system:serviceaccount:apps:scythe"},
	"a start of names":         {"fullnameOverride=ec", "system:serviceaccount:apps:ec-reaper"},
}

func TestChangesPolicy(t *testing.T) {
	for name, test := range reaperAccounts {
		t.Run(name, func(t *testing.T) {
			checkPolicy(t, "changes", []string{"--set", test.set}, admissionv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: rules(
					onPods(admissionv1.Update, "pods", "pods/*"),
					onPods(admissionv1.Create, "pods/binding", "bindings"),
				),
				MatchConditions: []admissionv1.MatchCondition{
					{
						Name: "changes-an-annotation",
						Expression: `["essential-containers/tracked", "essential-containers/stopped"].exists(key, ` +
							`object.?metadata.?annotations[?key] != ` +
							`(request.operation == "CREATE" ? optional.none() : oldObject.?metadata.?annotations[?key]))`,
					},
					{
						Name:       "is-not-the-reaper",
						Expression: `request.userInfo.?username.orValue("") != ` + strconv.Quote(test.account),
					},
				},
				Validations: []admissionv1.Validation{{
					Expression: "false",
					Message: "metadata.annotations[essential-containers/tracked] and [essential-containers/stopped] are " +
						"written by the webhook and the reaper alone; to let a running pod go, remove its label essential-containers",
				}},
			})
		})
	}
}

func TestPhasePolicy(t *testing.T) {
	for name, test := range reaperAccounts {
		t.Run(name, func(t *testing.T) {
			checkPolicy(t, "phase", []string{"--set", test.set}, admissionv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: rules(onPods(admissionv1.Update, "pods/status")),
				MatchConditions: []admissionv1.MatchCondition{
					{
						Name:       "is-stopped",
						Expression: `oldObject.?metadata.?annotations[?"essential-containers/stopped"].hasValue()`,
					},
					{
						Name: "phase-goes-back",
						Expression: `oldObject.?status.?phase.orValue("") in ["Succeeded", "Failed"] && ` +
							`!(object.?status.?phase.orValue("") in ["Succeeded", "Failed"])`,
					},
					{
						Name:       "is-not-the-reaper",
						Expression: `request.userInfo.?username.orValue("") != ` + strconv.Quote(test.account),
					},
				},
				Validations: []admissionv1.Validation{{
					Expression: "false",
					Message: "the reaper has stopped this pod (metadata.annotations[essential-containers/stopped]): " +
						"its phase is final",
				}},
			})
		})
	}
}

func TestReaperPolicy(t *testing.T) {
	tracked := admissionv1.Variable{Name: "tracked", Expression: trackedBefore}
	adopted := admissionv1.Variable{
		Name: "adopted",
		Expression: `request.operation == "UPDATE" && variables.optedIn && variables.namesAreContainers && ` +
			trackedIsRight + ` && object.?status == oldObject.?status`,
	}
	withoutAdoption := admissionv1.Validation{
		Expression: "variables.tracked",
		Message: "the reaper deletes only pods with the annotation essential-containers/tracked, " +
			"and changes the status of no other",
	}
	withAdoption := admissionv1.Validation{
		Expression: "variables.tracked || variables.adopted",
		Message: withoutAdoption.Message +
			"; it adopts only labelled pods of namespaces that opted in, and leaves their status as it is",
	}
	for name, test := range map[string]struct {
		set        string
		account    string
		variables  []admissionv1.Variable
		validation admissionv1.Validation
	}{
		"the defaults": {
			account:    "system:serviceaccount:apps:essential-containers-reaper",
			variables:  []admissionv1.Variable{tracked},
			validation: withoutAdoption,
		},
		"an account of the user's": {
			set:        "reaper.serviceAccount.name=scythe",
			account:    "system:serviceaccount:apps:scythe",
			variables:  []admissionv1.Variable{tracked},
			validation: withoutAdoption,
		},
		"adoption": {
			set:        "reaper.adopt=true",
			account:    "system:serviceaccount:apps:essential-containers-reaper",
			variables:  slices.Concat([]admissionv1.Variable{tracked}, podVariables("oldObject", optedInByDefault), []admissionv1.Variable{adopted}),
			validation: withAdoption,
		},
		"adoption from every namespace": {
			set:        "reaper.adopt=true,webhook.namespaceSelector.matchLabels=null",
			account:    "system:serviceaccount:apps:essential-containers-reaper",
			variables:  slices.Concat([]admissionv1.Variable{tracked}, podVariables("oldObject", "true"), []admissionv1.Variable{adopted}),
			validation: withAdoption,
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkPolicy(t, "reaper", []string{"--set", test.set}, admissionv1.ValidatingAdmissionPolicySpec{
				MatchConstraints: rules(onPods(admissionv1.Delete, "pods"), onPods(admissionv1.Update, "pods/status")),
				MatchConditions: []admissionv1.MatchCondition{{
					Name:       "is-the-reaper",
					Expression: `request.userInfo.?username.orValue("") == ` + strconv.Quote(test.account),
				}},
				Variables:   test.variables,
				Validations: []admissionv1.Validation{test.validation},
			})
		})
	}
}

// checkPolicy compares the rendered policy to want, which lacks what all have
// in common, and its binding to what all bindings are.
func checkPolicy(t *testing.T, suffix string, args []string, want admissionv1.ValidatingAdmissionPolicySpec) {
	t.Helper()
	want.FailurePolicy = new(admissionv1.Fail)
	for i := range want.Validations {
		want.Validations[i].Reason = new(metav1.StatusReasonForbidden)
	}
	policies, bindings := policies(t, args...)
	policy := policies[suffix]
	if diff := cmp.Diff(want, policy.Spec); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	bound := admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName:        policy.Name,
		ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}
	if diff := cmp.Diff(bound, bindings[suffix].Spec); diff != "" {
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

// mandatory finds a field of an object that an expression takes for granted.
var mandatory = regexp.MustCompile(`\b(object|oldObject|namespaceObject)(\.\?\w+|\[\?[^\]]*\])*(\.\w+\b[^(]|\[[^?])`)

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
	for _, c := range validatingWebhook(t, render(t)).MatchConditions {
		expressions["workloads "+c.Name] = c.Expression
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
		`object.?a[?"b"] == oldObject.a `:                                           true,
		`namespaceObject.metadata `:                                                 true,
		`object.?metadata.?annotations[?"a"].hasValue()`:                            false,
		`object.?spec.?containers.orValue([]).filter(c, c.name in variables.names)`: false,
		`object.?a[?key] != oldObject.?a[?key]`:                                     false,
	} {
		if got := mandatory.MatchString(expression); got != want {
			t.Errorf("%s can fail: %v, want %v", expression, got, want)
		}
	}
}
