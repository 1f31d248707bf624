package webhook

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

	"github.com/essential-containers/essential-containers/internal/essential"
)

// nativeByDefault is what an operator prefers.
func nativeByDefault() essential.Policies {
	p := essential.DefaultPolicies()
	p.Mode = essential.ModeNative
	return p
}

// never is a pod whose containers are not started again.
func never(containers ...string) *podBuilder {
	p := aPod(containers...)
	p.spec["restartPolicy"] = "Never"
	return p
}

// having gives one of its regular containers a field.
func (b *podBuilder) having(container, field string, value any) *podBuilder {
	for _, c := range b.spec["containers"].([]any) {
		if c := c.(map[string]any); c["name"] == container {
			c[field] = value
		}
	}
	return b
}

// What keeps a pod from being native is the same for the user who asks for that,
// who is told with a denial, and for the operator who prefers it, whose pods then
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
	always := aPod("main", "proxy")
	always.spec["restartPolicy"] = "Always"
	onFailure := aPod("main", "proxy")
	onFailure.spec["restartPolicy"] = "OnFailure"
	for name, tt := range map[string]struct {
		pod      *podBuilder // labelled main, unless it has a label
		defaults func(*essential.Policies)
		want     []string
	}{
		"restartPolicy Never":                          {pod: never("main", "proxy")},
		"restartPolicy OnFailure":                      {pod: onFailure},
		"restartPolicy Always":                         {pod: always, want: []string{restarted}},
		"no restartPolicy, which means Always":         {pod: aPod("main", "proxy"), want: []string{restarted}},
		"Always, but not of main":                      {pod: aPod("main", "proxy").having("main", "restartPolicy", "Never")},
		"Never, but Always of main":                    {pod: never("main", "proxy").having("main", "restartPolicy", "Always"), want: []string{restarted}},
		"a rule that restarts main after a failure":    {pod: never("main", "proxy").having("main", "restartPolicy", "Never").having("main", "restartPolicyRules", rules("Restart", "In", 42))},
		"a sidecar that is always restarted":           {pod: never("main", "proxy").having("proxy", "restartPolicy", "Always")},
		"a sidecar that is not restarted":              {pod: never("main", "proxy").having("proxy", "restartPolicy", "Never"), want: []string{special}},
		"a sidecar that is restarted after a failure":  {pod: never("main", "proxy").having("proxy", "restartPolicy", "OnFailure"), want: []string{special}},
		"a sidecar with rules":                         {pod: never("main", "proxy").having("proxy", "restartPolicy", "Always").having("proxy", "restartPolicyRules", rules("RestartAllContainers", "In", 7)), want: []string{special}},
		"several essential containers":                 {pod: never("main", "b", "proxy").label("main_b"), want: []string{several}},
		"several that all have to complete":            {pod: never("main", "b", "proxy").label("main_b").annotated(essential.CompletionAnnotation, "All")},
		"several that all have to, by default":         {pod: never("main", "b", "proxy").label("main_b"), defaults: func(p *essential.Policies) { p.Completion = essential.CompletionAll }},
		"several, and the default is overridden":       {pod: never("main", "b", "proxy").label("main_b").annotated(essential.CompletionAnnotation, "Any"), defaults: func(p *essential.Policies) { p.Completion = essential.CompletionAll }, want: []string{several}},
		"a stop-delay":                                 {pod: never("main", "proxy").annotated(essential.StopDelayAnnotation, "30s"), want: []string{delayed}},
		"a stop-delay by default, and none of its own": {pod: never("main", "proxy").annotated(essential.StopDelayAnnotation, "0s"), defaults: func(p *essential.Policies) { p.StopDelay = 30 * time.Second }},
		"any on-failure and retention":                 {pod: never("main", "proxy").annotated(essential.OnFailureAnnotation, "Stop").annotated(essential.RetentionAnnotation, "Forever")},
		"everything at once":                           {pod: aPod("main", "b", "proxy").label("main_b").having("proxy", "restartPolicy", "Never").annotated(essential.StopDelayAnnotation, "30s"), want: []string{several, delayed, strings.Replace(restarted, `"main"`, `"main", "b"`, 1), special}},
		"more sidecars than can be listed":             {pod: never("main", "a", "b", "c", "d", "e", "f").having("a", "restartPolicy", "Never").having("b", "restartPolicy", "Never").having("c", "restartPolicy", "Never").having("d", "restartPolicy", "Never").having("e", "restartPolicy", "Never").having("f", "restartPolicy", "Never"), want: []string{strings.Replace(special, `"proxy"`, `"a", "b", "c", "d", "e", 1 more`, 1)}},
		"as many sidecars as are converted":            {pod: never(append([]string{"main"}, numbered(maxSidecars)...)...)},
		"one sidecar more":                             {pod: never(append([]string{"main"}, numbered(maxSidecars+1)...)...), want: []string{"the pod has more than 1000 sidecars"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, labelled := tt.pod.metadata["labels"]; !labelled {
				tt.pod.label("main")
			}
			defaults := essential.DefaultPolicies()
			if tt.defaults != nil {
				tt.defaults(&defaults)
			}
			preferred := defaults
			preferred.Mode = essential.ModeNative

			var warnings, denials []string
			for _, reason := range tt.want {
				warnings = append(warnings, "metadata.labels[essential-containers]: handled in mode Reap, although the cluster's default is Native: "+reason)
				denials = append(denials, `metadata.annotations[essential-containers/mode]: Invalid value: "Native": `+reason+", or choose mode Reap")
			}
			plain := mutate(decodePod(t, tt.pod.json()), defaults)
			byDefault := mutate(decodePod(t, tt.pod.json()), preferred)
			templateByDefault := validate(&workloadKinds[2], decodePod(t, aDeployment.around(tt.pod.template())), nil, preferred)
			tt.pod.annotated(essential.ModeAnnotation, "Native")
			asked := mutate(decodePod(t, tt.pod.json()), defaults)
			templateAsked := validate(&workloadKinds[2], decodePod(t, aDeployment.around(tt.pod.template())), nil, defaults)
			tt.pod.annotate(map[string]string{})
			tt.pod.annotated(essential.ModeAnnotation, "Reap")

			diff := func(what string, want, got []string) {
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
			diff("warnings without the mode", nil, plain.warnings)
			diff("warnings by default", warnings, byDefault.warnings)
			diff("warnings for the template, by default", prefixed("spec.template.", warnings), templateByDefault.warnings)
			diff("denial by default", nil, texts(byDefault.denial))
			diff("denial of what is asked for", denials, texts(asked.denial))
			diff("denial of the template", prefixed("spec.template.", denials), texts(templateAsked.denial))
			want := map[bool]outcome{true: native, false: fallback}[len(tt.want) == 0]
			if byDefault.result != want || plain.result != tracked {
				t.Errorf("by default the pod is %q, want %q; else %q", byDefault.result, want, plain.result)
			}
			if converted := len(byDefault.operations) > len(plain.operations); converted != (want == native) {
				t.Errorf("converted by default: %v", converted)
			}
			if len(tt.want) == 0 && asked.result != native {
				t.Errorf("the pod that asks is %q", asked.result)
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
	v := mutate(decodePod(t, never("main", "proxy").label("main").annotated(essential.ModeAnnotation, "Reap").json()), nativeByDefault())
	if v.result != tracked || len(v.operations) != 1 || len(v.warnings) != 0 {
		t.Errorf("got %+v", v)
	}
}

// There is nothing to say about a pod that nobody has to be ended in.
func TestNoWarningWithoutSidecars(t *testing.T) {
	for name, pod := range map[string]*podBuilder{
		"all are essential": aPod("main", "b").label("main_b"),
		"there is no label": aPod("main", "b"),
	} {
		t.Run(name, func(t *testing.T) {
			if v := mutate(decodePod(t, pod.json()), nativeByDefault()); len(v.warnings) != 0 {
				t.Errorf("warned: %q", v.warnings)
			}
		})
	}
}

// "There is nothing to stop" is right only where there are no sidecars of either
// kind: those of a converted pod, when the API server calls again, are native.
func TestTheWarningOfTheOnlyContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		pod  *podBuilder
		want int
	}{
		"no sidecar":                  {never("main").label("main"), 1},
		"no sidecar in mode Native":   {never("main").label("main").annotated(essential.ModeAnnotation, "Native"), 1},
		"a plain init container":      {never("main").init("setup").label("main"), 1},
		"a native sidecar":            {never("main").nativeSidecars("mesh").label("main"), 0},
		"a regular one":               {never("main", "proxy").label("main"), 0},
		"a regular one, to be native": {never("main", "proxy").label("main").annotated(essential.ModeAnnotation, "Native"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			text := tt.pod.json()
			v := mutate(decodePod(t, text), essential.DefaultPolicies())
			again := mutate(decodePod(t, apply(t, text, encode(v.operations))), essential.DefaultPolicies())
			if len(v.warnings) != tt.want || len(again.warnings) != tt.want {
				t.Errorf("warnings %q, in the second call %q", v.warnings, again.warnings)
			}
		})
	}
}

func (b *podBuilder) nativeSidecars(names ...string) *podBuilder {
	b.init(names...)
	for _, c := range b.spec["initContainers"].([]any) {
		c.(map[string]any)["restartPolicy"] = "Always"
	}
	return b
}

// Whatever the containers, the essential ones stay where they are, all others
// stand behind the init containers, in order, whole and always restarted, and the
// second call changes nothing more.
func TestConversion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		containers := numbered(rapid.IntRange(1, 6).Draw(t, "containers"))
		essentials := containers[:rapid.IntRange(1, len(containers)).Draw(t, "essentials")]
		pod := never(rapid.Permutation(containers).Draw(t, "order")...).label(strings.Join(essentials, "_")).
			annotated(essential.ModeAnnotation, "Native").annotated(essential.CompletionAnnotation, "All")
		for _, name := range containers {
			pod.having(name, "ports", []any{map[string]any{"containerPort": json.Number(fmt.Sprint(rapid.IntRange(1, 65535).Draw(t, "port")))}})
			if rapid.Bool().Draw(t, "restarted") && !slices.Contains(essentials, name) {
				pod.having(name, "restartPolicy", "Always")
			}
		}
		switch rapid.SampledFrom([]string{"absent", "null", "empty", "plain", "native"}).Draw(t, "init containers") {
		case "null":
			pod.spec["initContainers"] = nil
		case "empty":
			pod.spec["initContainers"] = []any{}
		case "plain":
			pod.init("setup", "migrate")
		case "native":
			pod.nativeSidecars("mesh")
		}
		before := pod.json()

		first := mutate(decodePod(t, before), essential.DefaultPolicies())
		if len(first.denial) > 0 {
			t.Fatalf("denied: %v", first.denial)
		}
		after := before
		if len(first.operations) > 0 {
			after = apply(t, before, encode(first.operations))
		}
		want, got := tree(t, before), tree(t, after)
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
		want["metadata"].(map[string]any)["annotations"].(map[string]any)[essential.TrackedAnnotation] = strings.Join(essentials, ",")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the pod (-want +got):\n%s", diff)
		}
		if second := mutate(decodePod(t, after), essential.DefaultPolicies()); len(second.operations) > 0 || second.result != native {
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
	v := mutate(decodePod(t, pod), essential.DefaultPolicies())
	var raw string
	for _, o := range v.operations {
		if o.Path == "/spec/initContainers/-" {
			raw = string(o.Value.(json.RawMessage))
		}
	}
	if raw != sidecar {
		t.Errorf("got  %s\nwant %s", raw, sidecar)
	}
	after := tree(t, apply(t, pod, encode(v.operations)))["spec"].(map[string]any)["initContainers"].([]any)
	if diff := cmp.Diff([]any{tree(t, sidecar)}, after); diff != "" {
		t.Errorf("init containers (-want +got):\n%s", diff)
	}
}

// The sidecar that a later webhook injects is converted when the API server calls
// again, behind those that were converted before.
func TestAnInjectedSidecarIsConvertedToo(t *testing.T) {
	pod := never("main", "proxy").init("setup").label("main").annotated(essential.ModeAnnotation, "Native").json()
	pod = apply(t, pod, encode(mutate(decodePod(t, pod), essential.DefaultPolicies()).operations))
	pod = apply(t, pod, `[{"op":"add","path":"/spec/containers/0","value":{"name":"mesh"}}]`)
	pod = apply(t, pod, encode(mutate(decodePod(t, pod), essential.DefaultPolicies()).operations))
	got := decodePod(t, pod)
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
	pod := never("main", "proxy").label("main")
	if got := mutate(decodePod(t, pod.json()), defaults); got.result != fallback {
		t.Errorf("a pod that says nothing is %s", got.result)
	}
	asked := mutate(decodePod(t, pod.annotated(essential.ModeAnnotation, "Native").json()), defaults)
	want := []string{"metadata.annotations[essential-containers/mode]: the cluster's default stop-delay of 30s does not hold in mode Native"}
	if diff := cmp.Diff(want, asked.warnings); asked.result != native || diff != "" {
		t.Errorf("one that asks is %s; warnings (-want +got):\n%s", asked.result, diff)
	}
}

func TestTheModeIsCounted(t *testing.T) {
	server, _ := serveHandlersWith(t, nativeByDefault())
	answer := server.ask(t, PodsPath, aReview(never("main", "proxy").label("main")))
	if !strings.Contains(string(answer.Patch), `{"op":"add","path":"/spec/initContainers/0/restartPolicy","value":"Always"}`) {
		t.Errorf("the patch converts no container: %s", answer.Patch)
	}
	server.ask(t, PodsPath, aReview(aPod("main", "proxy").label("main")))
	server.ask(t, PodsPath, aReview(never("main", "proxy").label("main").annotated(essential.ModeAnnotation, "Reap")))
	counts := server.counts(t)
	for _, result := range []string{"native", "fallback", "tracked"} {
		if got := counts["pods "+result]; got != 1 {
			t.Errorf("%v pods are %s, want 1", got, result)
		}
	}
}

// No default of the operator's makes a pod denied that the built-in defaults admit;
// and a pod that asks for mode Native gets it, even if a default of the operator's
// forbids that.
func TestNoDefaultMakesAPodDenied(t *testing.T) {
	durations := rapid.SampledFrom([]time.Duration{0, time.Second, time.Hour, essential.Forever})
	rapid.Check(t, func(t *rapid.T) {
		containers := numbered(rapid.IntRange(1, 4).Draw(t, "containers"))
		pod := aPod(containers...).under(rapid.SampledFrom([]string{"Never", "OnFailure", "Always"}).Draw(t, "restartPolicy")).
			label(strings.Join(containers[:rapid.IntRange(1, len(containers)).Draw(t, "essentials")], "_"))
		for key, values := range map[string][]string{
			essential.ModeAnnotation: {"Native", "Reap"}, essential.CompletionAnnotation: {"Any", "All"}, essential.OnFailureAnnotation: {"Stop", "Ignore"},
			essential.StopDelayAnnotation: {"0s", "5s"}, essential.RetentionAnnotation: {"0s", "Forever"},
		} {
			if rapid.Bool().Draw(t, key) {
				pod = pod.annotated(key, rapid.SampledFrom(values).Draw(t, key+" value"))
			}
		}
		defaults := essential.Policies{
			Completion: rapid.SampledFrom([]essential.Completion{essential.CompletionAny, essential.CompletionAll}).Draw(t, "default completion"),
			OnFailure:  rapid.SampledFrom([]essential.OnFailure{essential.OnFailureStop, essential.OnFailureIgnore}).Draw(t, "default on-failure"),
			Mode:       rapid.SampledFrom([]essential.Mode{essential.ModeReap, essential.ModeNative}).Draw(t, "default mode"),
			StopDelay:  durations.Draw(t, "default stop-delay"), Retention: durations.Draw(t, "default retention"),
		}
		builtIn, own := mutate(decodePod(t, pod.json()), essential.DefaultPolicies()), mutate(decodePod(t, pod.json()), defaults)
		if len(builtIn.denial) == 0 && len(own.denial) > 0 {
			t.Fatalf("with the defaults %+v: %v", defaults, own.denial)
		}
		if builtIn.result == native && own.result != native {
			t.Fatalf("with the defaults %+v it is %s", defaults, own.result)
		}
	})
}
