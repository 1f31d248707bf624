package webhook

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// under gives the pod a restartPolicy.
func (b *podBuilder) under(policy string) *podBuilder {
	b.spec["restartPolicy"] = policy
	return b
}

// labelledToo adds a label to those of the pod.
func (b *podBuilder) labelledToo(key, value string) *podBuilder {
	labels, _ := b.metadata["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
	}
	labels[key] = value
	b.metadata["labels"] = labels
	return b
}

func rule(action, operator string, codes ...int) []any {
	return []any{map[string]any{"action": action, "exitCodes": map[string]any{"operator": operator, "values": codes}}}
}

// A container whose completion cannot happen, or cannot be told from a restart by
// the kubelet, is denied alike in pods and in every workload.
func TestContainersThatNeverComplete(t *testing.T) {
	probe := map[string]any{"exec": map[string]any{"command": []string{"true"}}}
	resize := func(policy string) []any {
		return []any{map[string]any{"resourceName": "cpu", "restartPolicy": "NotRequired"}, map[string]any{"resourceName": "memory", "restartPolicy": policy}}
	}
	ruled := func(name string) string {
		return `metadata.labels[essential-containers]: Invalid value: "` + name + `": never completes: its restartPolicyRules restart it after exit code 0; remove that rule`
	}
	looksAlike := func(name, field string) string {
		return `metadata.labels[essential-containers]: Invalid value: "` + name + `": under restartPolicy Always a restart because of its ` + field +
			` looks like a completion: remove the ` + field + `, or choose restartPolicy OnFailure or Never`
	}
	always := func() *podBuilder { return aPod("main", "proxy").under("Always").label("main") }
	server, _ := serveHandlers(t)
	for name, tt := range map[string]struct {
		pod  *podBuilder
		deny []string
	}{
		"a rule that restarts main after completion":            {never("main", "proxy").label("main").having("main", "restartPolicy", "Never").having("main", "restartPolicyRules", rule("Restart", "In", 0, 1)), []string{ruled("main")}},
		"a rule that restarts all after completion":             {never("main", "proxy").label("main").having("main", "restartPolicy", "Never").having("main", "restartPolicyRules", rule("RestartAllContainers", "NotIn", 1)), []string{ruled("main")}},
		"a rule that restarts main after completion, of Always": {always().having("main", "restartPolicy", "Always").having("main", "restartPolicyRules", rule("Restart", "In", 0)), []string{ruled("main")}},
		"a rule that restarts main after a failure":             {never("main", "proxy").label("main").having("main", "restartPolicy", "Never").having("main", "restartPolicyRules", rule("Restart", "In", 42)), nil},
		"a rule without a policy of its own has no effect":      {never("main", "proxy").label("main").having("main", "restartPolicyRules", rule("Restart", "In", 0)), nil},
		"a rule of a sidecar":                                   {never("main", "proxy").label("main").having("proxy", "restartPolicy", "Never").having("proxy", "restartPolicyRules", rule("Restart", "In", 0)), nil},
		"Always and a liveness probe":                           {always().having("main", "livenessProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"Always and a startup probe":                            {always().having("main", "startupProbe", probe), []string{looksAlike("main", "startupProbe")}},
		"Always and both probes":                                {always().having("main", "livenessProbe", probe).having("main", "startupProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"Always and a resize that restarts it":                  {always().having("main", "resizePolicy", resize("RestartContainer")), []string{looksAlike("main", "resizePolicy RestartContainer")}},
		"Always and a resize that does not":                     {always().having("main", "resizePolicy", resize("NotRequired")), nil},
		"Always and a readiness probe":                          {always().having("main", "readinessProbe", probe), nil},
		"Always and a liveness probe of the sidecar":            {always().having("proxy", "livenessProbe", probe), nil},
		"Always and a probe that is null":                       {always().having("main", "livenessProbe", nil), nil},
		"no restartPolicy means Always":                         {aPod("main", "proxy").label("main").having("main", "livenessProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"OnFailure and a liveness probe":                        {aPod("main").under("OnFailure").label("main").having("main", "livenessProbe", probe), nil},
		"Never and a liveness probe":                            {never("main", "proxy").label("main").having("main", "livenessProbe", probe), nil},
		"Always, and Never of its own":                          {always().having("main", "restartPolicy", "Never").having("main", "livenessProbe", probe), nil},
		"Never, and Always of its own":                          {never("main", "proxy").label("main").having("main", "restartPolicy", "Always").having("main", "livenessProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"each of several": {aPod("a", "b", "c").under("Always").label("a_b").having("a", "livenessProbe", probe).having("b", "startupProbe", probe).having("c", "livenessProbe", probe),
			[]string{looksAlike("a", "livenessProbe"), looksAlike("b", "startupProbe")}},
		"a wrong label goes first": {always().label("mian").having("main", "livenessProbe", probe),
			[]string{`metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`}},
	} {
		for kind, where := range everyPlace() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				response := server.ask(t, where.path, where.review(tt.pod))
				message := ""
				if !response.Allowed {
					message = strings.Trim(response.Result.Message, "[]")
				}
				want := strings.Trim(strings.Join(where.prefixed(tt.deny), ", "), "[]")
				if diff := cmp.Diff(want, message); diff != "" {
					t.Errorf("denial (-want +got):\n%s", diff)
				}
				if response.Patch != nil && !response.Allowed {
					t.Errorf("patched with %s", response.Patch)
				}
			})
		}
	}
}

// What has no effect, in a pod and in a template alike.
func TestWhatHasNoEffectGivesAWarning(t *testing.T) {
	annotation := func(name, why string) string {
		return "metadata.annotations[essential-containers/" + name + "]: has no effect: " + why
	}
	asLabel := func(path, name string) string {
		return "metadata.labels[essential-containers/" + name + "]: has no effect: write it to " + path + "metadata.annotations"
	}
	const oneName, restarted = "the label names one container", "the kubelet restarts the essential containers when they fail"
	hook := map[string]any{"postStart": map[string]any{"exec": map[string]any{"command": []string{"true"}}}}
	before := func(sidecar, mains string) string {
		return `metadata.labels[essential-containers]: in mode Native the postStart hook of container "` + sidecar + `" has to succeed before ` + mains + ` starts: it must not wait for it`
	}
	const tooLate = "spec.activeDeadlineSeconds: the pod ends after 60 s, before its stop-delay of 1m0s is over"
	one := func(policy string) *podBuilder { return aPod("main", "proxy").under(policy).label("main") }
	asks := func(p *podBuilder) *podBuilder { return p.annotated(essential.ModeAnnotation, "Native") }
	server, _ := serveHandlers(t)
	for name, tt := range map[string]struct {
		pod  *podBuilder
		warn func(path string) []string
	}{
		"nothing": {one("Never"), none},
		"completion of one name": {one("Never").annotated(essential.CompletionAnnotation, "All"),
			always(annotation("completion", oneName))},
		"completion of two names":         {never("a", "b", "c").label("a_b").annotated(essential.CompletionAnnotation, "All"), none},
		"on-failure under Never":          {one("Never").annotated(essential.OnFailureAnnotation, "Ignore"), none},
		"on-failure under Always":         {one("Always").annotated(essential.OnFailureAnnotation, "Stop"), always(annotation("on-failure", restarted))},
		"on-failure without a policy":     {aPod("main", "proxy").label("main").annotated(essential.OnFailureAnnotation, "Stop"), always(annotation("on-failure", restarted))},
		"on-failure and a policy of main": {one("Always").having("main", "restartPolicy", "Never").annotated(essential.OnFailureAnnotation, "Stop"), none},
		"on-failure and a policy of the sidecar": {one("Always").having("proxy", "restartPolicy", "Never").annotated(essential.OnFailureAnnotation, "Stop"),
			always(annotation("on-failure", restarted))},
		"two without effect": {one("Always").annotated(essential.OnFailureAnnotation, "Stop").annotated(essential.CompletionAnnotation, "Any"),
			always(annotation("completion", oneName), annotation("on-failure", restarted))},
		"on-failure Ignore in mode Native": {asks(one("Never")).annotated(essential.OnFailureAnnotation, "Ignore"),
			always(annotation("on-failure", "in mode Native the kubelet ends the pod"))},
		"on-failure Stop in mode Native": {asks(one("Never")).annotated(essential.OnFailureAnnotation, "Stop"), none},
		"a policy as a label": {one("Never").labelledToo("essential-containers/retention", "10m"), func(path string) []string {
			return []string{asLabel(path, "retention")}
		}},
		"two policies as labels": {one("Never").labelledToo("essential-containers/stop-delay", "10m").labelledToo("essential-containers/mode", "Native"), func(path string) []string {
			return []string{asLabel(path, "mode"), asLabel(path, "stop-delay")}
		}},
		"labels of others": {one("Never").labelledToo("essential-containersx", "x").labelledToo("retention", "1h"), none},
		"postStart of a sidecar in mode Native": {asks(one("Never")).having("proxy", "lifecycle", hook),
			always(before("proxy", `"main"`))},
		"a startup probe of a sidecar in mode Native": {asks(one("Never")).having("proxy", "startupProbe", map[string]any{}),
			always(strings.Replace(before("proxy", `"main"`), "postStart hook", "startupProbe", 1))},
		"a startup probe of main in mode Native":       {asks(one("Never")).having("main", "startupProbe", map[string]any{}), none},
		"a stop-delay as long as the pod's deadline":   {one("Never").annotated(essential.StopDelayAnnotation, "1m").deadline(60), always(tooLate)},
		"a stop-delay shorter than the pod's deadline": {one("Never").annotated(essential.StopDelayAnnotation, "59s").deadline(60), none},
		"a deadline and no stop-delay":                 {one("Never").deadline(60), none},
		"postStart of main in mode Native":             {asks(one("Never")).having("main", "lifecycle", hook), none},
		"preStop of a sidecar in mode Native":          {asks(one("Never")).having("proxy", "lifecycle", map[string]any{"preStop": map[string]any{}}), none},
		"postStart of a sidecar in mode Reap":          {one("Never").having("proxy", "lifecycle", hook), none},
		"postStart of each sidecar, in mode Native, of two names": {
			asks(never("a", "b", "c", "d").label("a_b")).annotated(essential.CompletionAnnotation, "All").having("c", "lifecycle", hook).having("d", "lifecycle", hook),
			always(before("c", `"a", "b"`), before("d", `"a", "b"`))},
	} {
		for kind, where := range everyPlace() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				response := server.ask(t, where.path, where.review(tt.pod))
				if !response.Allowed {
					t.Fatalf("denied: %s", response.Result.Message)
				}
				if diff := cmp.Diff(where.prefixed(tt.warn(where.prefix)), response.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
				for _, warning := range response.Warnings {
					if len(warning) > 256 {
						t.Errorf("%d bytes, of which the API server cuts what exceeds 256: %s", len(warning), warning)
					}
				}
			})
		}
	}
}

func none(string) []string { return nil }

func always(warnings ...string) func(string) []string {
	return func(string) []string { return warnings }
}

// What is written outside the pod template has no effect, and a warning says
// where to write it.
func TestMisplacedKeys(t *testing.T) {
	right := func() *podBuilder { return never("main", "proxy").label("main") }
	bare := func() *podBuilder { return never("main", "proxy") }
	ours := map[string]string{essential.Label: "main"}
	policy := map[string]string{essential.RetentionAnnotation: "1h"}
	for name, tt := range map[string]struct {
		template            *podBuilder
		labels, annotations map[string]string // of the workload
		want                []string          // "%" is the path of the template
	}{
		"nothing is misplaced":                   {right(), nil, nil, nil},
		"keys of others":                         {bare(), foreign, foreign, nil},
		"the label on the workload":              {bare(), ours, nil, []string{"metadata.labels[essential-containers]: has no effect: write it to %.metadata.labels"}},
		"the label on the workload and the pods": {right(), ours, nil, nil},
		"the label as an annotation":             {bare().annotate(ours), nil, nil, []string{"%.metadata.annotations[essential-containers]: has no effect: write it to %.metadata.labels"}},
		"the label as the workload's annotation": {bare(), nil, ours, []string{"metadata.annotations[essential-containers]: has no effect: write it to %.metadata.labels"}},
		"a policy on the workload":               {right(), nil, policy, []string{"metadata.annotations[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy on the workload, and no label": {bare(), nil, policy, []string{"metadata.annotations[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy on the workload and the pods":  {right().annotate(policy), nil, policy, nil},
		"a policy as the workload's label":       {right(), policy, nil, []string{"metadata.labels[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy as a label, and no label":      {bare().labelledToo(essential.RetentionAnnotation, "1h"), nil, nil, []string{"%.metadata.labels[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy as a label of labelled pods":   {right().labelledToo(essential.RetentionAnnotation, "1h"), nil, nil, []string{"%.metadata.labels[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"label and policy on the workload": {bare(), ours, policy, []string{
			"metadata.labels[essential-containers]: has no effect: write it to %.metadata.labels",
			"metadata.annotations[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
	} {
		for _, w := range everyWorkload {
			t.Run(name+"/"+w.kind, func(t *testing.T) {
				server, _ := serveHandlers(t)
				metadata := map[string]any{"labels": tt.labels, "annotations": tt.annotations}
				response := server.ask(t, WorkloadsPath, w.review(w.with(tt.template.template(), map[string]any{"podReplacementPolicy": "Failed"}, metadata)))
				if !response.Allowed {
					t.Fatalf("denied: %s", response.Result.Message)
				}
				var want []string
				for _, text := range tt.want {
					want = append(want, strings.ReplaceAll(text, "%", w.path))
				}
				if diff := cmp.Diff(want, response.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		}
	}
	t.Run("a CronJob's jobTemplate", func(t *testing.T) {
		server, _ := serveHandlers(t)
		cronJob := encode(map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{
			"metadata": map[string]any{"labels": ours, "annotations": policy},
			"spec":     map[string]any{"template": bare().template(), "podReplacementPolicy": "Failed"},
		}}})
		want := []string{
			"spec.jobTemplate.metadata.labels[essential-containers]: has no effect: write it to spec.jobTemplate.spec.template.metadata.labels",
			"spec.jobTemplate.metadata.annotations[essential-containers/retention]: has no effect: write it to spec.jobTemplate.spec.template.metadata.annotations",
		}
		if diff := cmp.Diff(want, server.ask(t, WorkloadsPath, aCronJob.review(cronJob)).Warnings); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	})
	t.Run("very many", func(t *testing.T) {
		server, _ := serveHandlers(t)
		many := map[string]string{}
		for _, name := range numbered(1000) {
			many[essential.AnnotationPrefix+name] = ""
		}
		object := aJob.with(right().template(), map[string]any{"podReplacementPolicy": "Failed"}, map[string]any{"labels": many, "annotations": many})
		if got := len(server.ask(t, WorkloadsPath, aJob.review(object)).Warnings); got != maxListed {
			t.Errorf("%d warnings, want %d", got, maxListed)
		}
	})
}

// What a Job's own fields mean for pods with sidecars.
func TestWarningsAboutJobs(t *testing.T) {
	const (
		onFailure   = "%.template.spec.restartPolicy: under OnFailure the Job counts the restarts of every container, sidecars included, and fails at its backoffLimit; Never does not"
		replacement = "%.podReplacementPolicy: choose Failed: otherwise a pod that is deleted (a drained node, preemption) while its sidecars end is counted as failed at once, and its work runs again"
		deadline    = "%.activeDeadlineSeconds: the Job's deadline does not wait for the stop-delay of 30s: the Job fails; choose a longer deadline or a shorter delay"
	)
	failed := map[string]any{"podReplacementPolicy": "Failed"}
	delayed := func() *podBuilder {
		return never("main", "proxy").label("main").annotated(essential.StopDelayAnnotation, "30s")
	}
	for name, tt := range map[string]struct {
		template *podBuilder
		fields   map[string]any
		want     []string // "%" is the path of the Job's specification
	}{
		"Never, and podReplacementPolicy Failed": {never("main", "proxy").label("main"), failed, nil},
		"OnFailure":                              {aPod("main", "proxy").under("OnFailure").label("main"), failed, []string{onFailure}},
		"OnFailure and a native sidecar":         {aPod("main").nativeSidecars("mesh").under("OnFailure").label("main"), failed, []string{onFailure}},
		"OnFailure of one container":             {aPod("main").under("OnFailure").label("main"), failed, nil},
		"podReplacementPolicy TerminatingOrFailed, which is the default": {never("main", "proxy").label("main"), map[string]any{"podReplacementPolicy": "TerminatingOrFailed"}, []string{replacement}},
		"a deadline of the Job":                        {never("main", "proxy").label("main"), map[string]any{"podReplacementPolicy": "Failed", "activeDeadlineSeconds": 60}, nil},
		"a stop-delay as long as the Job's deadline":   {delayed(), map[string]any{"podReplacementPolicy": "Failed", "activeDeadlineSeconds": 30}, []string{deadline}},
		"a stop-delay shorter than the Job's deadline": {delayed(), map[string]any{"podReplacementPolicy": "Failed", "activeDeadlineSeconds": 31}, nil},
		"a deadline of its pods and a stop-delay":      {deadlined(delayed()), failed, nil},
		"a stop-delay":       {delayed(), failed, nil},
		"everything at once": {delayed().under("OnFailure"), map[string]any{"activeDeadlineSeconds": 20}, []string{onFailure, replacement, deadline}},
		"everything at once, of a pod without the label": {aPod("main", "proxy").under("OnFailure"), map[string]any{"activeDeadlineSeconds": 60}, nil},
	} {
		for _, w := range everyWorkload {
			t.Run(name+"/"+w.kind, func(t *testing.T) {
				server, _ := serveHandlers(t)
				response := server.ask(t, WorkloadsPath, w.review(w.with(tt.template.template(), tt.fields, nil)))
				if !response.Allowed {
					t.Fatalf("denied: %s", response.Result.Message)
				}
				var want []string
				for _, text := range tt.want {
					if w.group == "batch" {
						want = append(want, strings.ReplaceAll(text, "%", strings.TrimSuffix(w.path, ".template")))
					}
				}
				if diff := cmp.Diff(want, response.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func deadlined(p *podBuilder) *podBuilder {
	p.spec["activeDeadlineSeconds"] = 60
	return p
}

// A warning says which field it is about, and no field has two.
func TestNoCauseHasTwoWarnings(t *testing.T) {
	server, _ := serveHandlers(t)
	hook := map[string]any{"postStart": map[string]any{}}
	for i, pod := range append(everyPod(),
		never("main", "proxy").label("main").having("proxy", "lifecycle", hook).annotated(essential.ModeAnnotation, "Native").
			annotated(essential.OnFailureAnnotation, "Ignore").annotated(essential.CompletionAnnotation, "Any").
			labelledToo(essential.RetentionAnnotation, "1h").annotated(essential.TrackedAnnotation, "x").annotated(essential.Label, "main"),
		never("main", "proxy").labelledToo(essential.RetentionAnnotation, "1h").annotated(essential.RetentionAnnotation, "1h").annotated(essential.Label, "main"),
	) {
		for kind, where := range everyPlace() {
			seen := map[string]string{}
			for _, warning := range server.ask(t, where.path, where.review(pod)).Warnings {
				path, _, _ := strings.Cut(warning, ": ")
				if other, twice := seen[path]; twice {
					t.Errorf("pod %d in a %s: %q and %q", i, kind, other, warning)
				}
				seen[path] = warning
			}
		}
	}
}

// What the documentation recommends causes no warning.
func TestNoSampleGivesAWarning(t *testing.T) {
	files, err := filepath.Glob("../docs/samples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	reviewed := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq(string(content), "\n---\n") {
			var kind struct{ Kind string }
			text, err := yaml.YAMLToJSON([]byte(document))
			if err != nil || json.Unmarshal(text, &kind) != nil {
				t.Fatalf("%s: no object: %v", file, err)
			}
			for i := range workloadKinds {
				if workloadKinds[i].kind != kind.Kind {
					continue
				}
				reviewed++
				if got := validate(&workloadKinds[i], decodePod(t, string(text)), nil, essential.DefaultPolicies()); len(got.warnings)+len(got.denial) > 0 {
					t.Errorf("%s: %+v", file, got)
				}
			}
		}
	}
	if reviewed < 7 {
		t.Errorf("%d workloads in the samples, want 7 or more", reviewed)
	}
}
