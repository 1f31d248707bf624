package webhook

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// mutate decides about a pod that is being created. The verdict about a pod to
// which the operations were applied has none: the API server may call twice.
func mutate(pod *object, defaults essential.Policies) verdict {
	essentials, v := judge(nil, pod, defaults)
	if len(v.denial) > 0 {
		return v
	}
	v.operations = annotate(pod.Metadata.Annotations, strings.Join(essentials, essential.TrackedSeparator))
	if v.tracked == native {
		v.operations = append(v.operations, convert(pod, essentials)...)
	}
	if v.tracked != "" && len(pod.Spec.Containers) == 1 && !slices.ContainsFunc(pod.Spec.InitContainers, isNative) {
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
func annotate(annotations map[string]string, tracked string) []operation {
	if annotations == nil && tracked != "" {
		return []operation{{Op: "add", Path: "/metadata/annotations", Value: map[string]string{essential.TrackedAnnotation: tracked}}}
	}
	var operations []operation
	current, brought := annotations[essential.TrackedAnnotation]
	path := annotationPointer(essential.TrackedAnnotation)
	switch {
	case brought && tracked == "":
		operations = append(operations, operation{Op: "remove", Path: path})
	case brought && current != tracked:
		operations = append(operations, operation{Op: "replace", Path: path, Value: tracked})
	case !brought && tracked != "":
		operations = append(operations, operation{Op: "add", Path: path, Value: tracked})
	}
	if _, brought := annotations[essential.StoppedAnnotation]; brought {
		operations = append(operations,
			operation{Op: "remove", Path: annotationPointer(essential.StoppedAnnotation)})
	}
	return operations
}

// annotationPointer is the JSON pointer (RFC 6901) to an annotation.
func annotationPointer(key string) string {
	return "/metadata/annotations/" + strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
