package chart

import (
	"slices"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// request is what an API server evaluates policies and match conditions for.
type request struct {
	user, operation string
	old, object     any // nil or a map
	namespace       map[string]any
	param           map[string]any // the data of a policy's ConfigMap
}

func (r request) inputs() map[string]any {
	return map[string]any{
		"oldObject": r.old, "object": r.object,
		"request":         map[string]any{"operation": r.operation, "userInfo": map[string]any{"username": r.user}},
		"namespaceObject": map[string]any{"metadata": map[string]any{"labels": r.namespace}},
		"params":          map[string]any{"data": r.param},
		"variables":       map[string]any{},
	}
}

// compile parses an expression with the functions that API servers have and the chart
// uses.
func compile(t *testing.T, expression string) (*cel.Env, *cel.Ast) {
	t.Helper()
	options := []cel.EnvOption{cel.OptionalTypes(), ext.Strings(ext.StringsVersion(2))}
	for name := range (request{}).inputs() {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		t.Fatal(err)
	}
	compiled, issues := env.Compile(expression)
	if issues.Err() != nil {
		t.Fatalf("%v in:\n%s", issues.Err(), expression)
	}
	return env, compiled
}

func evaluate(t *testing.T, expression string, inputs map[string]any) ref.Val {
	t.Helper()
	env, compiled := compile(t, expression)
	program, err := env.Program(compiled)
	if err != nil {
		t.Fatal(err)
	}
	value, _, err := program.Eval(inputs)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, expression)
	}
	return value
}

// variables returns the inputs with the variables of a policy.
func (r request) variables(t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy) map[string]any {
	t.Helper()
	inputs, variables := r.inputs(), map[string]any{}
	for _, v := range policy.Spec.Variables {
		inputs["variables"] = variables
		variables[v.Name] = evaluate(t, v.Expression, inputs)
	}
	return inputs
}

// denial returns the message of the first validation that the request violates, or
// nothing.
func (r request) denial(t *testing.T, policy *admissionv1.ValidatingAdmissionPolicy) string {
	t.Helper()
	for _, c := range policy.Spec.MatchConditions {
		if evaluate(t, c.Expression, r.inputs()) != types.True {
			return ""
		}
	}
	inputs := r.variables(t, policy)
	for _, v := range policy.Spec.Validations {
		if evaluate(t, v.Expression, inputs) == types.True {
			continue
		}
		if v.MessageExpression != "" {
			return evaluate(t, v.MessageExpression, inputs).Value().(string)
		}
		return v.Message
	}
	return ""
}

// expressions returns every expression in CEL.
func expressions(objects []client.Object) (found []string) {
	conditions := func(conditions []admissionv1.MatchCondition) {
		for _, c := range conditions {
			found = append(found, c.Expression)
		}
	}
	for _, w := range validatingWebhooks(objects) {
		conditions(w.MatchConditions)
	}
	for _, configuration := range all[*admissionv1.MutatingWebhookConfiguration](objects) {
		for _, w := range configuration.Webhooks {
			conditions(w.MatchConditions)
		}
	}
	for _, policy := range all[*admissionv1.ValidatingAdmissionPolicy](objects) {
		conditions(policy.Spec.MatchConditions)
		for _, v := range policy.Spec.Variables {
			found = append(found, v.Expression)
		}
		for _, v := range policy.Spec.Validations {
			found = append(found, v.Expression)
			if v.MessageExpression != "" {
				found = append(found, v.MessageExpression)
			}
		}
	}
	return found
}

// If an expression fails, the API server denies the write. So no expression requires a
// field that can be missing: every field is selected with `?`.
func TestNoExpressionCanFail(t *testing.T) {
	eachRendering(t, func(t *testing.T, objects []client.Object) {
		for _, expression := range expressions(objects) {
			if requires := requiredField(t, expression); requires != "" {
				t.Errorf("%s is required by:\n%s", requires, expression)
			}
		}
	})
	for expression, want := range map[string]string{
		`object.?metadata.annotations.hasValue()`:                                   "annotations",
		`object.?metadata.?annotations["a"].hasValue()`:                             "index",
		`[variables.old].all(pod, pod.spec.all(field, true))`:                       "spec",
		`object.?spec.?containers.orValue([]).exists(c, c.name in variables.names)`: "",
	} {
		if got := requiredField(t, expression); got != want {
			t.Errorf("%s requires %q, want %q", expression, got, want)
		}
	}
}

// requiredField returns a field of an object that the expression requires, or nothing.
// The variables, what a request always has, and a container's name are never missing.
func requiredField(t *testing.T, expression string) (field string) {
	t.Helper()
	_, compiled := compile(t, expression)
	ast.PreOrderVisit(compiled.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			if e.AsCall().FunctionName() == operators.Index {
				field = "index"
			}
		case ast.SelectKind:
			of := e.AsSelect().Operand()
			if of.Kind() != ast.IdentKind || !slices.Contains([]string{"variables", "request", "c"}, of.AsIdent()) {
				field = e.AsSelect().FieldName()
			}
		}
	}))
	return field
}
