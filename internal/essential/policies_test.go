package essential

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
)

func TestOverride(t *testing.T) {
	operator := Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureStop, StopDelay: time.Second, Retention: time.Minute, Mode: api.ModeReap}
	with := func(change func(*Policies)) Policies {
		p := operator
		change(&p)
		return p
	}
	const notADuration = "must be a duration such as 90s, 1h30m or 2d"
	for name, tt := range map[string]struct {
		annotations map[string]string
		want        Policies
		errs        []string
	}{
		"no annotations":                {want: operator},
		"annotations of other projects": {annotations: map[string]string{"example.com/completion": "Any"}, want: operator},
		"completion Any":                {annotations: map[string]string{"essential-containers/completion": "Any"}, want: with(func(p *Policies) { p.Completion = api.CompletionAny })},
		"on-failure Ignore":             {annotations: map[string]string{"essential-containers/on-failure": "Ignore"}, want: with(func(p *Policies) { p.OnFailure = api.OnFailureIgnore })},
		"a stop-delay":                  {annotations: map[string]string{"essential-containers/stop-delay": "1m30s"}, want: with(func(p *Policies) { p.StopDelay = 90 * time.Second })},
		"no stop-delay":                 {annotations: map[string]string{"essential-containers/stop-delay": "0"}, want: with(func(p *Policies) { p.StopDelay = 0 })},
		"a retention":                   {annotations: map[string]string{"essential-containers/retention": "10m"}, want: with(func(p *Policies) { p.Retention = 10 * time.Minute })},
		"a retention without end":       {annotations: map[string]string{"essential-containers/retention": "Forever"}, want: with(func(p *Policies) { p.Retention = math.MaxInt64 })},
		"mode Native":                   {annotations: map[string]string{"essential-containers/mode": "Native"}, want: with(func(p *Policies) { p.Mode = api.ModeNative })},
		"a mode that is none":           {annotations: map[string]string{"essential-containers/mode": "native"}, want: with(func(p *Policies) { p.Mode = api.ModeReap }), errs: []string{`metadata.annotations[essential-containers/mode]: Invalid value: "native": must be Reap or Native`}},
		"a completion that is none":     {annotations: map[string]string{"essential-containers/completion": "Some"}, want: with(func(p *Policies) { p.Completion = api.CompletionAll }), errs: []string{`metadata.annotations[essential-containers/completion]: Invalid value: "Some": must be Any or All`}},
		"values are case sensitive":     {annotations: map[string]string{"essential-containers/on-failure": "stop"}, want: with(func(p *Policies) { p.OnFailure = api.OnFailureIgnore }), errs: []string{`metadata.annotations[essential-containers/on-failure]: Invalid value: "stop": must be Stop or Ignore`}},
		"an empty value is none":        {annotations: map[string]string{"essential-containers/completion": ""}, want: with(func(p *Policies) { p.Completion = api.CompletionAll }), errs: []string{`metadata.annotations[essential-containers/completion]: Invalid value: "": must be Any or All`}},
		"a number without a unit":       {annotations: map[string]string{"essential-containers/stop-delay": "30"}, want: with(func(p *Policies) { p.StopDelay = Forever }), errs: []string{`metadata.annotations[essential-containers/stop-delay]: Invalid value: "30": ` + notADuration}},
		"a negative stop-delay":         {annotations: map[string]string{"essential-containers/stop-delay": "-1s"}, want: with(func(p *Policies) { p.StopDelay = Forever }), errs: []string{`metadata.annotations[essential-containers/stop-delay]: Invalid value: "-1s": must not be negative`}},
		"a negative retention":          {annotations: map[string]string{"essential-containers/retention": "-1s"}, want: with(func(p *Policies) { p.Retention = Forever }), errs: []string{`metadata.annotations[essential-containers/retention]: Invalid value: "-1s": must not be negative`}},
		"weeks are no unit":             {annotations: map[string]string{"essential-containers/retention": "7w"}, want: with(func(p *Policies) { p.Retention = Forever }), errs: []string{`metadata.annotations[essential-containers/retention]: Invalid value: "7w": ` + notADuration + ", or Forever"}},
		"a stop-delay without end":      {annotations: map[string]string{"essential-containers/stop-delay": "Forever"}, want: with(func(p *Policies) { p.StopDelay = Forever }), errs: []string{`metadata.annotations[essential-containers/stop-delay]: Invalid value: "Forever": ` + notADuration}},
		"more than 292 years":           {annotations: map[string]string{"essential-containers/retention": "3000000h"}, want: with(func(p *Policies) { p.Retention = Forever }), errs: []string{`metadata.annotations[essential-containers/retention]: Invalid value: "3000000h": ` + notADuration + ", or Forever"}},
		"a long value is not repeated":  {annotations: map[string]string{"essential-containers/completion": strings.Repeat("x", 5000)}, want: with(func(p *Policies) { p.Completion = api.CompletionAll }), errs: []string{`metadata.annotations[essential-containers/completion]: Invalid value: "` + strings.Repeat("x", 97) + `...": must be Any or All`}},
		"one bad value spares the rest": {annotations: map[string]string{"essential-containers/completion": "x", "essential-containers/retention": "1h"}, want: with(func(p *Policies) { p.Completion = api.CompletionAll; p.Retention = time.Hour }), errs: []string{`metadata.annotations[essential-containers/completion]: Invalid value: "x": must be Any or All`}},
		"each bad value is reported": {annotations: map[string]string{"essential-containers/completion": "x", "essential-containers/on-failure": "x", "essential-containers/stop-delay": "x", "essential-containers/retention": "x"}, want: with(func(p *Policies) {
			p.Completion = api.CompletionAll
			p.OnFailure = api.OnFailureIgnore
			p.StopDelay = Forever
			p.Retention = Forever
		}), errs: []string{
			`metadata.annotations[essential-containers/completion]: Invalid value: "x": must be Any or All`,
			`metadata.annotations[essential-containers/on-failure]: Invalid value: "x": must be Stop or Ignore`,
			`metadata.annotations[essential-containers/stop-delay]: Invalid value: "x": ` + notADuration,
			`metadata.annotations[essential-containers/retention]: Invalid value: "x": ` + notADuration + ", or Forever"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, errs := operator.Override(nil, tt.annotations)
			var texts []string
			for _, err := range errs {
				texts = append(texts, err.Error())
			}
			if diff := cmp.Diff(tt.errs, texts); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
		})
	}
	template := field.NewPath("spec", "template")
	if _, errs := operator.Override(template, map[string]string{api.CompletionAnnotation: "x"}); len(errs) != 1 ||
		errs[0].Field != "spec.template.metadata.annotations[essential-containers/completion]" {
		t.Errorf("below a template: %v", errs)
	}
}

