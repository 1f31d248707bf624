package admission

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
)

// nativeByDefault is what an operator prefers.
func nativeByDefault() essential.Policies {
	p := essential.DefaultPolicies()
	p.Mode = api.ModeNative
	return p
}

// What keeps a pod from being native is the same for the user who asks for that,
// who gets a denial, and for the operator who prefers it, whose pods then
// stay as they are, with a warning; in a pod and in a template alike.
func TestObstacles(t *testing.T) {
	const (
		several   = "the first completion of several essential containers is to end the pod, but the kubelet waits for all of them: choose essential-containers/completion: All"
		delayed   = "the kubelet ends native sidecars without a delay of 30s: choose essential-containers/stop-delay: 0s, and let them flush in a preStop hook or in their grace period"
		restarted = `the kubelet starts "main" again after completion, so that the pod never ends by itself: choose restartPolicy OnFailure or Never`
		special   = `"proxy" has a restartPolicy or restartPolicyRules of its own, while a native sidecar is always restarted: leave them out`
	)
	rules := func(action, operator string, codes ...int) []any {
		return []any{map[string]any{"action": action, "exitCodes": map[string]any{"operator": operator, "values": codes}}}
	}
	always := manifest.Pod("main", "proxy")
	always.Spec["restartPolicy"] = "Always"
	onFailure := manifest.Pod("main", "proxy")
	onFailure.Spec["restartPolicy"] = "OnFailure"
	for name, tt := range map[string]struct {
		pod      *manifest.PodBuilder // labelled main, unless it has a label
		defaults func(*essential.Policies)
		want     []string
	}{
		"restartPolicy Never":                          {pod: manifest.PodNever("main", "proxy")},
		"restartPolicy OnFailure":                      {pod: onFailure},
		"restartPolicy Always":                         {pod: always, want: []string{restarted}},
		"no restartPolicy, which means Always":         {pod: manifest.Pod("main", "proxy"), want: []string{restarted}},
		"Always, but not of main":                      {pod: manifest.Pod("main", "proxy").Having("main", "restartPolicy", "Never")},
		"Never, but Always of main":                    {pod: manifest.PodNever("main", "proxy").Having("main", "restartPolicy", "Always"), want: []string{restarted}},
		"a rule that restarts main after a failure":    {pod: manifest.PodNever("main", "proxy").Having("main", "restartPolicy", "Never").Having("main", "restartPolicyRules", rules("Restart", "In", 42))},
		"a sidecar that is always restarted":           {pod: manifest.PodNever("main", "proxy").Having("proxy", "restartPolicy", "Always")},
		"a sidecar that is not restarted":              {pod: manifest.PodNever("main", "proxy").Having("proxy", "restartPolicy", "Never"), want: []string{special}},
		"a sidecar that is restarted after a failure":  {pod: manifest.PodNever("main", "proxy").Having("proxy", "restartPolicy", "OnFailure"), want: []string{special}},
		"a sidecar with rules":                         {pod: manifest.PodNever("main", "proxy").Having("proxy", "restartPolicy", "Always").Having("proxy", "restartPolicyRules", rules("RestartAllContainers", "In", 7)), want: []string{special}},
		"several essential containers":                 {pod: manifest.PodNever("main", "b", "proxy").Label("main_b"), want: []string{several}},
		"several that all have to complete":            {pod: manifest.PodNever("main", "b", "proxy").Label("main_b").Annotate(api.CompletionAnnotation, "All")},
		"several that all have to, by default":         {pod: manifest.PodNever("main", "b", "proxy").Label("main_b"), defaults: func(p *essential.Policies) { p.Completion = api.CompletionAll }},
		"several, and the default is overridden":       {pod: manifest.PodNever("main", "b", "proxy").Label("main_b").Annotate(api.CompletionAnnotation, "Any"), defaults: func(p *essential.Policies) { p.Completion = api.CompletionAll }, want: []string{several}},
		"a stop-delay":                                 {pod: manifest.PodNever("main", "proxy").Annotate(api.StopDelayAnnotation, "30s"), want: []string{delayed}},
		"a stop-delay by default, and none of its own": {pod: manifest.PodNever("main", "proxy").Annotate(api.StopDelayAnnotation, "0s"), defaults: func(p *essential.Policies) { p.StopDelay = 30 * time.Second }},
		"any on-failure and retention":                 {pod: manifest.PodNever("main", "proxy").Annotate(api.OnFailureAnnotation, "Stop").Annotate(api.RetentionAnnotation, "Forever")},
		"everything at once":                           {pod: manifest.Pod("main", "b", "proxy").Label("main_b").Having("proxy", "restartPolicy", "Never").Annotate(api.StopDelayAnnotation, "30s"), want: []string{several, delayed, strings.Replace(restarted, `"main"`, `"main", "b"`, 1), special}},
		"more sidecars than can be listed":             {pod: manifest.PodNever("main", "a", "b", "c", "d", "e", "f").Having("a", "restartPolicy", "Never").Having("b", "restartPolicy", "Never").Having("c", "restartPolicy", "Never").Having("d", "restartPolicy", "Never").Having("e", "restartPolicy", "Never").Having("f", "restartPolicy", "Never"), want: []string{strings.Replace(special, `"proxy"`, `"a", "b", "c", "d", "e", 1 more`, 1)}},
		"as many sidecars as are converted":            {pod: manifest.PodNever(append([]string{"main"}, numbered(maxSidecars)...)...)},
		"one sidecar more":                             {pod: manifest.PodNever(append([]string{"main"}, numbered(maxSidecars+1)...)...), want: []string{"the pod has more than 1000 sidecars"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, labelled := tt.pod.Metadata["labels"]; !labelled {
				tt.pod.Label("main")
			}
			defaults := essential.DefaultPolicies()
			if tt.defaults != nil {
				tt.defaults(&defaults)
			}
			preferred := defaults
			preferred.Mode = api.ModeNative

			var warnings, denials []string
			for _, reason := range tt.want {
				warnings = append(warnings, "metadata.labels[essential-containers]: handled in mode Reap, although the cluster's default is Native: "+reason)
				denials = append(denials, `metadata.annotations[essential-containers/mode]: Invalid value: "Native": `+reason+", or choose mode Reap")
			}
			plain := Pod(decode(t, tt.pod.JSON()), defaults)
			byDefault := Pod(decode(t, tt.pod.JSON()), preferred)
			templateByDefault := Workload(&WorkloadKinds[2], decode(t, manifest.Deployment.Around(tt.pod.Template())), nil, preferred)
			tt.pod.Annotate(api.ModeAnnotation, "Native")
			asked := Pod(decode(t, tt.pod.JSON()), defaults)
			templateAsked := Workload(&WorkloadKinds[2], decode(t, manifest.Deployment.Around(tt.pod.Template())), nil, defaults)
			tt.pod.Annotations(map[string]string{})
			tt.pod.Annotate(api.ModeAnnotation, "Reap")

			diff := func(what string, want, got []string) {
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			diff("warnings without the mode", nil, plain.Warnings)
			diff("warnings by default", warnings, byDefault.Warnings)
			diff("warnings for the template, by default", prefixed("spec.template.", warnings), templateByDefault.Warnings)
			diff("denial by default", nil, texts(byDefault.Denial))
			diff("denial of what is asked for", denials, texts(asked.Denial))
			diff("denial of the template", prefixed("spec.template.", denials), texts(templateAsked.Denial))
			want := map[bool]Result{true: Native, false: Fallback}[len(tt.want) == 0]
			if byDefault.Result != want || plain.Result != Tracked {
				t.Errorf("by default the pod is %q, want %q; else %q", byDefault.Result, want, plain.Result)
			}
			if converted := len(byDefault.Patch) > len(plain.Patch); converted != (want == Native) {
				t.Errorf("converted by default: %v", converted)
			}
			if len(tt.want) == 0 && asked.Result != Native {
				t.Errorf("the pod that asks is %q", asked.Result)
			}
		})
	}
}

func texts[E error](errs []E) (texts []string) {
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return texts
}

func prefixed(prefix string, texts []string) []string { return place{prefix: prefix}.prefixed(texts) }

func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("c%d", i))
	}
	return names
}

