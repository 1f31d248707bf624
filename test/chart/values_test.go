package chart

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

func TestLint(t *testing.T) {
	for name, args := range map[string][]string{
		"the defaults": nil,
		"every branch": {"--set", "podMonitor.enabled=true,webhook.replicas=1,certificate.issuerRef.name=corporate,reaper.adopt=true"},
		"no branch":    {"--set", "webhook.workloads.enabled=false,admissionPolicies.enabled=false"},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := runHelm(t, append([]string{"lint", "--strict", chartDir}, args...)...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestRejectedValues(t *testing.T) {
	for name, test := range map[string]struct{ set, at string }{
		"a typing error at the top":          {`webhok.replicas=2`, ""},
		"a typing error in a section":        {`webhook.replica=2`, "/webhook"},
		"a typing error deep down":           {`certificate.ca.renewbefore="24h"`, "/certificate/ca"},
		"a typing error in an account":       {`reaper.serviceAccount.nam="x"`, "/reaper/serviceAccount"},
		"a typing error in resources":        {`reaper.resources.limit.memory="1Gi"`, "/reaper/resources"},
		"a typing error in a selector":       {`webhook.namespaceSelector.matchLabel.a="b"`, "/webhook/namespaceSelector"},
		"a selector without its operator":    {`webhook.namespaceSelector.matchExpressions=[{"key":"a"}]`, "/webhook/namespaceSelector/matchExpressions/0"},
		"a pull secret without a name":       {`imagePullSecrets=[{"nam":"x"}]`, "/imagePullSecrets/0"},
		"an unknown failure policy":          {`webhook.failurePolicy="fail"`, "/webhook/failurePolicy"},
		"an unknown pull policy":             {`image.pullPolicy="Sometimes"`, "/image/pullPolicy"},
		"an unknown log level":               {`logLevel="warn"`, "/logLevel"},
		"no webhook at all":                  {`webhook.replicas=0`, "/webhook/replicas"},
		"fewer reapers than none":            {`reaper.replicas=-1`, "/reaper/replicas"},
		"half a replica":                     {`webhook.replicas=1.5`, "/webhook/replicas"},
		"replicas as a text":                 {`webhook.replicas="2"`, "/webhook/replicas"},
		"a time-out of nothing":              {`webhook.timeoutSeconds=0`, "/webhook/timeoutSeconds"},
		"a time-out that the API forbids":    {`webhook.timeoutSeconds=31`, "/webhook/timeoutSeconds"},
		"no worker":                          {`reaper.workers=0`, "/reaper/workers"},
		"too many workers":                   {`reaper.workers=1001`, "/reaper/workers"},
		"an unknown completion":              {`defaults.completion="any"`, "/defaults/completion"},
		"an unknown policy on failure":       {`defaults.onFailure="Fail"`, "/defaults/onFailure"},
		"a typing error in the policies":     {`defaults.stopdelay="1s"`, "/defaults"},
		"a negative stop delay":              {`defaults.stopDelay="-1s"`, "/defaults/stopDelay"},
		"a stop delay without a unit":        {`defaults.stopDelay="10"`, "/defaults/stopDelay"},
		"a stop delay in weeks":              {`defaults.stopDelay="1w"`, "/defaults/stopDelay"},
		"days and no unit":                   {`defaults.stopDelay="1d12"`, "/defaults/stopDelay"},
		"a condition without its values":     {`webhook.namespaceSelector.matchExpressions=[{"key":"a","operator":"In"}]`, "/webhook/namespaceSelector/matchExpressions/0"},
		"a condition with no value":          {`webhook.namespaceSelector.matchExpressions=[{"key":"a","operator":"NotIn","values":[]}]`, "/webhook/namespaceSelector/matchExpressions/0/values"},
		"a condition with useless values":    {`webhook.namespaceSelector.matchExpressions=[{"key":"a","operator":"Exists","values":["b"]}]`, "/webhook/namespaceSelector/matchExpressions/0/values"},
		"a network policy for nobody":        {`webhook.networkPolicy.enabled=true`, "/webhook/networkPolicy/from"},
		"an unknown action of a policy":      {`admissionPolicies.changes=["Refuse"]`, "/admissionPolicies/changes/0"},
		"to deny and to warn":                {`admissionPolicies.changes=["Deny","Warn"]`, "/admissionPolicies/changes"},
		"a reaper that is no account":        {`admissionPolicies.exemptReapers=["other-reaper"]`, "/admissionPolicies/exemptReapers/0"},
		"a configuration's name in capitals": {`webhook.configurationName="ZZ"`, "/webhook/configurationName"},
		"an empty stop delay":                {`defaults.stopDelay=""`, "/defaults/stopDelay"},
		"a stop delay for ever":              {`defaults.stopDelay="Forever"`, "/defaults/stopDelay"},
		"a stop delay that Go cannot hold":   {`defaults.stopDelay="999999h999999h999999h"`, "/defaults/stopDelay"},
		"a retention that Go cannot hold":    {`defaults.retention="9999999h"`, "/defaults/retention"},
		"a retention for nearly ever":        {`defaults.retention="forever"`, "/defaults/retention"},
		"a retention of a negative time":     {`defaults.retention="-1h"`, "/defaults/retention"},
		"a retention as a number":            {`defaults.retention=0`, "/defaults/retention"},
		"adoption as a text":                 {`reaper.adopt="yes"`, "/reaper/adopt"},
		"another policy for workloads":       {`webhook.workloads.failurePolicy="Warn"`, "/webhook/workloads/failurePolicy"},
		"validation as a text":               {`webhook.workloads.enabled="yes"`, "/webhook/workloads/enabled"},
		"a typing error in the validation":   {`webhook.workloads.enable=true`, "/webhook/workloads"},
		"admission policies as a text":       {`admissionPolicies.enabled="yes"`, "/admissionPolicies/enabled"},
		"a typing error about them":          {`admissionPolicies.enable=true`, "/admissionPolicies"},
		"a delay without a unit":             {`webhook.shutdownDelay="5"`, "/webhook/shutdownDelay"},
		"a delay in minutes":                 {`webhook.shutdownDelay="1m"`, "/webhook/shutdownDelay"},
		"a duration in days":                 {`certificate.duration="90d"`, "/certificate/duration"},
		"a tag that YAML reads as a number":  {`image.tag=1.1`, "/image/tag"},
		"a digest that is none":              {`image.digest="latest"`, "/image/digest"},
		"no repository":                      {`image.repository=""`, "/image/repository"},
		"a flag without dashes":              {`reaper.extraArgs=["v"]`, "/reaper/extraArgs/0"},
		"a name in upper case":               {`fullnameOverride="Webhook"`, "/fullnameOverride"},
		"a label that selects the pods":      {`webhook.podLabels.app\.kubernetes\.io/name="x"`, "/webhook/podLabels/app.kubernetes.io~1name"},
		"pods that wait for themselves":      {`webhook.podLabels.essential-containers="webhook"`, "/webhook/podLabels/essential-containers"},
		"a label that is the monitor's own":  {`podMonitor.labels.helm\.sh/chart="x"`, "/podMonitor/labels/helm.sh~1chart"},
		"a value that is taken away":         {`webhook.replicas=null`, "/webhook"},
		"a section that is taken away":       {`certificate=null`, ""},
		"a name that is too long":            {`fullnameOverride="` + strings.Repeat("a", 51) + `"`, "/fullnameOverride"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runHelm(t, "template", release, chartDir, "--set-json", test.set)
			if err == nil {
				t.Fatalf("%s is accepted", test.set)
			}
			if !strings.Contains(err.Error(), "- at '"+test.at+"': ") {
				t.Errorf("%s is rejected, but not by the schema at %q: %v", test.set, test.at, err)
			}
		})
	}
}

// Values of version 0.1 that no longer exist, and what Helm prints for them.
var removedValues = map[string]string{
	".reaper.stopStrategy": "reaper.stopStrategy was removed in version 0.2: delete it from your values, " +
		"or upgrade with --reset-then-reuse-values in place of --reuse-values\n",
}

func TestRemovedValues(t *testing.T) {
	for value, line := range removedValues {
		for _, was := range []string{`"Complete"`, `"Delete"`, `{"a":1}`, `false`, `null`} {
			t.Run(value+"="+was, func(t *testing.T) {
				_, err := runHelm(t, "template", release, chartDir, "--set-json", value[1:]+"="+was)
				if err == nil || !strings.Contains(err.Error(), ": "+line) {
					t.Errorf("got error %v, want one with the line %s", err, line)
				}
			})
		}
	}
}

// Values that could be installed, and would not work.
func TestRefusedValues(t *testing.T) {
	for set, want := range map[string]string{
		"reaper.serviceAccount.name=a,webhook.serviceAccount.name=a": "reaper.serviceAccount.name and webhook.serviceAccount.name must differ",
		"reaper.serviceAccount.name=essential-containers-webhook":    "reaper.serviceAccount.name and webhook.serviceAccount.name must differ",
		"certificate.renewBefore=2160h":                              "certificate.renewBefore must be shorter than certificate.duration",
		"certificate.duration=60m,certificate.renewBefore=1h1s":      "certificate.renewBefore must be shorter than certificate.duration",
		"certificate.ca.duration=1h":                                 "certificate.ca.renewBefore must be shorter than certificate.ca.duration",
	} {
		if _, err := runHelm(t, "template", release, chartDir, "--set", set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", set, err, want)
		}
	}
}

// 1.30 is the first version with ValidatingAdmissionPolicies in v1, and with the
// match conditions of webhooks for everybody.
func TestOldestKubernetes(t *testing.T) {
	for version, want := range map[string]bool{"1.29.14": false, "1.30.0": true, "1.30.0-gke.100": true, "1.37.0": true} {
		_, err := runHelm(t, "template", release, chartDir, "--kube-version", version)
		if accepted := err == nil; accepted != want {
			t.Errorf("Kubernetes %s is accepted: %v, want %v: %v", version, accepted, want, err)
		}
	}
}

// A parent chart hands its global values down.
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

// fixed reports whether the schema lists the keys of an object, which in other
// places users choose.
func (s schema) fixed() bool { return s.Properties != nil }

func TestSchemaDescribesTheValues(t *testing.T) {
	var root schema
	if err := json.Unmarshal(chartFile(t, "values.schema.json"), &root); err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := sigsyaml.UnmarshalStrict(chartFile(t, "values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	compareToSchema(t, "", values, root, root)
}

// compareToSchema checks that an object has the keys and types of its schema,
// that no other key is allowed, and that none on which templates rely can be
// taken away.
func compareToSchema(t *testing.T, path string, values map[string]any, s, root schema) {
	t.Helper()
	if s.AdditionalProperties != false {
		t.Errorf("%s: additional properties are allowed", path)
	}
	known := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Properties)), func(key string) bool {
		_, removed := removedValues[path+"."+key]
		return removed
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

// The table in the chart's README is made of the values and the comments above
// them: copy it from this test's message.
func TestReadmeListsTheValues(t *testing.T) {
	var document yaml.Node
	if err := yaml.Unmarshal(chartFile(t, "values.yaml"), &document); err != nil {
		t.Fatal(err)
	}
	table := "| value | default | meaning |\n| --- | --- | --- |\n" + rows(t, "", document.Content[0])

	_, rest, _ := strings.Cut(string(chartFile(t, "README.md")), "\n## Values\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	if diff := cmp.Diff(table, strings.TrimSpace(section)+"\n"); diff != "" {
		t.Errorf("the values in README.md should read:\n%s\n(-want +got):\n%s", table, diff)
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

// isSection tells an object whose keys are values, and commented, from one that
// is itself a value.
func isSection(value *yaml.Node) bool {
	if value.Kind != yaml.MappingNode {
		return false
	}
	return slices.ContainsFunc(value.Content, func(n *yaml.Node) bool { return n.HeadComment != "" })
}

func chartFile(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(chartDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
