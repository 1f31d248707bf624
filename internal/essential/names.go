package essential

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
)

// Mutating admission sees pods before the API server validates them. These limits
// bound the cost of one pod, whatever its containers and their names.
const (
	maxListed   = 20   // container names in a message
	maxShown    = 100  // characters of each
	maxCompared = 1000 // containers that are looked at for a suggestion
)

// ContainerNames are the names of a pod's containers, by kind, in pod order.
type ContainerNames struct {
	Regular []string // spec.containers
	Init    []string // spec.initContainers, native sidecars included
}

// ParseLabel reads the essential containers from the value of [api.Label] and checks
// each against the containers of its pod. The errors name path, the offending
// value and what would be right; names is meaningful only if there are none.
func ParseLabel(path *field.Path, value string, containers ContainerNames) (names []string, errs field.ErrorList) {
	if value == "" {
		return nil, field.ErrorList{field.Invalid(path, value,
			"must name an essential container; "+containers.regularList())}
	}
	if len(value) > validation.LabelValueMaxLength {
		return nil, field.ErrorList{field.TooLong(path, "", validation.LabelValueMaxLength)}
	}
	list := sync.OnceValue(containers.regularList)
	names = strings.Split(value, api.NameSeparator)
	for i, name := range names {
		switch {
		case name == "":
			errs = append(errs, field.Invalid(path, value, fmt.Sprintf(
				"empty name at position %d: names are joined by a single %q", i+1, api.NameSeparator)))
		case slices.Contains(names[:i], name):
			errs = append(errs, field.Invalid(path, value, fmt.Sprintf("container %q is named twice", name)))
		case slices.Contains(containers.Regular, name):
		case slices.Contains(containers.Init, name):
			errs = append(errs, field.Invalid(path, name,
				"is an init container; only a regular container can be essential; "+list()))
		default:
			errs = append(errs, field.Invalid(path, name,
				"no such container; "+list()+didYouMean("", closest(name, containers.Regular))))
		}
	}
	return names, errs
}

// LabelPath is the path of [api.Label] in an object whose metadata is at parent (nil
// for a pod itself).
func LabelPath(parent *field.Path) *field.Path {
	return parent.Child("metadata", "labels").Key(api.Label)
}

func (c ContainerNames) regularList() string {
	if len(c.Regular) == 0 {
		return "the pod has no containers"
	}
	listed := c.Regular[:min(len(c.Regular), maxListed)]
	quoted := make([]string, len(listed))
	for i, name := range listed {
		quoted[i] = fmt.Sprintf("%.*q", maxShown, name)
	}
	if more := len(c.Regular) - len(listed); more > 0 {
		quoted = append(quoted, fmt.Sprintf("and %d more", more))
	}
	return "the pod has " + strings.Join(quoted, ", ")
}

// closest returns the candidate that is closest to the mistyped name, if any is
// close enough to be a typing error: one edit for each three letters.
func closest(name string, candidates []string) string {
	best, bestDistance := "", (len(name)+2)/3+1
	for _, candidate := range candidates[:min(len(candidates), maxCompared)] {
		if len(candidate) > validation.DNS1123LabelMaxLength {
			continue // not a container name: the API server will say so
		}
		if d := editDistance(name, candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// didYouMean ends a message with what was probably meant, if that is known.
func didYouMean(prefix, name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", prefix+name)
}

// editDistance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment). Container names are
// ASCII, so bytes serve.
func editDistance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
