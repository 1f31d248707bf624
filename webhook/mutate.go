package webhook

import (
	"fmt"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// pod is what admission reads of a Pod. Decoding skips the rest, so that fields
// newer than the API library cost nothing, and nothing is ever encoded again.
type pod struct {
	Metadata struct {
		GenerateName string            `json:"generateName"`
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Containers     []container `json:"containers"`
		InitContainers []container `json:"initContainers"`
	} `json:"spec"`
}

type container struct {
	Name string `json:"name"`
}

// verdict is the answer about one pod. Its zero value admits the pod as it is.
type verdict struct {
	tracked    bool                  // the pod leaves admission with the tracking annotation
	operations []jsonpatch.Operation // on our own annotations only
	warnings   []string              // for the user, one sentence each
	denial     field.ErrorList       // if not empty, the pod is rejected
}

func (v *verdict) outcome() outcome {
	switch {
	case len(v.denial) > 0:
		return denied
	case v.tracked:
		return tracked
	}
	return untracked
}

// mutate decides about a pod that is being created. The verdict about a pod to
// which the operations were applied has none: the API server may call twice.
func mutate(p *pod) verdict {
	path := essential.LabelPath(nil)
	value, labelled := p.Metadata.Labels[essential.Label]
	if !labelled {
		return verdict{operations: annotate(p.Metadata.Annotations, "")}
	}
	if p.mirror() {
		return verdict{
			operations: annotate(p.Metadata.Annotations, ""),
			warnings:   []string{fmt.Sprintf("%s: ignored: the API cannot stop a static pod", path)},
		}
	}
	essentials, errs := essential.Names(path, value, p.containerNames())
	if len(errs) > 0 {
		return verdict{denial: errs}
	}
	v := verdict{
		tracked:    true,
		operations: annotate(p.Metadata.Annotations, strings.Join(essentials, essential.TrackedSeparator)),
	}
	if len(p.Spec.Containers) == 1 {
		v.warnings = []string{fmt.Sprintf(
			"%s: %q is the pod's only container: there is nothing to stop when it completes", path, value)}
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

func (p *pod) mirror() bool {
	return essential.Mirror(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: p.Metadata.Annotations}})
}

func (p *pod) containerNames() essential.ContainerNames {
	return essential.ContainerNames{Regular: names(p.Spec.Containers), Init: names(p.Spec.InitContainers)}
}

func names(containers []container) []string {
	out := make([]string, len(containers))
	for i, c := range containers {
		out[i] = c.Name
	}
	return out
}
