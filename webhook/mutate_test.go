package webhook

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"gomodules.xyz/jsonpatch/v2"

	"github.com/essential-containers/essential-containers/internal/essential"
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
		pod  *podBuilder
		want answer // without denial
		deny []string
	}{
		"a name of a regular container is tracked": {
			pod: aPod("main", "proxy").label("main").annotate(foreign),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"}}},
		},
		"a pod without annotations gets the map": {
			pod: aPod("main", "proxy").label("main"),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "add", Path: "/metadata/annotations", Value: map[string]string{"essential-containers/tracked": "main"}}}},
		},
		"an empty map of annotations is kept": {
			pod: aPod("main", "proxy").label("main").annotate(map[string]string{}),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"}}},
		},
		"annotations that are null become a map": {
			pod: aPod("main", "proxy").label("main").annotate(nil),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "add", Path: "/metadata/annotations", Value: map[string]string{"essential-containers/tracked": "main"}}}},
		},
		"several names are joined by commas in their order": {
			pod: aPod("a", "b", "c").label("c_a").annotate(foreign),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "c,a"}}},
		},
		"a tracking annotation that the user brought is overwritten": {
			pod: aPod("main", "proxy").label("main").annotated(essential.TrackedAnnotation, "proxy"),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "replace", Path: trackedPath, Value: "main"}}},
		},
		"an empty tracking annotation is overwritten": {
			pod: aPod("main", "proxy").label("main").annotated(essential.TrackedAnnotation, ""),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "replace", Path: trackedPath, Value: "main"}}},
		},
		"the right tracking annotation stays": {
			pod:  aPod("main", "proxy").label("main").annotated(essential.TrackedAnnotation, "main"),
			want: answer{result: tracked},
		},
		"a stop that the user brought is removed": {
			pod: aPod("main", "proxy").label("main").annotated(essential.StoppedAnnotation, "2026-01-05T02:00:00Z"),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"},
				{Operation: "remove", Path: stoppedPath}}},
		},
		"a delay that the user brought is removed": {
			pod: aPod("main", "proxy").label("main").annotated(essential.DueAnnotation, "2026-01-05T02:00:00Z Succeeded: x"),
			want: answer{result: tracked, operations: []jsonpatch.Operation{
				{Operation: "add", Path: trackedPath, Value: "main"},
				{Operation: "remove", Path: duePath}}},
		},
		"a container's keys are case sensitive, as the API server's": {
			pod:  aPod("proxy").label("main").having("proxy", "Name", "main"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main": no such container; the pod has "proxy"`},
		},
		"a name that no container has": {
			pod:  aPod("main", "proxy").label("mian"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`},
		},
		"an init container": {
			pod:  aPod("main", "proxy").init("setup").label("setup"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "setup": is an init container; only a regular container can be essential; the pod has "main", "proxy"`},
		},
		"an empty value": {
			pod:  aPod("main", "proxy").label(""),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "": must name an essential container; the pod has "main", "proxy"`},
		},
		"an empty name": {
			pod:  aPod("main", "proxy").label("main__proxy"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main__proxy": empty name at position 2: names are joined by a single "_"`},
		},
		"a name that is given twice": {
			pod:  aPod("main", "proxy").label("main_main"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main_main": container "main" is named twice`},
		},
		"a pod with no containers": {
			pod:  aPod().label("main"),
			deny: []string{`metadata.labels[essential-containers]: Invalid value: "main": no such container; the pod has no containers`},
		},
		"every wrong name gets its own error": {
			pod: aPod("main", "proxy").label("x_mian"),
			deny: []string{
				`metadata.labels[essential-containers]: Invalid value: "x": no such container; the pod has "main", "proxy"`,
				`metadata.labels[essential-containers]: Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`},
		},
		"the only container of the pod has nothing to stop": {
			pod: aPod("main").init("setup").label("main").annotate(foreign),
			want: answer{result: tracked,
				operations: []jsonpatch.Operation{{Operation: "add", Path: trackedPath, Value: "main"}},
				warnings:   []string{`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes, unless another webhook adds a sidecar`}},
		},
		"right policies stay as they are": {
			pod: aPod("main", "proxy").label("main_proxy").annotated(essential.TrackedAnnotation, "main,proxy").
				annotated(essential.CompletionAnnotation, "All").annotated(essential.RetentionAnnotation, "Forever"),
			want: answer{result: tracked},
		},
		"a wrong policy is denied, without a patch": {
			pod:  aPod("main", "proxy").label("main").annotated(essential.StopDelayAnnotation, "10"),
			deny: []string{`metadata.annotations[essential-containers/stop-delay]: Invalid value: "10": must be a duration such as 90s, 1h30m or 2d`},
		},
		"a mistyped annotation is tracked with a warning, beside that of the only container": {
			pod: aPod("main").label("main").annotated("essential-containers/retantion", "1h"),
			want: answer{result: tracked,
				operations: []jsonpatch.Operation{{Operation: "add", Path: trackedPath, Value: "main"}},
				warnings: []string{
					`metadata.annotations[essential-containers/retantion]: unknown annotation, ignored; did you mean "essential-containers/retention"?`,
					`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes, unless another webhook adds a sidecar`}},
		},
		"a native sidecar is an init container: main is the only one": {
			pod: aPod("main").init("mesh").label("main").annotated(essential.TrackedAnnotation, "main"),
			want: answer{result: tracked,
				warnings: []string{`metadata.labels[essential-containers]: "main" is the pod's only container: there is nothing to stop when it completes, unless another webhook adds a sidecar`}},
		},
		"a sidecar that was injected since the first call": {
			pod:  aPod("main", "injected").label("main").annotated(essential.TrackedAnnotation, "main"),
			want: answer{result: tracked},
		},
		"a mirror pod is not tracked, whatever its label": {
			pod:  aPod("main", "proxy").label("mian").annotated(mirrorKey, "hash"),
			want: answer{warnings: []string{`metadata.labels[essential-containers]: ignored: the API cannot stop a static pod`}},
		},
		"a mirror pod loses the annotations that it brought": {
			pod: aPod("main", "proxy").label("main").annotated(mirrorKey, "hash").
				annotated(essential.TrackedAnnotation, "main").annotated(essential.StoppedAnnotation, ""),
			want: answer{
				operations: []jsonpatch.Operation{{Operation: "remove", Path: trackedPath}, {Operation: "remove", Path: stoppedPath}},
				warnings:   []string{`metadata.labels[essential-containers]: ignored: the API cannot stop a static pod`}},
		},
		"a pod without the label stays as it is": {
			pod: aPod("main", "proxy").annotate(foreign),
		},
		"a pod without the label loses the annotations that it brought": {
			pod: aPod("main", "proxy").annotated(essential.TrackedAnnotation, "main").annotated(essential.StoppedAnnotation, "x"),
			want: answer{operations: []jsonpatch.Operation{
				{Operation: "remove", Path: trackedPath}, {Operation: "remove", Path: stoppedPath}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := mutate(decodePod(t, tt.pod.json()), essential.DefaultPolicies())
			var denial []string
			for _, err := range got.denial {
				denial = append(denial, err.Error())
			}
			if diff := cmp.Diff(tt.deny, denial); diff != "" {
				t.Errorf("denial (-want +got):\n%s", diff)
			}
			got.denial = nil
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{}), cmpopts.EquateEmpty()); diff != "" {
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
			before := p.json()
			first := mutate(decodePod(t, before), essential.DefaultPolicies())
			if len(first.denial) > 0 {
				if len(first.operations) > 0 {
					t.Errorf("%s is denied and patched", before)
				}
				return
			}
			after := before
			if len(first.operations) > 0 {
				after = apply(t, before, encode(first.operations))
			}
			if diff := cmp.Diff(without(tree(t, before), ours), without(tree(t, after), ours)); diff != "" {
				t.Errorf("a field that is not ours changed (-before +after):\n%s", diff)
			}
			annotations := decodePod(t, after).Metadata.Annotations
			for _, key := range []string{essential.DueAnnotation, essential.StoppedAnnotation} {
				if _, ok := annotations[key]; ok {
					t.Errorf("%s keeps %s", after, key)
				}
			}
			if _, ok := annotations[essential.TrackedAnnotation]; ok != (first.result != "") {
				t.Errorf("%s has the tracking annotation: %v, want %v", after, ok, first.result != "")
			}
			second := mutate(decodePod(t, after), essential.DefaultPolicies())
			first.operations = nil
			if diff := cmp.Diff(first, second, cmp.AllowUnexported(answer{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("answer of the second call (-want +got):\n%s", diff)
			}
		})
	}
}

// everyPod combines what the rules look at, with neighbours that are easily
// mistaken for it.
func everyPod() (pods []*podBuilder) {
	neighbours := map[string]string{
		"essential-containers":          "x",
		"essential-containers/tracke":   "x",
		"essential-containers~1tracked": "x",
		"essential-containers/~0":       "x",
		"tracked":                       "x",
	}
	labels := []func(*podBuilder){
		func(*podBuilder) {},
		func(p *podBuilder) { p.label("main") },
		func(p *podBuilder) { p.label("main_proxy") },
		func(p *podBuilder) { p.label("mian") },
		func(p *podBuilder) { p.label("") },
	}
	annotations := []func(*podBuilder){
		func(*podBuilder) {},
		func(p *podBuilder) { p.annotate(nil) },
		func(p *podBuilder) { p.annotate(map[string]string{}) },
		func(p *podBuilder) { p.annotate(neighbours) },
	}
	brought := []func(*podBuilder){
		func(*podBuilder) {},
		func(p *podBuilder) { p.annotated(essential.TrackedAnnotation, "main") },
		func(p *podBuilder) { p.annotated(essential.TrackedAnnotation, "") },
		func(p *podBuilder) { p.annotated(essential.StoppedAnnotation, "2026-01-05T02:00:00Z") },
		func(p *podBuilder) {
			p.annotated(essential.TrackedAnnotation, "proxy").annotated(essential.StoppedAnnotation, "").annotated(essential.DueAnnotation, "x")
		},
	}
	kinds := []func(*podBuilder){
		func(*podBuilder) {},
		func(p *podBuilder) { p.annotated(mirrorKey, "hash") },
		func(p *podBuilder) {
			p.annotated(essential.CompletionAnnotation, "All").annotated(essential.RetentionAnnotation, "Forever")
		},
		func(p *podBuilder) {
			p.annotated(essential.OnFailureAnnotation, "stop").annotated(essential.StopDelayAnnotation, "-1s")
		},
	}
	for _, containers := range [][]string{{}, {"main"}, {"main", "proxy"}} {
		for _, l := range labels {
			for _, a := range annotations {
				for _, b := range brought {
					for _, k := range kinds {
						p := aPod(containers...).init("setup")
						for _, change := range []func(*podBuilder){l, a, b, k} {
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