func TestDefaultPolicies(t *testing.T) {
	want := Policies{Completion: "Any", OnFailure: "Stop", Mode: "Reap"}
	if got := DefaultPolicies(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSetRefusesWhatIsNoPolicy(t *testing.T) {
	var p Policies
	if err := p.Set(api.TrackedAnnotation, "main"); err == nil || p != (Policies{}) {
		t.Errorf("got error %v, policies %+v", err, p)
	}
}

func TestWhatIsGotCanBeSet(t *testing.T) {
	for _, want := range []Policies{
		DefaultPolicies(),
		{Completion: api.CompletionAll, OnFailure: api.OnFailureStop, StopDelay: 90 * time.Second, Retention: Forever, Mode: api.ModeNative},
		{Completion: api.CompletionAny, OnFailure: api.OnFailureStop, Retention: time.Hour + time.Millisecond, Mode: api.ModeReap},
	} {
		var got Policies
		for _, key := range PolicyAnnotations {
			if err := got.Set(key, want.Get(key)); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if got := (Policies{Retention: Forever}).Get(api.RetentionAnnotation); got != "Forever" {
		t.Errorf("a retention without end reads %q", got)
	}
	if got := DefaultPolicies().Get(api.TrackedAnnotation); got != "" {
		t.Errorf("what is no policy reads %q", got)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "90s": 90 * time.Second, "1d": 24 * time.Hour, "2d": 48 * time.Hour, "0d": 0, "1d12h": 36 * time.Hour, "1d0.5s": 24*time.Hour + 500*time.Millisecond,
		"": -1, "d": -1, "1d1": -1, "-1d": -1, "1.5d": -1, "1d24h": -1, "1d-1h": -1, "1d1d": -1, "99999d": -1, "1h1d": -1, "1w": -1, "-1s": -1, "soon": -1,
		strings.Repeat("1s", 64): 64 * time.Second, strings.Repeat("1s", 65): -1, strings.Repeat("0", 300) + "1s": -1,
	} {
		p := Policies{Retention: -1}
		if err := p.Set(api.RetentionAnnotation, text); p.Retention != want || (err == nil) != (want >= 0) {
			t.Errorf("%q reads as %v, error %v", text, p.Retention, err)
		}
	}
}

func TestUnknownAnnotations(t *testing.T) {
	for name, tt := range map[string]struct {
		annotations map[string]string
		want        []string
	}{
		"none":                            {},
		"all that are known":              {annotations: map[string]string{api.TrackedAnnotation: "", api.DueAnnotation: "", api.StoppedAnnotation: "", api.CompletionAnnotation: "", api.OnFailureAnnotation: "", api.StopDelayAnnotation: "", api.RetentionAnnotation: "", api.ModeAnnotation: ""}},
		"another prefix":                  {annotations: map[string]string{"essential-containers.example.com/x": "", "essential-containers": ""}},
		"a typing error":                  {annotations: map[string]string{"essential-containers/retantion": ""}, want: []string{`metadata.annotations[essential-containers/retantion]: unknown annotation, ignored; did you mean "essential-containers/retention"?`}},
		"far from any":                    {annotations: map[string]string{"essential-containers/strategy": ""}, want: []string{`metadata.annotations[essential-containers/strategy]: unknown annotation, ignored`}},
		"nothing like any, in some order": {annotations: map[string]string{"essential-containers/yyyyyyyyyyyyyyyyyyyyy": "", "essential-containers/xxxxxxxxxxxxxxxxxxxxx": ""}, want: []string{`metadata.annotations[essential-containers/xxxxxxxxxxxxxxxxxxxxx]: unknown annotation, ignored`, `metadata.annotations[essential-containers/yyyyyyyyyyyyyyyyyyyyy]: unknown annotation, ignored`}},
		"a long one is shortened":         {annotations: map[string]string{"essential-containers/" + strings.Repeat("x", 500): ""}, want: []string{`metadata.annotations[essential-containers/` + strings.Repeat("x", 76) + `...]: unknown annotation, ignored`}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, UnknownAnnotations(nil, tt.annotations)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	many := map[string]string{}
	for i := range 1000 {
		many["essential-containers/"+strings.Repeat("x", i+1)] = ""
	}
	if got := UnknownAnnotations(nil, many); len(got) != maxListed+1 || got[maxListed] != "further unknown annotations are ignored too" {
		t.Errorf("of 1000, %d are reported, the last is %q", len(got), got[len(got)-1])
	}
}

// FuzzPolicies: whatever the four annotations say, each is either taken, and
// then reads as one that can be taken again, or reported, and then counts as the most
// cautious value.
func FuzzPolicies(f *testing.F) {
	for _, seed := range []string{"Any", "All", "Ignore", "Stop", "0", "90s", "1h30m", "-1s", "1d", "1d12h", "99999999d", "1d25h", "1d-1s", "Forever", "1e3s", "9223372036854775807ns", "٣s", ""} {
		f.Add(seed, seed, seed, seed)
	}
	f.Fuzz(func(t *testing.T, completion, onFailure, stopDelay, retention string) {
		annotations := map[string]string{
			api.CompletionAnnotation: completion, api.OnFailureAnnotation: onFailure, api.StopDelayAnnotation: stopDelay, api.RetentionAnnotation: retention,
		}
		before := Policies{Completion: api.CompletionAll, OnFailure: api.OnFailureStop, StopDelay: time.Second, Retention: time.Minute, Mode: api.ModeReap}
		after, errs := before.Override(nil, annotations)
		told := map[string]bool{}
		for _, err := range errs {
			told[err.Field] = true
			if len(err.Error()) > 1000 {
				t.Errorf("%d bytes about a bad value", len(err.Error()))
			}
		}
		for _, key := range PolicyAnnotations {
			if told["metadata.annotations["+key+"]"] && after.Get(key) != cautious.Get(key) {
				t.Errorf("%s: %q is refused, and means %s", key, annotations[key], after.Get(key))
			}
		}
		if after.StopDelay < 0 || after.Retention < 0 {
			t.Errorf("negative: %+v", after)
		}
		again, errs := before.Override(nil, map[string]string{
			api.CompletionAnnotation: after.Get(api.CompletionAnnotation), api.OnFailureAnnotation: after.Get(api.OnFailureAnnotation),
			api.StopDelayAnnotation: after.Get(api.StopDelayAnnotation), api.RetentionAnnotation: after.Get(api.RetentionAnnotation),
		})
		if len(errs) > 0 || again != after {
			t.Errorf("%+v reads as %+v, errors %v", after, again, errs)
		}
	})
}
