package admission

import (
	"fmt"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// Pod answers about a pod at its creation. The defaults are the policies of a pod
// without annotations. A second call, for the patched pod, has no patch: the API
// server may call twice.
func Pod(pod *Object, defaults essential.Policies) Answer {
	essentials, v := judge(nil, pod, defaults)
	if len(v.Denial) > 0 {
		return v
	}
	v.Patch = annotate(pod.Metadata.Annotations, strings.Join(essentials, api.TrackedSeparator))
	if v.Result == Native {
		v.Patch = append(v.Patch, convert(pod, essentials)...)
	}
	if v.Result != "" && len(pod.Spec.Containers) == 1 && !slices.ContainsFunc(pod.Spec.InitContainers, isNative) {
		// Conditional, since a webhook that comes later may add one: the user gets
		// this warning even if the API server then calls a second time.
		v.Warnings = append(v.Warnings, fmt.Sprintf("%s: %q is the pod's only container: "+
			"there is nothing to stop when it completes, unless another webhook adds a sidecar",
			essential.LabelPath(nil), essentials[0]))
	}
	return v
}

func isNative(c Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// annotate returns the operations that leave the pod with the given value of
// the tracking annotation (with none, if empty) and without the reaper's.
func annotate(annotations map[string]string, tracked string) []jsonpatch.Operation {
	if annotations == nil && tracked != "" {
		return []jsonpatch.Operation{{Operation: "add", Path: "/metadata/annotations", Value: map[string]string{api.TrackedAnnotation: tracked}}}
	}
	var operations []jsonpatch.Operation
	current, brought := annotations[api.TrackedAnnotation]
	path := annotationPointer(api.TrackedAnnotation)
	switch {
	case brought && tracked == "":
		operations = append(operations, jsonpatch.Operation{Operation: "remove", Path: path})
	case brought && current != tracked:
		operations = append(operations, jsonpatch.Operation{Operation: "replace", Path: path, Value: tracked})
	case !brought && tracked != "":
		operations = append(operations, jsonpatch.Operation{Operation: "add", Path: path, Value: tracked})
	}
	for _, key := range [...]string{api.DueAnnotation, api.StoppedAnnotation} {
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