func TestAPodKeepsItsModeWhateverTheDefault(t *testing.T) {
	v := Pod(decode(t, manifest.PodNever("main", "proxy").Label("main").Annotate(api.ModeAnnotation, "Reap").JSON()), nativeByDefault())
	if v.Result != Tracked || len(v.Patch) != 1 || len(v.Warnings) != 0 {
		t.Errorf("got %+v", v)
	}
}

// There is no warning about a pod without sidecars.
func TestNoWarningWithoutSidecars(t *testing.T) {
	for name, pod := range map[string]*manifest.PodBuilder{
		"all are essential": manifest.Pod("main", "b").Label("main_b"),
		"there is no label": manifest.Pod("main", "b"),
	} {
		t.Run(name, func(t *testing.T) {
			if v := Pod(decode(t, pod.JSON()), nativeByDefault()); len(v.Warnings) != 0 {
				t.Errorf("warned: %q", v.Warnings)
			}
		})
	}
}

// "There is nothing to stop" is right only where there are no sidecars of either
// kind: those of a converted pod, when the API server calls again, are native.
func TestTheWarningOfTheOnlyContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *manifest.PodBuilder
		want int
	}{
		"no sidecar":                  {manifest.PodNever("main").Label("main"), 1},
		"no sidecar in mode Native":   {manifest.PodNever("main").Label("main").Annotate(api.ModeAnnotation, "Native"), 1},
		"a plain init container":      {manifest.PodNever("main").InitContainers("setup").Label("main"), 1},
		"a native sidecar":            {manifest.PodNever("main").NativeSidecars("mesh").Label("main"), 0},
		"a regular one":               {manifest.PodNever("main", "proxy").Label("main"), 0},
		"a regular one, to be native": {manifest.PodNever("main", "proxy").Label("main").Annotate(api.ModeAnnotation, "Native"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			text := tt.pod.JSON()
			v := askPod(t, text)
			again := askPod(t, manifest.Apply(t, text, manifest.Encode(v.Patch)))
			if len(v.Warnings) != tt.want || len(again.Warnings) != tt.want {
				t.Errorf("warnings %q, in the second call %q", v.Warnings, again.Warnings)
			}
		})
	}
}

