package admission

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gomodules.xyz/jsonpatch/v2"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
)

const (
	trackedPath = "/metadata/annotations/essential-containers~1tracked"
	duePath     = "/metadata/annotations/essential-containers~1due"
	stoppedPath = "/metadata/annotations/essential-containers~1stopped"
	mirrorKey   = "kubernetes.io/config.mirror"
)

func TestMutate(t *testing.T) {
	foreign := map[string]string{"team": "reports"}
	for name, tt := range map[string]struct {
		pod  *manifest.PodBuilder
		want Answer // without denial
		deny []string
	}{
		"a name of a regular container is tracked": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotations(foreign),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"}}},
		},
		"a pod without annotations gets the map": {
			pod: manifest.Pod("main", "proxy").Label("main"),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "add", Path: "/metadata/annotations", Value: map[string]string{"essential-containers/tracked": "main"}}}},
		},
		"an empty map of annotations is kept": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotations(map[string]string{}),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"}}},
		},
		"annotations that are null become a map": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotations(nil),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "add", Path: "/metadata/annotations", Value: map[string]string{"essential-containers/tracked": "main"}}}},
		},
		"several names are joined by commas in their order": {
			pod: manifest.Pod("a", "b", "c").Label("c_a").Annotations(foreign),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "c,a"}}},
		},
		"a tracking annotation that the user brought is overwritten": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotate(api.TrackedAnnotation, "proxy"),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "replace", Path: trackedPath, Value: "main"}}},
		},
		"an empty tracking annotation is overwritten": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotate(api.TrackedAnnotation, ""),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "replace", Path: trackedPath, Value: "main"}}},
		},
		"the right tracking annotation stays": {
			pod:  manifest.Pod("main", "proxy").Label("main").Annotate(api.TrackedAnnotation, "main"),
			want: Answer{Result: Tracked},
		},
		"a stop that the user brought is removed": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotate(api.StoppedAnnotation, "2026-01-05T02:00:00Z"),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"},
				{Operation: "remove", Path: stoppedPath}}},
		},
		"a delay that the user brought is removed": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotate(api.DueAnnotation, "2026-01-05T02:00:00Z Succeeded: x"),
			want: Answer{Result: Tracked, Patch: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"},
				{Operation: "remove", Path: duePath}}},
		},
		"a container's keys are case sensitive, as the API server's": {
			pod:  manifest.Pod("proxy").Label("main").Having("proxy", "Name", "main"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main": no such container; the pod has "proxy"`},
		},
		"a name that no container has": {
			pod:  manifest.Pod("main", "proxy").Label("mian"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`},
		},
		"an init container": {
			pod:  manifest.Pod("main", "proxy").InitContainers("setup").Label("setup"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "setup": is an init container; only a regular container can be essential; the pod has "main", "proxy"`},
		},
		"an empty value": {
			pod:  manifest.Pod("main", "proxy").Label(""),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "": must name an essential container; the pod has "main", "proxy"`},
		},
		"an empty name": {
			pod:  manifest.Pod("main", "proxy").Label("main__proxy"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main__proxy": empty name at position 2: names are joined by a single "_"`},
		},
		"a name that is given twice": {
			pod:  manifest.Pod("main", "proxy").Label("main_main"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main_main": container "main" is named twice`},
		},
		"a pod with no containers": {
			pod:  manifest.Pod().Label("main"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main": no such container; the pod has no containers`},
		},
		"every wrong name gets its own error": {
			pod: manifest.Pod("main", "proxy").Label("x_mian"),
			deny: []string{
				`metadata.labels[essential-containers]: Invalid value: "x": no such container; the pod has "main", "proxy"`,
				`metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`},
		},
		"the only container of the pod has nothing to stop": {
			pod: manifest.Pod("main").InitContainers("setup").Label("main").Annotations(foreign),
			want: Answer{Result: Tracked,
				Patch:    []jsonpatch.Operation{{Operation: "add", Path: trackedPath, Value: "main"}},
				Warnings: []string{`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes, unless another webhook adds a sidecar`}},
		},
		"right policies stay as they are": {
			pod: manifest.Pod("main", "proxy").Label("main_proxy").Annotate(api.TrackedAnnotation, "main,proxy").
				Annotate(api.CompletionAnnotation, "All").Annotate(api.RetentionAnnotation, "Forever"),
			want: Answer{Result: Tracked},
		},
		"a wrong policy is denied, without a patch": {
			pod:  manifest.Pod("main", "proxy").Label("main").Annotate(api.StopDelayAnnotation, "10"),
			deny: []string{`metadata.annotations[essential-containers/stop-delay]: Invalid value: "10": must be a duration such as 90s, 1h30m or 2d`},
		},
		"a mistyped annotation is tracked with a warning, in addition to that of the only container": {
			pod: manifest.Pod("main").Label("main").Annotate("essential-containers/retantion", "1h"),
			want: Answer{Result: Tracked,
				Patch: []jsonpatch.Operation{{Operation: "add", Path: trackedPath, Value: "main"}},
				Warnings: []string{
					`metadata.annotations[essential-containers/retantion]: unknown annotation, ignored; did you mean "essential-containers/retention"?`,
					`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes, unless another webhook adds a sidecar`}},
		},
		"a native sidecar is an init container: main is the only one": {
			pod: manifest.Pod("main").InitContainers("mesh").Label("main").Annotate(api.TrackedAnnotation, "main"),
			want: Answer{Result: Tracked,
				Warnings: []string{`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes, unless another webhook adds a sidecar`}},
		},
		"a sidecar that was injected since the first call": {
			pod:  manifest.Pod("main", "injected").Label("main").Annotate(api.TrackedAnnotation, "main"),
			want: Answer{Result: Tracked},
		},
		"a mirror pod is not tracked, whatever its label": {
			pod:  manifest.Pod("main", "proxy").Label("mian").Annotate(mirrorKey, "hash"),
			want: Answer{Warnings: []string{`metadata.labels[essential-containers]: ignored: the API cannot stop a static pod`}},
		},
		"a mirror pod loses the annotations that it brought": {
			pod: manifest.Pod("main", "proxy").Label("main").Annotate(mirrorKey, "hash").
				Annotate(api.TrackedAnnotation, "main").Annotate(api.StoppedAnnotation, ""),
			want: Answer{
				Patch:    []jsonpatch.Operation{{Operation: "remove", Path: trackedPath}, {Operation: "remove", Path: stoppedPath}},
				Warnings: []string{`metadata.labels[essential-containers]: ignored: the API cannot stop a static pod`}},
		},
		"a pod without the label stays as it is": {
			pod: manifest.Pod("main", "proxy").Annotations(foreign),
		},
		"a pod without the label loses the annotations that it brought": {
			pod: manifest.Pod("main", "proxy").Annotate(api.TrackedAnnotation, "main").Annotate(api.StoppedAnnotation, "x"),
			want: Answer{Patch: []jsonpatch.Operation{
				{Operation: "remove", Path: trackedPath}, {Operation: "remove", Path: stoppedPath}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := askPod(t, tt.pod.JSON())
			var denial []string
			for _, err := range got.Denial {
				denial = append(denial, err.Error())
			}
			if diff := cmp.Diff(tt.deny, denial); diff != "" {
				t.Errorf("denial (-want +got):\n%s", diff)
			}
			got.Denial = nil
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the pod, the patch leaves every field that is not ours alone, ours
// are right afterwards, and a second call changes nothing.
func TestMutateTouchesOnlyOurAnnotationsAndOnlyOnce(t *testing.T) {
	ours := essential.OwnAnnotations
	for i, p := range everyPod() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			before := p.JSON()
			first := askPod(t, before)
			if len(first.Denial) > 0 {
				if len(first.Patch) > 0 {
					t.Errorf("%s is denied and patched", before)
				}
				return
			}
			after := before
			if len(first.Patch) > 0 {
				after = manifest.Apply(t, before, manifest.Encode(first.Patch))
			}
			if diff := cmp.Diff(without(manifest.Tree(t, before), ours), without(manifest.Tree(t, after), ours)); diff != "" {
				t.Errorf("a field that is not ours changed (-before +after):\n%s", diff)
			}
			annotations := decode(t, after).Metadata.Annotations
			for _, key := range []string{api.DueAnnotation, api.StoppedAnnotation} {
				if _, ok := annotations[key]; ok {
					t.Errorf("%s keeps %s", after, key)
				}
			}
			if _, ok := annotations[api.TrackedAnnotation]; ok != (first.Result != "") {
				t.Errorf("%s has the tracking annotation: %v, want %v", after, ok, first.Result != "")
			}
			second := askPod(t, after)
			first.Patch = nil
			if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("answer of the second call (-want +got):\n%s", diff)
			}
		})
	}
}

// everyPod combines what the rules look at, with neighbours that are easily
// mistaken for it.
func everyPod() (pods []*manifest.PodBuilder) {
	neighbours := map[string]string{
		"essential-containers":          "x",
		"essential-containers/tracke":   "x",
		"essential-containers~1tracked": "x",
		"essential-containers/~0":       "x",
		"tracked":                       "x",
	}
	labels := []func(*manifest.PodBuilder){
		func(*manifest.PodBuilder) {},
		func(p *manifest.PodBuilder) { p.Label("main") },
		func(p *manifest.PodBuilder) { p.Label("main_proxy") },
		func(p *manifest.PodBuilder) { p.Label("mian") },
		func(p *manifest.PodBuilder) { p.Label("") },
	}
	annotations := []func(*manifest.PodBuilder){
		func(*manifest.PodBuilder) {},
		func(p *manifest.PodBuilder) { p.Annotations(nil) },
		func(p *manifest.PodBuilder) { p.Annotations(map[string]string{}) },
		func(p *manifest.PodBuilder) { p.Annotations(neighbours) },
	}
	brought := []func(*manifest.PodBuilder){
		func(*manifest.PodBuilder) {},
		func(p *manifest.PodBuilder) { p.Annotate(api.TrackedAnnotation, "main") },
		func(p *manifest.PodBuilder) { p.Annotate(api.TrackedAnnotation, "") },
		func(p *manifest.PodBuilder) { p.Annotate(api.StoppedAnnotation, "2026-01-05T02:00:00Z") },
		func(p *manifest.PodBuilder) {
			p.Annotate(api.TrackedAnnotation, "proxy").Annotate(api.StoppedAnnotation, "").Annotate(api.DueAnnotation, "x")
		},
	}
	kinds := []func(*manifest.PodBuilder){
		func(*manifest.PodBuilder) {},
		func(p *manifest.PodBuilder) { p.Annotate(mirrorKey, "hash") },
		func(p *manifest.PodBuilder) {
			p.Annotate(api.CompletionAnnotation, "All").Annotate(api.RetentionAnnotation, "Forever")
		},
		func(p *manifest.PodBuilder) {
			p.Annotate(api.OnFailureAnnotation, "stop").Annotate(api.StopDelayAnnotation, "-1s")
		},
	}
	for _, containers := range [][]string{{}, {"main"}, {"main", "proxy"}} {
		for _, l := range labels {
			for _, a := range annotations {
				for _, b := range brought {
					for _, k := range kinds {
						p := manifest.Pod(containers...).InitContainers("setup")
						for _, change := range []func(*manifest.PodBuilder){l, a, b, k} {
							change(p)
						}
						pods = append(pods, p)
					}
				}
			}
		}
	}
	return pods
}

// without returns the pod less these annotations, and less a map of annotations
// in which nothing is left: adding and emptying it are ours.
func without(pod map[string]any, keys []string) map[string]any {
	metadata := pod["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	for _, key := range keys {
		delete(annotations, key)
	}
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
	return pod
}
