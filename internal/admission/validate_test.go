package admission

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/manifest"
)

func TestWarningsAboutATemplate(t *testing.T) {
	const ignored = `: ignored: only the webhook and the reaper write it`
	for name, tt := range map[string]struct {
		template *manifest.PodBuilder
		warn     []string // less the path of the template
	}{
		"only one container: the pods may get sidecars yet": {template: manifest.Pod("main").Label("main")},
		"a tracking annotation": {
			template: manifest.Pod("main", "proxy").Label("main").Annotate(api.TrackedAnnotation, "main"),
			warn:     []string{"metadata.annotations[essential-containers/tracked]" + ignored}},
		"a stop": {
			template: manifest.Pod("main", "proxy").Label("main").Annotate(api.StoppedAnnotation, ""),
			warn:     []string{"metadata.annotations[essential-containers/stopped]" + ignored}},
		"both, after an unknown key": {
			template: manifest.Pod("main", "proxy").Label("main").Annotate(api.TrackedAnnotation, "other").
				Annotate(api.StoppedAnnotation, "2026-01-05T02:00:00Z").Annotate("essential-containers/x", ""),
			warn: []string{
				"metadata.annotations[essential-containers/x]: unknown annotation, ignored",
				"metadata.annotations[essential-containers/tracked]" + ignored,
				"metadata.annotations[essential-containers/stopped]" + ignored}},
		"both without the label": {
			template: manifest.Pod("main", "proxy").Annotate(api.TrackedAnnotation, "main").Annotate(api.StoppedAnnotation, "")},
	} {
		for _, w := range manifest.Workloads {
			t.Run(name+"/"+w.Kind, func(t *testing.T) {
				answer := askWorkload(t, w, w.Around(tt.template.Template()))
				if len(answer.Denial) > 0 {
					t.Fatalf("denied: %s", answer.Denial)
				}
				want := place{prefix: w.Path + "."}.prefixed(tt.warn)
				if diff := cmp.Diff(want, answer.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestWorkloadsOfAnotherOutline(t *testing.T) {
	labels := map[string]any{"labels": map[string]string{api.Label: "mian"}}
	spec := map[string]any{"containers": manifest.Containers("main")}
	noContainers := `metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has no containers`
	for name, tt := range map[string]struct {
		workload manifest.Workload
		object   any
		deny     string // less the path of the template
		warn     string // where a label has no effect
	}{
		"nothing":                      {manifest.Job, map[string]any{}, "", ""},
		"no spec":                      {manifest.Job, map[string]any{"metadata": labels}, "", "metadata"},
		"a spec that is null":          {manifest.Job, map[string]any{"spec": nil}, "", ""},
		"no template":                  {manifest.Job, map[string]any{"spec": map[string]any{}}, "", ""},
		"a template that is null":      {manifest.Job, map[string]any{"spec": map[string]any{"template": nil}}, "", ""},
		"a template of nothing":        {manifest.Job, json.RawMessage(manifest.Job.Around(map[string]any{})), "", ""},
		"a template without metadata":  {manifest.Job, json.RawMessage(manifest.Job.Around(map[string]any{"spec": spec})), "", ""},
		"a template's metadata null":   {manifest.Job, json.RawMessage(manifest.Job.Around(map[string]any{"metadata": nil, "spec": spec})), "", ""},
		"a template without labels":    {manifest.Job, json.RawMessage(manifest.Job.Around(map[string]any{"metadata": map[string]any{}, "spec": spec})), "", ""},
		"a template without spec":      {manifest.Job, json.RawMessage(manifest.Job.Around(map[string]any{"metadata": labels})), noContainers, ""},
		"a template's spec null":       {manifest.Job, json.RawMessage(manifest.Job.Around(map[string]any{"metadata": labels, "spec": nil})), noContainers, ""},
		"a CronJob of nothing":         {manifest.CronJob, map[string]any{}, "", ""},
		"no jobTemplate":               {manifest.CronJob, map[string]any{"spec": map[string]any{}}, "", ""},
		"a jobTemplate that is null":   {manifest.CronJob, map[string]any{"spec": map[string]any{"jobTemplate": nil}}, "", ""},
		"a jobTemplate without spec":   {manifest.CronJob, map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{"metadata": labels}}}, "", "spec.jobTemplate.metadata"},
		"a CronJob's template null":    {manifest.CronJob, json.RawMessage(manifest.CronJob.Around(nil)), "", ""},
		"a CronJob's without metadata": {manifest.CronJob, json.RawMessage(manifest.CronJob.Around(map[string]any{"spec": spec})), "", ""},
		"a CronJob's without spec":     {manifest.CronJob, json.RawMessage(manifest.CronJob.Around(map[string]any{"metadata": labels})), noContainers, ""},
		"a CronJob in a Job's outline": {manifest.CronJob, json.RawMessage(manifest.Job.Around(map[string]any{"metadata": labels, "spec": spec})), "", ""},
		"a Job in a CronJob's outline": {manifest.Job, json.RawMessage(manifest.CronJob.Around(map[string]any{"metadata": labels, "spec": spec})), "", ""},
		"a Job in a pod's outline":     {manifest.Job, map[string]any{"metadata": labels, "spec": spec}, "", "metadata"},
		"the jobTemplate's own label": {manifest.CronJob, map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{
			"metadata": labels, "spec": map[string]any{"template": map[string]any{"spec": spec}}}}}, "", "spec.jobTemplate.metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := askWorkload(t, tt.workload, manifest.Encode(tt.object))
			got := strings.TrimPrefix(message(answer), tt.workload.Path+".")
			var want []string
			if tt.warn != "" {
				want = []string{tt.warn + ".labels[essential-containers]: has no effect: write it to " + tt.workload.Path + ".metadata.labels"}
			}
			if got != tt.deny || !slices.Equal(want, answer.Warnings) {
				t.Errorf("denied with %q, warnings %q; want %q and %q", got, answer.Warnings, tt.deny, want)
			}
		})
	}
}

func TestAnUpdateIsDeniedOnlyForWhatItBreaks(t *testing.T) {
	const forgiven = "; allowed because it was so before, but new pods are denied"
	right := func() *manifest.PodBuilder { return manifest.Pod("main", "proxy").Label("main") }
	wrong := func() *manifest.PodBuilder { return manifest.Pod("main", "proxy").Label("mian") }
	noMian := `metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`
	noX := `metadata.labels[essential-containers]: Invalid value: "x": no such container; the pod has "main", "proxy"`
	notAll := `metadata.annotations[essential-containers/completion]: Invalid value: "all": must be Any or All`
	notStop := `metadata.annotations[essential-containers/on-failure]: Invalid value: "stop": must be Stop or Ignore`
	for name, tt := range map[string]struct {
		from, to *manifest.PodBuilder
		deny     []string // less the path of the template
		warn     []string // less the path of the template
	}{
		"right as before":                {from: right(), to: right()},
		"wrong from now on":              {from: right(), to: wrong(), deny: []string{noMian}},
		"labelled wrongly from now on":   {from: manifest.Pod("main", "proxy"), to: wrong(), deny: []string{noMian}},
		"wrong as before":                {from: wrong(), to: wrong(), warn: []string{noMian + forgiven}},
		"put right":                      {from: wrong(), to: right()},
		"the wrong label removed":        {from: wrong(), to: manifest.Pod("main", "proxy")},
		"wrong in another way":           {from: wrong(), to: manifest.Pod("main", "proxy").Label("x"), deny: []string{noX}},
		"the container's name lost":      {from: manifest.Pod("mian").Label("mian"), to: wrong(), deny: []string{noMian}},
		"wrong as before, and elsewhere": {from: wrong(), to: wrong().Annotate(api.CompletionAnnotation, "all"), deny: []string{noMian, notAll}},
		"one of two put right": {
			from: wrong().Annotate(api.CompletionAnnotation, "all"), to: right().Annotate(api.CompletionAnnotation, "all"),
			warn: []string{notAll + forgiven}},
		"everything wrong as before, with an annotation that was mistyped": {
			from: wrong().Annotate(api.CompletionAnnotation, "all").Annotate(api.OnFailureAnnotation, "stop"),
			to: wrong().Annotate(api.CompletionAnnotation, "all").Annotate(api.OnFailureAnnotation, "stop").
				Annotate("essential-containers/x", ""),
			warn: []string{"metadata.annotations[essential-containers/x]: unknown annotation, ignored",
				noMian + forgiven, notAll + forgiven, notStop + forgiven}},
		"wrong policy instead of another": {
			from: right().Annotate(api.CompletionAnnotation, "all"), to: right().Annotate(api.OnFailureAnnotation, "stop"),
			deny: []string{notStop}},
		"another wrong value of the same policy": {
			from: right().Annotate(api.OnFailureAnnotation, "halt"), to: right().Annotate(api.OnFailureAnnotation, "stop"),
			deny: []string{notStop}},
		"no longer ignored as a mirror pod's": {
			from: wrong().Annotate(mirrorKey, "hash"), to: wrong(), deny: []string{noMian}},
	} {
		for _, w := range manifest.Workloads {
			t.Run(name+"/"+w.Kind, func(t *testing.T) {
				answer := askWorkload(t, w, w.Around(tt.to.Template()), w.Around(tt.from.Template()))
				place := place{prefix: w.Path + "."}
				if diff := cmp.Diff(place.prefixed(tt.warn), answer.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
				got := strings.Trim(message(answer), "[]")
				if want := strings.Join(place.prefixed(tt.deny), ", "); got != want {
					t.Errorf("denied with %q, want %q", got, want)
				}
			})
		}
	}
}

func TestAnUpdateFromNothingIsJudgedLikeACreation(t *testing.T) {
	wrong := manifest.Pod("main", "proxy").Label("mian")
	for name, old := range map[string][]string{
		"no old object":        nil,
		"one of another kind":  {manifest.CronJob.Around(wrong.Template())},
		"one with no template": {`{"spec":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			if answer := askWorkload(t, manifest.Job, manifest.Job.Around(wrong.Template()), old...); len(answer.Denial) == 0 {
				t.Error("allowed")
			}
		})
	}
}

// Whatever the pod, a workload around it is denied for the same reasons, and
// never changed.
func TestAWorkloadIsDeniedExactlyIfItsPodsAre(t *testing.T) {
	for i, p := range everyPod() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w := manifest.Workloads[i%len(manifest.Workloads)]
			denial := askPod(t, p.JSON()).Denial
			v := askWorkload(t, w, w.Around(p.Template()))
			if v.Result != "" || v.Patch != nil {
				t.Errorf("a workload gets a patch: %+v", v)
			}
			if len(v.Denial) != len(denial) {
				t.Fatalf("denied with %v, its pods with %v", v.Denial, denial)
			}
			for i := range denial {
				if got, want := v.Denial[i].Error(), w.Path+"."+denial[i].Error(); got != want {
					t.Errorf("denied with %s, want %s", got, want)
				}
			}
		})
	}
}
