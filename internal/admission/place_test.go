package admission

import (
	"slices"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/manifest"
)

func decode(t manifest.T, text string) *Object {
	t.Helper()
	o, err := Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// askPod is the answer about a pod under the built-in defaults.
func askPod(t manifest.T, pod string) Answer {
	t.Helper()
	return Pod(decode(t, pod), essential.DefaultPolicies())
}

// askWorkload is the answer about the creation of a workload, or about its update
// from old, under the built-in defaults.
func askWorkload(t manifest.T, w manifest.Workload, workload string, old ...string) Answer {
	t.Helper()
	var before *Object
	if len(old) > 0 {
		before = decode(t, old[0])
	}
	return Workload(kindOf(w), decode(t, workload), before, essential.DefaultPolicies())
}

func kindOf(w manifest.Workload) *Kind {
	i := slices.IndexFunc(WorkloadKinds, func(k Kind) bool { return k.Kind == w.Kind && k.Resource == w.Resource && k.Group == w.Group })
	return &WorkloadKinds[i]
}

// message is the denial as the user reads it, empty if there is none.
func message(v Answer) string {
	if len(v.Denial) == 0 {
		return ""
	}
	return v.Denial.ToAggregate().Error()
}

// place is where the rules for pods apply: what field paths begin with there, and
// the answer about a pod that is created there.
type place struct {
	prefix string
	ask    func(manifest.T, *manifest.PodBuilder) Answer
}

func everyPlace() map[string]place {
	places := map[string]place{"Pod": {"", func(t manifest.T, p *manifest.PodBuilder) Answer {
		t.Helper()
		return askPod(t, p.JSON())
	}}}
	for _, w := range manifest.Workloads {
		places[w.Kind] = place{w.Path + ".", func(t manifest.T, p *manifest.PodBuilder) Answer {
			t.Helper()
			return askWorkload(t, w, w.Around(p.Template()))
		}}
	}
	return places
}

func (p place) prefixed(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = p.prefix + text
	}
	return out
}
