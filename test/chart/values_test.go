package chart

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

func TestLint(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			if out, err := runHelm(t, append([]string{"lint", "--strict", chartDir}, r.args...)...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// Values of the right type that the schema rejects. TestSchemaDescribesTheValues guards
// keys and types.
func TestRejectedValues(t *testing.T) {
	const expression = "webhook.namespaceSelector.matchExpressions"
	rejected := map[string]string{ // by the path of the error
		`certificate=null`:                                               "",
		`webhook.replicas=null`:                                          "/webhook",
		`imagePullSecrets=[{"nam":"x"}]`:                                 "/imagePullSecrets/0",
		`webhook.networkPolicy.enabled=true`:                             "/webhook/networkPolicy/from",
		expression + `=[{"key":"a"}]`:                                    "/webhook/namespaceSelector/matchExpressions/0",
		expression + `=[{"key":"a","operator":"In"}]`:                    "/webhook/namespaceSelector/matchExpressions/0",
		expression + `=[{"key":"a","operator":"NotIn","values":[]}]`:     "/webhook/namespaceSelector/matchExpressions/0/values",
		expression + `=[{"key":"a","operator":"Exists","values":["b"]}]`: "/webhook/namespaceSelector/matchExpressions/0/values",
		`webhook.podLabels.app\.kubernetes\.io/name="x"`:                 "/webhook/podLabels/app.kubernetes.io~1name", // selects the pods
		`webhook.podLabels.essential-containers="webhook"`:               "/webhook/podLabels/essential-containers",    // the pods would wait for themselves
		`podMonitor.labels.helm\.sh/chart="x"`:                           "/podMonitor/labels/helm.sh~1chart",
		`reaper.extraArgs=["v"]`:                                         "/reaper/extraArgs/0",
		`admissionPolicies.changes=["Refuse"]`:                           "/admissionPolicies/changes/0",
		`admissionPolicies.exemptReapers=["other-reaper"]`:               "/admissionPolicies/exemptReapers/0",
	}
	for value, forms := range map[string][]string{
		"admissionPolicies.changes":       {`["Deny","Warn"]`},
		"certificate.duration":            {`"90d"`},
		"defaults.completion":             {`"any"`},
		"defaults.mode":                   {`"native"`},
		"defaults.onFailure":              {`"Fail"`},
		"defaults.retention":              {`"9999999h"`, `"forever"`, `"-1h"`, `0`}, // Go cannot hold the first
		"defaults.stopDelay":              {`"999999h999999h999999h"`, `"Forever"`, `"-1s"`, `"10"`, `"1w"`, `"1d12"`, `""`},
		"fullnameOverride":                {`"Webhook"`, `"` + strings.Repeat("a", 51) + `"`},
		"image.digest":                    {`"latest"`},
		"image.pullPolicy":                {`"Sometimes"`},
		"image.repository":                {`""`},
		"image.tag":                       {`1.1`},
		"logLevel":                        {`"warn"`},
		"podMonitor.interval":             {`"often"`},
		"reaper.replicas":                 {`-1`},
		"reaper.workers":                  {`0`, `1001`},
		"webhook.configurationName":       {`"ZZ"`},
		"webhook.failurePolicy":           {`"fail"`},
		"webhook.replicas":                {`0`, `1.5`},
		"webhook.shutdownDelay":           {`"5"`, `"1m"`},
		"webhook.timeoutSeconds":          {`0`, `31`},
		"webhook.workloads.failurePolicy": {`"Warn"`},
	} {
		for _, form := range forms {
			rejected[value+"="+form] = "/" + strings.ReplaceAll(value, ".", "/")
		}
	}
	for set, at := range rejected {
		_, err := runHelm(t, "template", release, chartDir, "--set-json", set)
		if err == nil || !strings.Contains(err.Error(), "- at '"+at+"': ") {
			t.Errorf("%s: the schema does not reject it at %q: %v", set, at, err)
		}
	}
}

// removed are the values of version 0.1 that no longer exist.
var removed = []string{".reaper.stopStrategy"}

// refusedValues are values that the schema accepts and that cannot work, and what Helm
// prints for them.
var refusedValues = map[string]string{
	`reaper.stopStrategy="Complete"`: "reaper.stopStrategy was removed in version 0.2: delete it from your values, " +
		"or upgrade with --reset-then-reuse-values instead of --reuse-values\n",
	`reaper.stopStrategy=null`:                                       "reaper.stopStrategy was removed in version 0.2",
	`reaper.serviceAccount.name="a",webhook.serviceAccount.name="a"`: "reaper.serviceAccount.name and webhook.serviceAccount.name must differ",
	`reaper.serviceAccount.name="essential-containers-webhook"`:      "reaper.serviceAccount.name and webhook.serviceAccount.name must differ",
	`certificate.renewBefore="2160h"`:                                "certificate.renewBefore must be shorter than certificate.duration",
	`certificate.duration="60m",certificate.renewBefore="1h1s"`:      "certificate.renewBefore must be shorter than certificate.duration",
	`certificate.ca.duration="1h"`:                                   "certificate.ca.renewBefore must be shorter than certificate.ca.duration",
}

func TestRefusedValues(t *testing.T) {
	for set, want := range refusedValues {
		if _, err := runHelm(t, "template", release, chartDir, "--set-json", set); err == nil || !strings.Contains(err.Error(), ": "+want) {
			t.Errorf("%s: got error %v, want one with %q", set, err, want)
		}
	}
}

// 1.30 is the first version with ValidatingAdmissionPolicies in v1 and with the match
// conditions of webhooks in general availability.
func TestOldestKubernetes(t *testing.T) {
	for version, want := range map[string]bool{"1.29.14": false, "1.30.0": true, "1.30.0-gke.100": true, "1.37.0": true} {
		_, err := runHelm(t, "template", release, chartDir, "--kube-version", version)
		if accepted := err == nil; accepted != want {
			t.Errorf("Kubernetes %s is accepted: %v, want %v: %v", version, accepted, want, err)
		}
	}
}

// Helm passes the global values of a parent chart on.
func TestGlobalValuesAreAccepted(t *testing.T) {
	render(t, "--set", "global.registry=example.com")
}

// schema is what the chart's schema uses of JSON schema.
type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 any               `json:"type"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties any               `json:"additionalProperties"`
	Required             []string          `json:"required"`
	Items                *schema           `json:"items"`
	Definitions          map[string]schema `json:"definitions"`
}

// resolved follows a reference into the definitions.
func (s schema) resolved(root schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
		return root.Definitions[name]
	}
	return s
}

// fixed reports whether the schema lists the keys of an object. Users choose the keys of
// other objects.
func (s schema) fixed() bool { return s.Properties != nil }

func TestSchemaDescribesTheValues(t *testing.T) {
	var root schema
	if err := json.Unmarshal([]byte(chartFiles()["values.schema.json"]), &root); err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := sigsyaml.UnmarshalStrict([]byte(chartFiles()["values.yaml"]), &values); err != nil {
		t.Fatal(err)
	}
	compareToSchema(t, "", values, root, root)
}

// compareToSchema checks that an object has the keys and types of its schema, that no
// other key is allowed, and that no key that the templates need can be removed.
func compareToSchema(t *testing.T, path string, values map[string]any, s, root schema) {
	t.Helper()
	if s.AdditionalProperties != false {
		t.Errorf("%s: additional properties are allowed", path)
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Properties)), func(key string) bool {
		return slices.Contains(removed, path+"."+key)
	})
	if diff := cmp.Diff(known, slices.Sorted(maps.Keys(values))); diff != "" {
		t.Errorf("%s: keys (-schema +values):\n%s", path, diff)
	}
	var required []string
	for key, value := range values {
		property := s.Properties[key].resolved(root)
		typeName := jsonType(value)
		if property.Type != typeName && (property.Type != "integer" || typeName != "number") {
			t.Errorf("%s.%s: the default is a %s, the schema says %v", path, key, typeName, property.Type)
		}
		object, isObject := value.(map[string]any)
		if isObject && property.fixed() {
			compareToSchema(t, path+"."+key, object, property, root)
		}
		if property.fixed() || (!isObject && typeName != "array") {
			required = append(required, key)
		}
	}
	slices.Sort(required)
	if diff := cmp.Diff(required, slices.Sorted(slices.Values(s.Required))); diff != "" {
		t.Errorf("%s: required keys (-want +got):\n%s", path, diff)
	}
}

func jsonType(value any) string {
	switch value.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64, int64:
		return "number"
	}
	return "null"
}

// The table in the chart's README has the values and the comments above them.
func TestReadmeListsTheValues(t *testing.T) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(chartFiles()["values.yaml"]), &document); err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(chartFiles()["README.md"], "\n## Values\n")
	_, after, _ := strings.Cut(rest, "\n## ")
	compare(t, chartDir+"/README.md", before+"\n## Values\n\n| value | default | meaning |\n| --- | --- | --- |\n"+
		rows(t, "", document.Content[0])+"\n## "+after)
}

// The README and the notes have the same commands before an uninstall.
func TestReadmeHasTheCommandsOfTheNotes(t *testing.T) {
	_, commands, _ := strings.Cut(chartFiles()["README.md"], "kubectl get pods --all-namespaces")
	commands, _, found := strings.Cut(commands, "\n```")
	commands = "kubectl get pods --all-namespaces" + strings.ReplaceAll(commands, " \\\n  ", " ") + "\n"
	if notes := renderings[2].notes(t, chartDir); !found || !strings.Contains(notes, commands) {
		t.Errorf("no %q in:\n%s", commands, notes)
	}
}

// rows returns the table rows of a section of the values.
func rows(t *testing.T, path string, section *yaml.Node) string {
	t.Helper()
	var result strings.Builder
	for i := 0; i < len(section.Content); i += 2 {
		key, value := section.Content[i], section.Content[i+1]
		name := path + key.Value
		if isSection(value) {
			result.WriteString(rows(t, name+".", value))
			continue
		}
		if key.HeadComment == "" {
			t.Errorf("%s has no comment in values.yaml", name)
		}
		var decoded any
		if err := value.Decode(&decoded); err != nil {
			t.Fatal(err)
		}
		content, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		meaning := strings.TrimPrefix(strings.ReplaceAll(key.HeadComment, "\n# ", " "), "# ")
		result.WriteString("| `" + name + "` | `" + string(content) + "` | " + meaning + " |\n")
	}
	return result.String()
}

// isSection reports whether the keys of an object are values, with comments. Otherwise
// the object itself is a value.
func isSection(value *yaml.Node) bool {
	if value.Kind != yaml.MappingNode {
		return false
	}
	return slices.ContainsFunc(value.Content, func(n *yaml.Node) bool { return n.HeadComment != "" })
}
