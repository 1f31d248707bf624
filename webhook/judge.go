package webhook

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// verdict is the answer about one object. Its zero value admits it as it is.
type verdict struct {
	tracked    outcome         // how the pod leaves admission with the tracking annotation: tracked, native or fallback
	operations []operation     // on a pod
	warnings   []string        // for the user, one sentence each
	denial     field.ErrorList // if not empty, the object is rejected
}

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	From  string `json:"from,omitempty"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// judge applies the rules that hold for a pod (path nil) and for a template of
// pods at path alike. It returns the names of the essential containers, none
// without a label that counts; they mean something only if nothing is denied.
func judge(path *field.Path, p *object, defaults essential.Policies) (essentials []string, v verdict) {
	value, labelled := p.label()
	label := essential.LabelPath(path)
	switch {
	case !labelled:
		return nil, v
	case p.mirror():
		v.warnings = []string{fmt.Sprintf("%s: ignored: the API cannot stop a static pod", label)}
		return nil, v
	}
	essentials, v.denial = essential.Names(label, value, p.containerNames())
	policies, errs := defaults.Override(path, p.Metadata.Annotations)
	v.denial = append(v.denial, errs...)
	v.warnings = essential.UnknownAnnotations(path, p.Metadata.Annotations)
	if len(v.denial) == 0 {
		v.chooseMode(path, p, essentials, policies)
	}
	return essentials, v
}

// chooseMode denies what the user asks for and cannot have. What only the
// operator wishes, the pod does without.
func (v *verdict) chooseMode(path *field.Path, p *object, essentials []string, policies essential.Policies) {
	v.tracked = tracked
	if policies.Mode != essential.ModeNative {
		return
	}
	_, asked := p.Metadata.Annotations[essential.ModeAnnotation]
	reasons := obstacles(p, essentials, policies)
	switch {
	case len(reasons) == 0:
		v.tracked = native
	case asked:
		for _, reason := range reasons {
			v.denial = append(v.denial, field.Invalid(essential.AnnotationPath(path, essential.ModeAnnotation), string(essential.ModeNative),
				fmt.Sprintf("%s, or choose mode %s", reason, essential.ModeReap)))
		}
	case len(essentials) < len(p.Spec.Containers):
		v.tracked = fallback
		for _, reason := range reasons {
			v.warnings = append(v.warnings, fmt.Sprintf("%s: handled in mode %s, although the cluster's default is %s: %s",
				essential.LabelPath(path), essential.ModeReap, essential.ModeNative, reason))
		}
	}
}