// Whatever the containers, the essential ones stay where they are, all others
// stand behind the init containers, in order, whole and always restarted, and the
// second call changes nothing more.
func TestConversion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		containers := numbered(rapid.IntRange(1, 6).Draw(t, "containers"))
		essentials := containers[:rapid.IntRange(1, len(containers)).Draw(t, "essentials")]
		pod := manifest.PodNever(rapid.Permutation(containers).Draw(t, "order")...).Label(strings.Join(essentials, "_")).
			Annotate(api.ModeAnnotation, "Native").Annotate(api.CompletionAnnotation, "All")
		for _, name := range containers {
			pod.Having(name, "ports", []any{map[string]any{"containerPort": json.Number(fmt.Sprint(rapid.IntRange(1, 65535).Draw(t, "port")))}})
			if rapid.Bool().Draw(t, "restarted") && !slices.Contains(essentials, name) {
				pod.Having(name, "restartPolicy", "Always")
			}
		}
		switch rapid.SampledFrom([]string{"absent", "null", "empty", "plain", "native"}).Draw(t, "init containers") {
		case "null":
			pod.Spec["initContainers"] = nil
		case "empty":
			pod.Spec["initContainers"] = []any{}
		case "plain":
			pod.InitContainers("setup", "migrate")
		case "native":
			pod.NativeSidecars("mesh")
		}
		before := pod.JSON()

		first := askPod(t, before)
		if len(first.Denial) > 0 {
			t.Fatalf("denied: %v", first.Denial)
		}
		after := before
		if len(first.Patch) > 0 {
			after = manifest.Apply(t, before, manifest.Encode(first.Patch))
		}
		want, got := manifest.Tree(t, before), manifest.Tree(t, after)
		spec := want["spec"].(map[string]any)
		initial, _ := spec["initContainers"].([]any)
		var regular []any
		for _, c := range spec["containers"].([]any) {
			c := c.(map[string]any)
			if slices.Contains(essentials, c["name"].(string)) {
				regular = append(regular, c)
				continue
			}
			c["restartPolicy"] = "Always"
			initial = append(initial, c)
		}
		spec["containers"] = regular
		if len(regular) < len(containers) {
			spec["initContainers"] = initial
		}
		want["metadata"].(map[string]any)["annotations"].(map[string]any)[api.TrackedAnnotation] = strings.Join(essentials, ",")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the pod (-want +got):\n%s", diff)
		}
		if second := askPod(t, after); len(second.Patch) > 0 || second.Result != Native {
			t.Errorf("the second call: %+v", second)
		}
	})
}

// Fields of a sidecar that are newer than the API library survive the conversion
// as they came, in the operation byte by byte.
func TestTheConversionKeepsWhatItDoesNotKnow(t *testing.T) {
	sidecar := `{"futureField" : {"number":1.50e+3, "z":[{"b":null,"a":-0.0}], "text":"<&> \u00e9 é"}, "restartPolicy":"Always", "name":"proxy"}`
	pod := `{"metadata":{"labels":{"essential-containers":"main"},"annotations":{"essential-containers/mode":"Native"}},` +
		`"spec":{"restartPolicy":"Never","containers":[` + sidecar + `,{"name":"main"}]}}`
	v := askPod(t, pod)
	var raw string
	for _, o := range v.Patch {
		if o.Path == "/spec/initContainers/-" {
			raw = string(o.Value.(json.RawMessage))
		}
	}
	if raw != sidecar {
		t.Errorf("got  %s\nwant %s", raw, sidecar)
	}
	after := manifest.Tree(t, manifest.Apply(t, pod, manifest.Encode(v.Patch)))["spec"].(map[string]any)["initContainers"].([]any)
	if diff := cmp.Diff([]any{manifest.Tree(t, sidecar)}, after); diff != "" {
		t.Errorf("init containers (-want +got):\n%s", diff)
	}
}

