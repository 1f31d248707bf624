package essential

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
)

func TestParseLabel(t *testing.T) {
	pod := ContainerNames{Regular: []string{"main", "proxy"}, Init: []string{"setup", "mesh"}}
	for name, tt := range map[string]struct {
		value      string
		containers *ContainerNames // default: pod
		want       []string
		errs       []string // without the path
	}{
		"one name":                      {value: "main", want: []string{"main"}},
		"several, in their order":       {value: "proxy_main", want: []string{"proxy", "main"}},
		"the longest value":             {value: strings.Repeat("m", 63), containers: regular(strings.Repeat("m", 63)), want: []string{strings.Repeat("m", 63)}},
		"a name that has a neighbour's": {value: "main", containers: regular("main-2", "main"), want: []string{"main"}},
		"empty value": {value: "", errs: []string{
			`Invalid value: "": must name an essential container; the pod has "main", "proxy"`}},
		"only a separator": {value: "_", errs: []string{
			`Invalid value: "_": empty name at position 1: names are joined by a single "_"`,
			`Invalid value: "_": empty name at position 2: names are joined by a single "_"`}},
		"a separator before": {value: "_main", errs: []string{
			`Invalid value: "_main": empty name at position 1: names are joined by a single "_"`}},
		"a separator after": {value: "main_", errs: []string{
			`Invalid value: "main_": empty name at position 2: names are joined by a single "_"`}},
		"two separators": {value: "main__proxy", errs: []string{
			`Invalid value: "main__proxy": empty name at position 2: names are joined by a single "_"`}},
		"a name twice": {value: "main_proxy_main", errs: []string{
			`Invalid value: "main_proxy_main": container "main" is named twice`}},
		"an unknown name twice is reported once as unknown": {value: "x_x", errs: []string{
			`Invalid value: "x": no such container; the pod has "main", "proxy"`,
			`Invalid value: "x_x": container "x" is named twice`}},
		"an init container": {value: "setup", errs: []string{
			`Invalid value: "setup": is an init container; only a regular container can be essential; the pod has "main", "proxy"`}},
		"an init container and a right name": {value: "main_mesh", errs: []string{
			`Invalid value: "mesh": is an init container; only a regular container can be essential; the pod has "main", "proxy"`}},
		"a typing error": {value: "mian", errs: []string{
			`Invalid value: "mian": no such container; the pod has "main", "proxy"; did you mean "main"?`}},
		"the closest name is offered": {value: "proxi", containers: regular("prox", "proxy", "proxxi-2"), errs: []string{
			`Invalid value: "proxi": no such container; the pod has "prox", "proxy", "proxxi-2"; did you mean "prox"?`}},
		"a name like none": {value: "database", errs: []string{
			`Invalid value: "database": no such container; the pod has "main", "proxy"`}},
		"names are case sensitive": {value: "Main", errs: []string{
			`Invalid value: "Main": no such container; the pod has "main", "proxy"; did you mean "main"?`}},
		"names joined by a comma": {value: "main,proxy", errs: []string{
			`Invalid value: "main,proxy": no such container; the pod has "main", "proxy"`}},
		"a pod with no containers": {value: "main", containers: &ContainerNames{}, errs: []string{
			`Invalid value: "main": no such container; the pod has no containers`}},
		"an empty value of a pod with no containers": {value: "", containers: &ContainerNames{}, errs: []string{
			`Invalid value: "": must name an essential container; the pod has no containers`}},
		"a container without a name is none": {value: "a_", containers: regular("a", ""), errs: []string{
			`Invalid value: "a_": empty name at position 2: names are joined by a single "_"`}},
		"a value too long for a label": {value: strings.Repeat("m", 64), containers: regular(strings.Repeat("m", 64)), errs: []string{
			`Too long: may not be more than 63 bytes`}},
		"a container's name that is too long is not offered": {value: strings.Repeat("m", 63), containers: regular(strings.Repeat("m", 64)), errs: []string{
			`Invalid value: "` + strings.Repeat("m", 63) + `": no such container; the pod has "` + strings.Repeat("m", 64) + `"`}},
		"more containers than fit in a message": {value: "x", containers: regular(numbered(22)...), errs: []string{
			`Invalid value: "x": no such container; the pod has "` + strings.Join(numbered(20), `", "`) + `", and 2 more`}},
	} {
		t.Run(name, func(t *testing.T) {
			containers := pod
			if tt.containers != nil {
				containers = *tt.containers
			}
			path := LabelPath(nil)
			got, errs := ParseLabel(path, tt.value, containers)
			var texts []string
			for _, err := range errs {
				texts = append(texts, strings.TrimPrefix(err.Error(), path.String()+": "))
			}
			if diff := cmp.Diff(tt.errs, texts); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, got); len(errs) == 0 && diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLabelPath(t *testing.T) {
	for want, parent := range map[string]*field.Path{
		"metadata.labels[essential-containers]":               nil,
		"spec.template.metadata.labels[essential-containers]": field.NewPath("spec", "template"),
	} {
		if got := LabelPath(parent).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"main", "main", 0},
		{"", "main", 4}, {"main", "", 4},
		{"main", "mains", 1}, {"main", "man", 1}, {"main", "maim", 1},
		{"main", "mian", 1}, {"main", "amin", 1}, {"main", "mani", 1},
		{"main", "niam", 3}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		if got := editDistance(tt.a, tt.b); got != tt.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// FuzzParseLabel: the parser accepts a value exactly if it is a list of different
// regular containers, and then returns that list; else it says why, in a bounded
// text about the label. The containers' names are joined by commas.
func FuzzParseLabel(f *testing.F) {
	f.Fuzz(func(t *testing.T, value, regular, initial string) {
		containers := ContainerNames{Regular: strings.Split(regular, ","), Init: strings.Split(initial, ",")}
		names, errs := ParseLabel(LabelPath(nil), value, containers)

		if got, want := len(errs) == 0, acceptable(value, containers.Regular); got != want {
			t.Fatalf("accepted: %v, want %v: %v", got, want, errs)
		}
		if len(errs) == 0 {
			if joined := strings.Join(names, api.NameSeparator); joined != value {
				t.Errorf("names %q do not make up %q", names, value)
			}
			return
		}
		if len(errs) > validation.LabelValueMaxLength+1 {
			t.Errorf("%d errors about %d bytes", len(errs), len(value))
		}
		for _, err := range errs {
			if err.Field != "metadata.labels[essential-containers]" || err.Detail == "" {
				t.Errorf("error %v does not name the label and what is wrong", err)
			}
		}
	})
}

// acceptable is the rule, as the documentation states it.
func acceptable(value string, regular []string) bool {
	if value == "" || len(value) > 63 {
		return false
	}
	seen := map[string]bool{}
	for _, name := range strings.Split(value, "_") {
		if name == "" || seen[name] || !slices.Contains(regular, name) {
			return false
		}
		seen[name] = true
	}
	return true
}

func regular(names ...string) *ContainerNames { return &ContainerNames{Regular: names} }

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("container-%d", i+1)
	}
	return names
}

// Every user who may create pods can send one like this, before it is validated.
func TestParseLabelIsBoundedForAnyPod(t *testing.T) {
	containers := ContainerNames{Regular: make([]string, 5000)}
	for i := range containers.Regular {
		containers.Regular[i] = strings.Repeat("x", 100_000)
	}
	label := strings.TrimSuffix(strings.Repeat("a_", 31), "_")
	_, errs := ParseLabel(LabelPath(nil), label, containers)
	if len(errs) == 0 {
		t.Fatal("accepted")
	}
	if size := len(errs.ToAggregate().Error()); size > 100_000 {
		t.Errorf("the message has %d characters", size)
	}
}
