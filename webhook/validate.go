package webhook

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// validate decides about a workload that is created, or updated from old (else
// nil), by its template of pods: whoever applies it sees a mistake at once, while
// the denial of a pod reaches nobody but the pod's controller.
func validate(k *kind, workload, old *object, defaults essential.Policies) verdict {
	template := k.pods(workload)
	if _, labelled := template.label(); !labelled {
		return verdict{}
	}
	_, v := judge(k.path, template, defaults)
	v.tracked = "" // its pods will be
	for _, key := range []string{essential.TrackedAnnotation, essential.StoppedAnnotation} {
		if _, brought := template.Metadata.Annotations[key]; brought {
			v.warnings = append(v.warnings, fmt.Sprintf("%s: ignored: only the webhook and the reaper write it",
				k.path.Child("metadata", "annotations").Key(key)))
		}
	}
	_, before := judge(k.path, k.pods(old), defaults)
	v.forgive(before.denial)
	return v
}

// forgive turns the denial into warnings if all of it was wrong before. A
// workload that is older than the webhook must still be scaled (a Deployment
// scales its old ReplicaSets down to replace them by right ones), and be deleted
// (which may take an update that removes a finalizer).
func (v *verdict) forgive(before field.ErrorList) {
	texts := make([]string, len(v.denial))
	for i, err := range v.denial {
		if !slices.ContainsFunc(before, func(b *field.Error) bool { return b.Error() == err.Error() }) {
			return
		}
		texts[i] = fmt.Sprintf("%s; allowed because it was so before, but new pods are denied", err)
	}
	v.warnings = append(v.warnings, texts...)
	v.denial = nil
}
