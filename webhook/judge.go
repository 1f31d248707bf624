package webhook

import (
	"fmt"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// verdict is the answer about one object. Its zero value admits it as it is.
type verdict struct {
	tracked    bool                  // a pod leaves admission with the tracking annotation
	operations []jsonpatch.Operation // on our own annotations of a pod only
	warnings   []string              // for the user, one sentence each
	denial     field.ErrorList       // if not empty, the object is rejected
}

// judge applies the rules that hold for a pod (path nil) and for a template of
// pods at path alike. It returns the names of the essential containers, none
// without a label that counts; they mean something only if nothing is denied.
func judge(path *field.Path, p *object) (essentials []string, v verdict) {
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
	// Which policies they override does not matter here, only whether they can.
	_, errs := essential.DefaultPolicies().Override(path, p.Metadata.Annotations)
	v.denial = append(v.denial, errs...)
	v.warnings = essential.UnknownAnnotations(path, p.Metadata.Annotations)
	return essentials, v
}
