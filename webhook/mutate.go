package webhook

import (
	"fmt"
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// mutate decides about a pod that is being created. The verdict about a pod to
// which the operations were applied has none: the API server may call twice.
func mutate(pod *object) verdict {
	essentials, v := judge(nil, pod)
	if len(v.denial) > 0 {
		return v
	}
	v.tracked = len(essentials) > 0
	v.operations = annotate(pod.Metadata.Annotations, strings.Join(essentials, essential.TrackedSeparator))
	if v.tracked && len(pod.Spec.Containers) == 1 {
		// Conditional, since a webhook that comes later may add one: the user gets
		// this warning even if the API server then calls a second time.
		v.warnings = append(v.warnings, fmt.Sprintf("%s: %q is the pod's only container: "+
			"there is nothing to stop when it completes, unless another webhook adds a sidecar",
			essential.LabelPath(nil), essentials[0]))
	}
	return v
}

// annotate returns the operations that leave the pod with the given value of
// the tracking annotation (with none, if empty) and without the reaper's.
func annotate(annotations map[string]string, tracked string) []jsonpatch.Operation {
	if annotations == nil && tracked != "" {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", "/metadata/annotations",
			map[string]string{essential.TrackedAnnotation: tracked})}
	}
	var operations []jsonpatch.Operation
	current, brought := annotations[essential.TrackedAnnotation]
	path := annotationPointer(essential.TrackedAnnotation)
	switch {
	case brought && tracked == "":
		operations = append(operations, jsonpatch.NewOperation("remove", path, nil))
	case brought && current != tracked:
		operations = append(operations, jsonpatch.NewOperation("replace", path, tracked))
	case !brought && tracked != "":
		operations = append(operations, jsonpatch.NewOperation("add", path, tracked))
	}
	if _, brought := annotations[essential.StoppedAnnotation]; brought {
		operations = append(operations,
			jsonpatch.NewOperation("remove", annotationPointer(essential.StoppedAnnotation), nil))
	}
	return operations
}

// annotationPointer is the JSON pointer (RFC 6901) to an annotation.
func annotationPointer(key string) string {
	return "/metadata/annotations/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
