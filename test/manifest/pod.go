// Package manifest builds the JSON of pods and workloads, and compares it, for tests.
package manifest

import (
	"encoding/json"
	"maps"

	"github.com/essential-containers/essential-containers/api"
)

// PodBuilder builds the JSON of a pod. It has fields that no API library knows,
// and a number that no Go type holds: both must survive every patch.
type PodBuilder struct{ Metadata, Spec map[string]any }

// Pod is a pod with these containers, without a restartPolicy.
func Pod(containers ...string) *PodBuilder {
	return &PodBuilder{
		Metadata: map[string]any{"generateName": "job-", "futureField": []any{true}},
		Spec: map[string]any{
			"containers":  Containers(containers...),
			"futureField": map[string]any{"number": json.Number("123456789012345678901234567890.10")},
		},
	}
}

// PodNever is a pod with restartPolicy Never.
func PodNever(containers ...string) *PodBuilder { return Pod(containers...).RestartPolicy("Never") }

// Containers are containers of a pod.
func Containers(names ...string) []any {
	containers := make([]any, len(names))
	for i, name := range names {
		containers[i] = map[string]any{"name": name, "image": "example.com/" + name, "futureField": map[string]any{}}
	}
	return containers
}

// Label names the essential containers.
func (b *PodBuilder) Label(value string) *PodBuilder {
	b.Metadata["labels"] = map[string]any{"app": "report", api.Label: value}
	return b
}

// AddLabel adds a label to those of the pod.
func (b *PodBuilder) AddLabel(key, value string) *PodBuilder {
	labels, _ := b.Metadata["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
	}
	labels[key] = value
	b.Metadata["labels"] = labels
	return b
}

// GenerateName sets the field of that name.
func (b *PodBuilder) GenerateName(name string) *PodBuilder {
	b.Metadata["generateName"] = name
	return b
}

// Annotations replaces all annotations.
func (b *PodBuilder) Annotations(annotations map[string]string) *PodBuilder {
	b.Metadata["annotations"] = annotations
	return b
}

// Annotate adds an annotation, unless the pod has it.
func (b *PodBuilder) Annotate(key, value string) *PodBuilder {
	merged := map[string]string{key: value}
	if already, ok := b.Metadata["annotations"].(map[string]string); ok {
		maps.Copy(merged, already)
	}
	return b.Annotations(merged)
}

// RestartPolicy sets the field of that name.
func (b *PodBuilder) RestartPolicy(policy string) *PodBuilder {
	b.Spec["restartPolicy"] = policy
	return b
}

// Deadline sets activeDeadlineSeconds.
func (b *PodBuilder) Deadline(seconds int) *PodBuilder {
	b.Spec["activeDeadlineSeconds"] = seconds
	return b
}

// Having gives one of the regular containers a field.
func (b *PodBuilder) Having(container, field string, value any) *PodBuilder {
	for _, c := range b.Spec["containers"].([]any) {
		if c := c.(map[string]any); c["name"] == container {
			c[field] = value
		}
	}
	return b
}

// InitContainers replaces the init containers.
func (b *PodBuilder) InitContainers(names ...string) *PodBuilder {
	b.Spec["initContainers"] = Containers(names...)
	return b
}

// NativeSidecars replaces the init containers with native sidecars.
func (b *PodBuilder) NativeSidecars(names ...string) *PodBuilder {
	b.InitContainers(names...)
	for _, c := range b.Spec["initContainers"].([]any) {
		c.(map[string]any)["restartPolicy"] = "Always"
	}
	return b
}

// Elements gives the pod a field of so many elements, which no program reads.
func (b *PodBuilder) Elements(n int) *PodBuilder {
	b.Spec["elements"] = make([]int, n)
	return b
}

// JSON is the pod.
func (b *PodBuilder) JSON() string {
	return Encode(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "futureField": "x", "metadata": b.Metadata, "spec": b.Spec,
	})
}

// Template is the pod as a template of pods.
func (b *PodBuilder) Template() map[string]any {
	return map[string]any{"futureField": "x", "metadata": b.Metadata, "spec": b.Spec}
}
