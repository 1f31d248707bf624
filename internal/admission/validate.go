package admission

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// Workload answers about a workload of this kind by its pod template. The workload
// is created, or else updated from old, which may be nil. The user who applies it
// sees a mistake at once, while the denial of a pod reaches only its controller.
func Workload(k *Kind, workload, old *Object, defaults essential.Policies) Answer {
	template := k.pods(workload)
	if _, labelled := template.label(); !labelled {
		return Answer{Warnings: misplaced(k, workload, template)}
	}
	_, v := judge(k.path, template, defaults)
	v.Result = "" // that of its pods
	for _, key := range essential.OwnAnnotations {
		if _, brought := template.Metadata.Annotations[key]; brought {
			v.Warnings = append(v.Warnings, fmt.Sprintf("%s: ignored: only the webhook and the reaper write it",
				essential.AnnotationPath(k.path, key)))
		}
	}
	v.Warnings = append(v.Warnings, misplaced(k, workload, template)...)
	if k.job != nil {
		v.Warnings = append(v.Warnings, aboutJob(k, k.job(workload), template, defaults)...)
	}
	_, before := judge(k.path, k.pods(old), defaults)
	v.allowWhatWasWrongBefore(before.Denial)
	return v
}

// aboutJob warns of what a Job's own fields mean for pods with sidecars.
func aboutJob(k *Kind, job, template *Object, defaults essential.Policies) (warnings []string) {
	if job == nil {
		return nil
	}
	spec := field.NewPath("spec")
	if k.path == inJobSpec {
		spec = spec.Child("jobTemplate", "spec")
	}
	warn := func(path *field.Path, text string) { warnings = append(warnings, fmt.Sprintf("%s: %s", path, text)) }
	if template.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && len(template.Spec.Containers)+len(template.Spec.InitContainers) > 1 {
		warn(k.path.Child("spec", "restartPolicy"),
			"under OnFailure the Job counts the restarts of every container, sidecars included, and fails at its backoffLimit; Never does not")
	}
	if job.Spec.PodReplacementPolicy != batchv1.Failed {
		warn(spec.Child("podReplacementPolicy"),
			"choose Failed: otherwise a pod that is deleted (a drained node, preemption) while its sidecars end is counted as failed at once, and its work runs again")
	}
	policies, _ := defaults.Override(nil, template.Metadata.Annotations)
	if deadline := job.Spec.ActiveDeadlineSeconds; deadline != nil && policies.StopDelay.Seconds() >= float64(*deadline) {
		warn(spec.Child("activeDeadlineSeconds"),
			fmt.Sprintf("the Job's deadline does not wait for the stop-delay of %s: the Job fails; choose a longer deadline or a shorter delay", policies.StopDelay))
	}
	return warnings
}

// misplaced warns of a label or a policy that the user has written where it has no
// effect.
func misplaced(k *Kind, workload, template *Object) (warnings []string) {
	isOurs := func(key string) bool {
		return key == api.Label || strings.HasPrefix(key, api.AnnotationPrefix)
	}
	warn := func(path *field.Path, key string, where *field.Path) {
		if len(warnings) < maxListed {
			warnings = append(warnings, fmt.Sprintf("%s: has no effect: write it to %s", path.Key(shorten(key)), where))
		}
	}
	_, labelled := template.label()
	labels, annotations := k.path.Child("metadata", "labels"), k.path.Child("metadata", "annotations")
	look := func(parent *field.Path, o *Object) {
		if o == nil {
			return
		}
		for _, key := range slices.Sorted(maps.Keys(o.Metadata.Labels)) {
			switch {
			case o != template && has(template, labelsOf, key): // the API server gives a Job its template's labels
			case key == api.Label && o != template:
				warn(parent.Child("metadata", "labels"), key, labels)
			case key != api.Label && isOurs(key) && (o != template || !labelled): // judge warns of those of a labelled template
				warn(parent.Child("metadata", "labels"), key, annotations)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(o.Metadata.Annotations)) {
			switch {
			case key == api.Label:
				warn(parent.Child("metadata", "annotations"), key, labels)
			case isOurs(key) && o != template && !has(template, annotationsOf, key):
				warn(parent.Child("metadata", "annotations"), key, annotations)
			}
		}
	}
	look(nil, workload)
	look(field.NewPath("spec", "jobTemplate"), workload.jobTemplate())
	look(k.path, template)
	return warnings
}

func labelsOf(o *Object) map[string]string      { return o.Metadata.Labels }
func annotationsOf(o *Object) map[string]string { return o.Metadata.Annotations }

func has(o *Object, keys func(*Object) map[string]string, key string) bool {
	if o == nil {
		return false
	}
	_, ok := keys(o)[key]
	return ok
}

// allowWhatWasWrongBefore turns the denial into warnings if the old workload had the same errors.
// It must still be possible to scale a workload that is older than the webhook (a
// Deployment scales its old ReplicaSets down), and to delete it (an update may have
// to remove a finalizer).
func (v *Answer) allowWhatWasWrongBefore(before field.ErrorList) {
	texts := make([]string, len(v.Denial))
	for i, err := range v.Denial {
		if !slices.ContainsFunc(before, func(b *field.Error) bool { return b.Error() == err.Error() }) {
			return
		}
		texts[i] = fmt.Sprintf("%s; allowed because it was so before, but new pods are denied", err)
	}
	v.Warnings = append(v.Warnings, texts...)
	v.Denial = nil
}
