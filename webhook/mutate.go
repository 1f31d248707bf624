package webhook

import (
	"fmt"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// mutate decides about a pod that is being created. It has no operations for a pod
// to which its operations were applied: the API server may call twice.
func mutate(pod *object, defaults essential.Policies) answer {
	essentials, v := judge(nil, pod, defaults)
	if len(v.denial) > 0 {
		return v
	}
	v.operations = annotate(pod.Metadata.Annotations, strings.Join(essentials, essential.TrackedSeparator))
	if v.result == native {
		v.operations = append(v.operations, convert(pod, essentials)...)
	}
	if v.result != "" && len(pod.Spec.Containers) == 1 && !slices.ContainsFunc(pod.Spec.InitContainers, isNative) {
		// Conditional, since a webhook that comes later may add one: the user gets
		// this warning even if the API server then calls a second time.
		v.warnings = append(v.warnings, fmt.Sprintf("%s: %q is the pod's only container: "+
			"there is nothing to stop when it completes, unless another webhook adds a sidecar",
			essential.LabelPath(nil), essentials[0]))
	}
	return v
}

func isNative(c container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// annotate returns the operations that leave the pod with the given value of
// the tracking annotation (with none, if empty) and without the reaper's.
func annotate(annotations map[string]string, tracked string) []jsonpatch.Operation {
	if annotations == nil && tracked != "" {
		return []jsonpatch.Operation{{Operation: "add", Path: "/metadata/annotations", Value: map[string]string{essential.TrackedAnnotation: tracked}}}
	}
	var operations []jsonpatch.Operation
	current, brought := annotations[essential.TrackedAnnotation]
	path := annotationPointer(essential.TrackedAnnotation)
	switch {
	case brought && tracked == "":
		operations = append(operations, jsonpatch.Operation{Operation: "remove", Path: path})
	case brought && current != tracked:
		operations = append(operations, jsonpatch.Operation{Operation: "replace", Path: path, Value: tracked})
	case !brought && tracked != "":
		operations = append(operations, jsonpatch.Operation{Operation: "add", Path: path, Value: tracked})
	}
	for _, key := range [...]string{essential.DueAnnotation, essential.StoppedAnnotation} {
		if _, brought := annotations[key]; brought {
			operations = append(operations, jsonpatch.Operation{Operation: "remove", Path: annotationPointer(key)})
		}
	}
	return operations
}

// annotationPointer is the JSON pointer (RFC 6901) to an annotation.
func annotationPointer(key string) string {
	return "/metadata/annotations/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