// The sidecar that a later webhook injects is converted when the API server calls
// again, behind those that were converted before.
func TestAnInjectedSidecarIsConvertedToo(t *testing.T) {
	pod := manifest.PodNever("main", "proxy").InitContainers("setup").Label("main").Annotate(api.ModeAnnotation, "Native").JSON()
	pod = manifest.Apply(t, pod, manifest.Encode(askPod(t, pod).Patch))
	pod = manifest.Apply(t, pod, `[{"op":"add","path":"/spec/containers/0","value":{"name":"mesh"}}]`)
	pod = manifest.Apply(t, pod, manifest.Encode(askPod(t, pod).Patch))
	got := decode(t, pod)
	if diff := cmp.Diff([]string{"main"}, names(got.Spec.Containers)); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"setup", "proxy", "mesh"}, names(got.Spec.InitContainers)); diff != "" {
		t.Errorf("init containers (-want +got):\n%s", diff)
	}
	if isNative(got.Spec.InitContainers[0]) || !isNative(got.Spec.InitContainers[1]) || !isNative(got.Spec.InitContainers[2]) {
		t.Errorf("restart policies: %+v", got.Spec.InitContainers)
	}
}

// The operator's stop-delay keeps those pods in mode Reap that do not say anything.
// A pod that asks for mode Native gets it, without the delay and with a warning.
func TestADefaultStopDelayInModeNative(t *testing.T) {
	defaults := nativeByDefault()
	defaults.StopDelay = 30 * time.Second
	pod := manifest.PodNever("main", "proxy").Label("main")
	if got := Pod(decode(t, pod.JSON()), defaults); got.Result != Fallback {
		t.Errorf("a pod that says nothing is %s", got.Result)
	}
	asked := Pod(decode(t, pod.Annotate(api.ModeAnnotation, "Native").JSON()), defaults)
	want := []string{"metadata.annotations[essential-containers/mode]: the cluster's default stop-delay of 30s does not hold in mode Native"}
	if diff := cmp.Diff(want, asked.Warnings); asked.Result != Native || diff != "" {
		t.Errorf("one that asks is %s; warnings (-want +got):\n%s", asked.Result, diff)
	}
}

// No default of the operator's makes a pod denied that the built-in defaults admit;
// and a pod that asks for mode Native gets it, even if a default of the operator's
// forbids that.
func TestNoDefaultMakesAPodDenied(t *testing.T) {
	durations := rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour, essential.Forever})
	rapid.Check(t, func(t *rapid.T) {
		containers := numbered(rapid.IntRange(1, 4).Draw(t, "containers"))
		pod := manifest.Pod(containers...).RestartPolicy(rapid.SampledFrom([]string{"Never", "OnFailure", "Always"}).Draw(t, "restartPolicy")).
			Label(strings.Join(containers[:rapid.IntRange(1, len(containers)).Draw(t, "essentials")], "_"))
		for key, values := range map[string][]string{
			api.ModeAnnotation: {"Native", "Reap"}, api.CompletionAnnotation: {"Any", "All"}, api.OnFailureAnnotation: {"Stop", "Ignore"},
			api.StopDelayAnnotation: {"0s", "5s"}, api.RetentionAnnotation: {"0s", "Forever"},
		} {
			if rapid.Bool().Draw(t, key) {
				pod = pod.Annotate(key, rapid.SampledFrom(values).Draw(t, key+" value"))
			}
		}
		defaults := essential.Policies{
			Completion: rapid.SampledFrom([]api.Completion{api.CompletionAny, api.CompletionAll}).Draw(t, "default completion"),
			OnFailure:  rapid.SampledFrom([]api.OnFailure{api.OnFailureStop, api.OnFailureIgnore}).Draw(t, "default on-failure"),
			Mode:       rapid.SampledFrom([]api.Mode{api.ModeReap, api.ModeNative}).Draw(t, "default mode"),
			StopDelay:  durations.Draw(t, "default stop-delay"), Retention: durations.Draw(t, "default retention"),
		}
		builtIn, own := askPod(t, pod.JSON()), Pod(decode(t, pod.JSON()), defaults)
		if len(builtIn.Denial) == 0 && len(own.Denial) > 0 {
			t.Fatalf("with the defaults %+v: %v", defaults, own.Denial)
		}
		if builtIn.Result == Native && own.Result != Native {
			t.Fatalf("with the defaults %+v it is %s", defaults, own.Result)
		}
	})
}
