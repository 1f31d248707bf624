package admission

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
)

func rule(action, operator string, codes ...int) []any {
	return []any{map[string]any{"action": action, "exitCodes": map[string]any{"operator": operator, "values": codes}}}
}

// A container whose completion cannot happen, or looks like a restart by
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
	always := func() *manifest.PodBuilder {
		return manifest.Pod("main", "proxy").RestartPolicy("Always").Label("main")
	}
	for name, tt := range map[string]struct {
		pod  *manifest.PodBuilder
		deny []string
	}{
		"a rule that restarts main after completion":            {manifest.PodNever("main", "proxy").Label("main").Having("main", "restartPolicy", "Never").Having("main", "restartPolicyRules", rule("Restart", "In", 0, 1)), []string{ruled("main")}},
		"a rule that restarts all after completion":             {manifest.PodNever("main", "proxy").Label("main").Having("main", "restartPolicy", "Never").Having("main", "restartPolicyRules", rule("RestartAllContainers", "NotIn", 1)), []string{ruled("main")}},
		"a rule that restarts main after completion, of Always": {always().Having("main", "restartPolicy", "Always").Having("main", "restartPolicyRules", rule("Restart", "In", 0)), []string{ruled("main")}},
		"a rule that restarts main after a failure":             {manifest.PodNever("main", "proxy").Label("main").Having("main", "restartPolicy", "Never").Having("main", "restartPolicyRules", rule("Restart", "In", 42)), nil},
		"a rule without a policy of its own has no effect":      {manifest.PodNever("main", "proxy").Label("main").Having("main", "restartPolicyRules", rule("Restart", "In", 0)), nil},
		"a rule of a sidecar":                                   {manifest.PodNever("main", "proxy").Label("main").Having("proxy", "restartPolicy", "Never").Having("proxy", "restartPolicyRules", rule("Restart", "In", 0)), nil},
		"Always and a liveness probe":                           {always().Having("main", "livenessProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"Always and a startup probe":                            {always().Having("main", "startupProbe", probe), []string{looksAlike("main", "startupProbe")}},
		"Always and both probes":                                {always().Having("main", "livenessProbe", probe).Having("main", "startupProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"Always and a resize that restarts it":                  {always().Having("main", "resizePolicy", resize("RestartContainer")), []string{looksAlike("main", "resizePolicy RestartContainer")}},
		"Always and a resize that does not":                     {always().Having("main", "resizePolicy", resize("NotRequired")), nil},
		"Always and a readiness probe":                          {always().Having("main", "readinessProbe", probe), nil},
		"Always and a liveness probe of the sidecar":            {always().Having("proxy", "livenessProbe", probe), nil},
		"Always and a probe that is null":                       {always().Having("main", "livenessProbe", nil), nil},
		"no restartPolicy means Always":                         {manifest.Pod("main", "proxy").Label("main").Having("main", "livenessProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"OnFailure and a liveness probe":                        {manifest.Pod("main").RestartPolicy("OnFailure").Label("main").Having("main", "livenessProbe", probe), nil},
		"Never and a liveness probe":                            {manifest.PodNever("main", "proxy").Label("main").Having("main", "livenessProbe", probe), nil},
		"Always, and Never of its own":                          {always().Having("main", "restartPolicy", "Never").Having("main", "livenessProbe", probe), nil},
		"Never, and Always of its own":                          {manifest.PodNever("main", "proxy").Label("main").Having("main", "restartPolicy", "Always").Having("main", "livenessProbe", probe), []string{looksAlike("main", "livenessProbe")}},
		"each of several": {manifest.Pod("a", "b", "c").RestartPolicy("Always").Label("a_b").Having("a", "livenessProbe", probe).Having("b", "startupProbe", probe).Having("c", "livenessProbe", probe),
			[]string{looksAlike("a", "livenessProbe"), looksAlike("b", "startupProbe")}},
		"a wrong label goes first": {always().Label("mian").Having("main", "livenessProbe", probe),
			[]string{`metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`}},
	} {
		for kind, where := range everyPlace() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				answer := where.ask(t, tt.pod)
				want := strings.Trim(strings.Join(where.prefixed(tt.deny), ", "), "[]")
				if diff := cmp.Diff(want, strings.Trim(message(answer), "[]")); diff != "" {
					t.Errorf("denial (-want +got):\n%s", diff)
				}
				if len(answer.Patch) > 0 && len(answer.Denial) > 0 {
					t.Errorf("patched with %v", answer.Patch)
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
	one := func(policy string) *manifest.PodBuilder {
		return manifest.Pod("main", "proxy").RestartPolicy(policy).Label("main")
	}
	asks := func(p *manifest.PodBuilder) *manifest.PodBuilder { return p.Annotate(api.ModeAnnotation, "Native") }
	for name, tt := range map[string]struct {
		pod  *manifest.PodBuilder
		warn func(path string) []string
	}{
		"nothing": {one("Never"), none},
		"completion of one name": {one("Never").Annotate(api.CompletionAnnotation, "All"),
			always(annotation("completion", oneName))},
		"completion of two names":         {manifest.PodNever("a", "b", "c").Label("a_b").Annotate(api.CompletionAnnotation, "All"), none},
		"on-failure under Never":          {one("Never").Annotate(api.OnFailureAnnotation, "Ignore"), none},
		"on-failure under Always":         {one("Always").Annotate(api.OnFailureAnnotation, "Stop"), always(annotation("on-failure", restarted))},
		"on-failure without a policy":     {manifest.Pod("main", "proxy").Label("main").Annotate(api.OnFailureAnnotation, "Stop"), always(annotation("on-failure", restarted))},
		"on-failure and a policy of main": {one("Always").Having("main", "restartPolicy", "Never").Annotate(api.OnFailureAnnotation, "Stop"), none},
		"on-failure and a policy of the sidecar": {one("Always").Having("proxy", "restartPolicy", "Never").Annotate(api.OnFailureAnnotation, "Stop"),
			always(annotation("on-failure", restarted))},
		"two without effect": {one("Always").Annotate(api.OnFailureAnnotation, "Stop").Annotate(api.CompletionAnnotation, "Any"),
			always(annotation("completion", oneName), annotation("on-failure", restarted))},
		"on-failure Ignore in mode Native": {asks(one("Never")).Annotate(api.OnFailureAnnotation, "Ignore"),
			always(annotation("on-failure", "in mode Native the kubelet ends the pod"))},
		"on-failure Ignore of two names in mode Native": {
			asks(manifest.PodNever("a", "b", "c").Label("a_b")).Annotate(api.CompletionAnnotation, "All").Annotate(api.OnFailureAnnotation, "Ignore"), none},
		"on-failure Stop in mode Native": {asks(one("Never")).Annotate(api.OnFailureAnnotation, "Stop"), none},
		"a policy as a label": {one("Never").AddLabel("essential-containers/retention", "10m"), func(path string) []string {
			return []string{asLabel(path, "retention")}
		}},
		"two policies as labels": {one("Never").AddLabel("essential-containers/stop-delay", "10m").AddLabel("essential-containers/mode", "Native"), func(path string) []string {
			return []string{asLabel(path, "mode"), asLabel(path, "stop-delay")}
		}},
		"labels of others": {one("Never").AddLabel("essential-containersx", "x").AddLabel("retention", "1h"), none},
		"postStart of a sidecar in mode Native": {asks(one("Never")).Having("proxy", "lifecycle", hook),
			always(before("proxy", `"main"`))},
		"a startup probe of a sidecar in mode Native": {asks(one("Never")).Having("proxy", "startupProbe", map[string]any{}),
			always(strings.Replace(before("proxy", `"main"`), "postStart hook", "startupProbe", 1))},
		"a startup probe of main in mode Native":       {asks(one("Never")).Having("main", "startupProbe", map[string]any{}), none},
		"a stop-delay as long as the pod's deadline":   {one("Never").Annotate(api.StopDelayAnnotation, "1m").Deadline(60), always(tooLate)},
		"a stop-delay shorter than the pod's deadline": {one("Never").Annotate(api.StopDelayAnnotation, "59s").Deadline(60), none},
		"a deadline and no stop-delay":                 {one("Never").Deadline(60), none},
		"postStart of main in mode Native":             {asks(one("Never")).Having("main", "lifecycle", hook), none},
		"preStop of a sidecar in mode Native":          {asks(one("Never")).Having("proxy", "lifecycle", map[string]any{"preStop": map[string]any{}}), none},
		"postStart of a sidecar in mode Reap":          {one("Never").Having("proxy", "lifecycle", hook), none},
		"postStart of each sidecar, in mode Native, of two names": {
			asks(manifest.PodNever("a", "b", "c", "d").Label("a_b")).Annotate(api.CompletionAnnotation, "All").Having("c", "lifecycle", hook).Having("d", "lifecycle", hook),
			always(before("c", `"a", "b"`), before("d", `"a", "b"`))},
	} {
		for kind, where := range everyPlace() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				answer := where.ask(t, tt.pod)
				if len(answer.Denial) > 0 {
					t.Fatalf("denied: %s", answer.Denial)
				}
				if diff := cmp.Diff(where.prefixed(tt.warn(where.prefix)), answer.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
				for _, warning := range answer.Warnings {
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
	right := func() *manifest.PodBuilder { return manifest.PodNever("main", "proxy").Label("main") }
	bare := func() *manifest.PodBuilder { return manifest.PodNever("main", "proxy") }
	ours := map[string]string{api.Label: "main"}
	policy := map[string]string{api.RetentionAnnotation: "1h"}
	for name, tt := range map[string]struct {
		template            *manifest.PodBuilder
		labels, annotations map[string]string // of the workload
		want                []string          // "%" is the path of the template
	}{
		"nothing is misplaced":                   {right(), nil, nil, nil},
		"keys of others":                         {bare(), manifest.Foreign, manifest.Foreign, nil},
		"the label on the workload":              {bare(), ours, nil, []string{"metadata.labels[essential-containers]: has no effect: write it to %.metadata.labels"}},
		"the label on the workload and the pods": {right(), ours, nil, nil},
		"the label as an annotation":             {bare().Annotations(ours), nil, nil, []string{"%.metadata.annotations[essential-containers]: has no effect: write it to %.metadata.labels"}},
		"the label as the workload's annotation": {bare(), nil, ours, []string{"metadata.annotations[essential-containers]: has no effect: write it to %.metadata.labels"}},
		"a policy on the workload":               {right(), nil, policy, []string{"metadata.annotations[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy on the workload, and no label": {bare(), nil, policy, []string{"metadata.annotations[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy on the workload and the pods":  {right().Annotations(policy), nil, policy, nil},
		"a policy as the workload's label":       {right(), policy, nil, []string{"metadata.labels[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy as a label, and no label":      {bare().AddLabel(api.RetentionAnnotation, "1h"), nil, nil, []string{"%.metadata.labels[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"a policy as a label of labelled pods":   {right().AddLabel(api.RetentionAnnotation, "1h"), nil, nil, []string{"%.metadata.labels[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
		"label and policy on the workload": {bare(), ours, policy, []string{
			"metadata.labels[essential-containers]: has no effect: write it to %.metadata.labels",
			"metadata.annotations[essential-containers/retention]: has no effect: write it to %.metadata.annotations"}},
	} {
		for _, w := range manifest.Workloads {
			t.Run(name+"/"+w.Kind, func(t *testing.T) {
				metadata := map[string]any{"labels": tt.labels, "annotations": tt.annotations}
				answer := askWorkload(t, w, w.With(tt.template.Template(), map[string]any{"podReplacementPolicy": "Failed"}, metadata))
				if len(answer.Denial) > 0 {
					t.Fatalf("denied: %s", answer.Denial)
				}
				var want []string
				for _, text := range tt.want {
					want = append(want, strings.ReplaceAll(text, "%", w.Path))
				}
				if diff := cmp.Diff(want, answer.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		}
	}
	t.Run("a CronJob's jobTemplate", func(t *testing.T) {
		cronJob := manifest.Encode(map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{
			"metadata": map[string]any{"labels": ours, "annotations": policy},
			"spec":     map[string]any{"template": bare().Template(), "podReplacementPolicy": "Failed"},
		}}})
		want := []string{
			"spec.jobTemplate.metadata.labels[essential-containers]: has no effect: write it to spec.jobTemplate.spec.template.metadata.labels",
			"spec.jobTemplate.metadata.annotations[essential-containers/retention]: has no effect: write it to spec.jobTemplate.spec.template.metadata.annotations",
		}
		if diff := cmp.Diff(want, askWorkload(t, manifest.CronJob, cronJob).Warnings); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	})
	t.Run("very many", func(t *testing.T) {
		many := map[string]string{}
		for _, name := range numbered(1000) {
			many[api.AnnotationPrefix+name] = ""
		}
		object := manifest.Job.With(right().Template(), map[string]any{"podReplacementPolicy": "Failed"}, map[string]any{"labels": many, "annotations": many})
		if got := len(askWorkload(t, manifest.Job, object).Warnings); got != maxListed {
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
	delayed := func() *manifest.PodBuilder {
		return manifest.PodNever("main", "proxy").Label("main").Annotate(api.StopDelayAnnotation, "30s")
	}
	for name, tt := range map[string]struct {
		template *manifest.PodBuilder
		fields   map[string]any
		want     []string // "%" is the path of the Job's specification
	}{
		"Never, and podReplacementPolicy Failed": {manifest.PodNever("main", "proxy").Label("main"), failed, nil},
		"OnFailure":                              {manifest.Pod("main", "proxy").RestartPolicy("OnFailure").Label("main"), failed, []string{onFailure}},
		"OnFailure and a native sidecar":         {manifest.Pod("main").NativeSidecars("mesh").RestartPolicy("OnFailure").Label("main"), failed, []string{onFailure}},
		"OnFailure of one container":             {manifest.Pod("main").RestartPolicy("OnFailure").Label("main"), failed, nil},
		"podReplacementPolicy TerminatingOrFailed, which is the default": {manifest.PodNever("main", "proxy").Label("main"), map[string]any{"podReplacementPolicy": "TerminatingOrFailed"}, []string{replacement}},
		"a deadline of the Job":                        {manifest.PodNever("main", "proxy").Label("main"), map[string]any{"podReplacementPolicy": "Failed", "activeDeadlineSeconds": 60}, nil},
		"a stop-delay as long as the Job's deadline":   {delayed(), map[string]any{"podReplacementPolicy": "Failed", "activeDeadlineSeconds": 30}, []string{deadline}},
		"a stop-delay shorter than the Job's deadline": {delayed(), map[string]any{"podReplacementPolicy": "Failed", "activeDeadlineSeconds": 31}, nil},
		"a deadline of its pods and a stop-delay":      {deadlined(delayed()), failed, nil},
		"a stop-delay":       {delayed(), failed, nil},
		"everything at once": {delayed().RestartPolicy("OnFailure"), map[string]any{"activeDeadlineSeconds": 20}, []string{onFailure, replacement, deadline}},
		"everything at once, of a pod without the label": {manifest.Pod("main", "proxy").RestartPolicy("OnFailure"), map[string]any{"activeDeadlineSeconds": 60}, nil},
	} {
		for _, w := range manifest.Workloads {
			t.Run(name+"/"+w.Kind, func(t *testing.T) {
				answer := askWorkload(t, w, w.With(tt.template.Template(), tt.fields, nil))
				if len(answer.Denial) > 0 {
					t.Fatalf("denied: %s", answer.Denial)
				}
				var want []string
				for _, text := range tt.want {
					if w.Group == "batch" {
						want = append(want, strings.ReplaceAll(text, "%", strings.TrimSuffix(w.Path, ".template")))
					}
				}
				if diff := cmp.Diff(want, answer.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func deadlined(p *manifest.PodBuilder) *manifest.PodBuilder {
	p.Spec["activeDeadlineSeconds"] = 60
	return p
}

// A warning says which field it is about, and no field has two.
func TestNoCauseHasTwoWarnings(t *testing.T) {
	hook := map[string]any{"postStart": map[string]any{}}
	for i, pod := range append(everyPod(),
		manifest.PodNever("main", "proxy").Label("main").Having("proxy", "lifecycle", hook).Annotate(api.ModeAnnotation, "Native").
			Annotate(api.OnFailureAnnotation, "Ignore").Annotate(api.CompletionAnnotation, "Any").
			AddLabel(api.RetentionAnnotation, "1h").Annotate(api.TrackedAnnotation, "x").Annotate(api.Label, "main"),
		manifest.PodNever("main", "proxy").AddLabel(api.RetentionAnnotation, "1h").Annotate(api.RetentionAnnotation, "1h").Annotate(api.Label, "main"),
	) {
		for kind, where := range everyPlace() {
			seen := map[string]string{}
			for _, warning := range where.ask(t, pod).Warnings {
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
	files, err := filepath.Glob("../../docs/samples/*.yaml")
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
			for i := range WorkloadKinds {
				if WorkloadKinds[i].Kind != kind.Kind {
					continue
				}
				reviewed++
				if got := Workload(&WorkloadKinds[i], decode(t, string(text)), nil, essential.DefaultPolicies()); len(got.Warnings)+len(got.Denial) > 0 {
					t.Errorf("%s: %+v", file, got)
				}
			}
		}
	}
	if reviewed < 7 {
		t.Errorf("%d workloads in the samples, want 7 or more", reviewed)
	}
}
