package webhook

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestWarningsAboutATemplate(t *testing.T) {
	const ignored = `: ignored: only the webhook and the reaper write it`
	for name, tt := range map[string]struct {
		template *podBuilder
		warn     []string // less the path of the template
	}{
		"only one container: the pods may get sidecars yet": {template: aPod("main").label("main")},
		"a tracking annotation": {
			template: aPod("main", "proxy").label("main").annotated(essential.TrackedAnnotation, "main"),
			warn:     []string{"metadata.annotations[essential-containers/tracked]" + ignored}},
		"a stop": {
			template: aPod("main", "proxy").label("main").annotated(essential.StoppedAnnotation, ""),
			warn:     []string{"metadata.annotations[essential-containers/stopped]" + ignored}},
		"both, after an unknown key": {
			template: aPod("main", "proxy").label("main").annotated(essential.TrackedAnnotation, "other").
				annotated(essential.StoppedAnnotation, "2026-01-05T02:00:00Z").annotated("essential-containers/x", ""),
			warn: []string{
				"metadata.annotations[essential-containers/x]: unknown annotation, ignored",
				"metadata.annotations[essential-containers/tracked]" + ignored,
				"metadata.annotations[essential-containers/stopped]" + ignored}},
		"both without the label": {
			template: aPod("main", "proxy").annotated(essential.TrackedAnnotation, "main").annotated(essential.StoppedAnnotation, "")},
	} {
		for _, w := range everyWorkload {
			t.Run(name+"/"+w.kind, func(t *testing.T) {
				server, _ := serveHandlers(t)
				response := server.ask(t, WorkloadsPath, w.creation(tt.template))
				if !response.Allowed {
					t.Fatalf("denied: %s", response.Result.Message)
				}
				want := place{prefix: w.path + "."}.prefixed(tt.warn)
				if diff := cmp.Diff(want, response.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestWorkloadsOfAnotherOutline(t *testing.T) {
	labels := map[string]any{"labels": map[string]string{essential.Label: "mian"}}
	spec := map[string]any{"containers": named([]string{"main"})}
	noContainers := `metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has no containers`
	for name, tt := range map[string]struct {
		workload workload
		object   any
		deny     string // less the path of the template
		warn     string // where a label has no effect
	}{
		"nothing":                      {aJob, map[string]any{}, "", ""},
		"no spec":                      {aJob, map[string]any{"metadata": labels}, "", "metadata"},
		"a spec that is null":          {aJob, map[string]any{"spec": nil}, "", ""},
		"no template":                  {aJob, map[string]any{"spec": map[string]any{}}, "", ""},
		"a template that is null":      {aJob, map[string]any{"spec": map[string]any{"template": nil}}, "", ""},
		"a template of nothing":        {aJob, json.RawMessage(aJob.around(map[string]any{})), "", ""},
		"a template without metadata":  {aJob, json.RawMessage(aJob.around(map[string]any{"spec": spec})), "", ""},
		"a template's metadata null":   {aJob, json.RawMessage(aJob.around(map[string]any{"metadata": nil, "spec": spec})), "", ""},
		"a template without labels":    {aJob, json.RawMessage(aJob.around(map[string]any{"metadata": map[string]any{}, "spec": spec})), "", ""},
		"a template without spec":      {aJob, json.RawMessage(aJob.around(map[string]any{"metadata": labels})), noContainers, ""},
		"a template's spec null":       {aJob, json.RawMessage(aJob.around(map[string]any{"metadata": labels, "spec": nil})), noContainers, ""},
		"a CronJob of nothing":         {aCronJob, map[string]any{}, "", ""},
		"no jobTemplate":               {aCronJob, map[string]any{"spec": map[string]any{}}, "", ""},
		"a jobTemplate that is null":   {aCronJob, map[string]any{"spec": map[string]any{"jobTemplate": nil}}, "", ""},
		"a jobTemplate without spec":   {aCronJob, map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{"metadata": labels}}}, "", "spec.jobTemplate.metadata"},
		"a CronJob's template null":    {aCronJob, json.RawMessage(aCronJob.around(nil)), "", ""},
		"a CronJob's without metadata": {aCronJob, json.RawMessage(aCronJob.around(map[string]any{"spec": spec})), "", ""},
		"a CronJob's without spec":     {aCronJob, json.RawMessage(aCronJob.around(map[string]any{"metadata": labels})), noContainers, ""},
		"a CronJob in a Job's outline": {aCronJob, json.RawMessage(aJob.around(map[string]any{"metadata": labels, "spec": spec})), "", ""},
		"a Job in a CronJob's outline": {aJob, json.RawMessage(aCronJob.around(map[string]any{"metadata": labels, "spec": spec})), "", ""},
		"a Job in a pod's outline":     {aJob, map[string]any{"metadata": labels, "spec": spec}, "", "metadata"},
		"the jobTemplate's own label": {aCronJob, map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{
			"metadata": labels, "spec": map[string]any{"template": map[string]any{"spec": spec}}}}}, "", "spec.jobTemplate.metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := serveHandlers(t)
			response := server.ask(t, WorkloadsPath, tt.workload.review(encode(tt.object)))
			got := ""
			if !response.Allowed {
				got = strings.TrimPrefix(response.Result.Message, tt.workload.path+".")
			}
			var want []string
			if tt.warn != "" {
				want = []string{tt.warn + ".labels[essential-containers]: has no effect: write it to " + tt.workload.path + ".metadata.labels"}
			}
			if got != tt.deny || !slices.Equal(want, response.Warnings) {
				t.Errorf("denied with %q, warnings %q; want %q and %q", got, response.Warnings, tt.deny, want)
			}
		})
	}
}

func TestAnUpdateIsDeniedOnlyForWhatItBreaks(t *testing.T) {
	const forgiven = "; allowed because it was so before, but new pods are denied"
	right := func() *podBuilder { return aPod("main", "proxy").label("main") }
	wrong := func() *podBuilder { return aPod("main", "proxy").label("mian") }
	noMian := `metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`
	noX := `metadata.labels[essential-containers]: Invalid value: "x": no such container; the pod has "main", "proxy"`
	notAll := `metadata.annotations[essential-containers/completion]: Invalid value: "all": must be Any or All`
	notStop := `metadata.annotations[essential-containers/on-failure]: Invalid value: "stop": must be Stop or Ignore`
	for name, tt := range map[string]struct {
		from, to *podBuilder
		deny     []string // less the path of the template
		warn     []string // less the path of the template
	}{
		"right as before":                {from: right(), to: right()},
		"wrong from now on":              {from: right(), to: wrong(), deny: []string{noMian}},
		"labelled wrongly from now on":   {from: aPod("main", "proxy"), to: wrong(), deny: []string{noMian}},
		"wrong as before":                {from: wrong(), to: wrong(), warn: []string{noMian + forgiven}},
		"put right":                      {from: wrong(), to: right()},
		"the wrong label removed":        {from: wrong(), to: aPod("main", "proxy")},
		"wrong in another way":           {from: wrong(), to: aPod("main", "proxy").label("x"), deny: []string{noX}},
		"the container's name lost":      {from: aPod("mian").label("mian"), to: wrong(), deny: []string{noMian}},
		"wrong as before, and elsewhere": {from: wrong(), to: wrong().annotated(essential.CompletionAnnotation, "all"), deny: []string{noMian, notAll}},
		"one of two put right": {
			from: wrong().annotated(essential.CompletionAnnotation, "all"), to: right().annotated(essential.CompletionAnnotation, "all"),
			warn: []string{notAll + forgiven}},
		"everything wrong as before, with an annotation that was mistyped": {
			from: wrong().annotated(essential.CompletionAnnotation, "all").annotated(essential.OnFailureAnnotation, "stop"),
			to: wrong().annotated(essential.CompletionAnnotation, "all").annotated(essential.OnFailureAnnotation, "stop").
				annotated("essential-containers/x", ""),
			warn: []string{"metadata.annotations[essential-containers/x]: unknown annotation, ignored",
				noMian + forgiven, notAll + forgiven, notStop + forgiven}},
		"wrong policy instead of another": {
			from: right().annotated(essential.CompletionAnnotation, "all"), to: right().annotated(essential.OnFailureAnnotation, "stop"),
			deny: []string{notStop}},
		"another wrong value of the same policy": {
			from: right().annotated(essential.OnFailureAnnotation, "halt"), to: right().annotated(essential.OnFailureAnnotation, "stop"),
			deny: []string{notStop}},
		"no longer ignored as a mirror pod's": {
			from: wrong().annotated(mirrorKey, "hash"), to: wrong(), deny: []string{noMian}},
	} {
		for _, w := range everyWorkload {
			t.Run(name+"/"+w.kind, func(t *testing.T) {
				server, _ := serveHandlers(t)
				response := server.ask(t, WorkloadsPath, w.update(tt.from, tt.to))
				place := place{prefix: w.path + "."}
				if diff := cmp.Diff(place.prefixed(tt.warn), response.Warnings, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("warnings (-want +got):\n%s", diff)
				}
				message := ""
				if !response.Allowed {
					message = strings.Trim(response.Result.Message, "[]")
				}
				if want := strings.Join(place.prefixed(tt.deny), ", "); message != want {
					t.Errorf("denied with %q, want %q", message, want)
				}
			})
		}
	}
}

func TestAnUpdateFromNothingIsJudgedLikeACreation(t *testing.T) {
	wrong := aPod("main", "proxy").label("mian")
	for name, old := range map[string]any{
		"no old object":        nil,
		"one of another kind":  json.RawMessage(aCronJob.around(wrong.template())),
		"one with no template": map[string]any{"spec": nil},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := serveHandlers(t)
			response := server.ask(t, WorkloadsPath, aJob.creation(wrong).with("operation", "UPDATE").with("oldObject", old))
			if response.Allowed {
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
			k := &workloadKinds[i%len(workloadKinds)]
			w := everyWorkload[slices.IndexFunc(everyWorkload, func(w workload) bool { return w.kind == k.kind })]
			denial := mutate(decodePod(t, p.json()), essential.DefaultPolicies()).denial
			v := validate(k, decodePod(t, w.around(p.template())), nil, essential.DefaultPolicies())
			if v.result != "" || v.operations != nil {
				t.Errorf("a workload gets a patch: %+v", v)
			}
			if len(v.denial) != len(denial) {
				t.Fatalf("denied with %v, its pods with %v", v.denial, denial)
			}
			for i := range denial {
				if got, want := v.denial[i].Error(), w.path+"."+denial[i].Error(); got != want {
					t.Errorf("denied with %s, want %s", got, want)
				}
			}
		})
	}
}
