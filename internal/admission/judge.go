package admission

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// judge applies the rules that hold for a pod (path nil) and for a template of
// pods at path alike. It returns the names of the essential containers, none
// without a label that counts; they mean something only if nothing is denied.
func judge(path *field.Path, p *Object, defaults essential.Policies) (essentials []string, v Answer) {
	value, labelled := p.label()
	label := essential.LabelPath(path)
	switch {
	case !labelled:
		return nil, v
	case p.isMirror():
		v.Warnings = []string{fmt.Sprintf("%s: ignored: the API cannot stop a static pod", label)}
		return nil, v
	}
	essentials, v.Denial = essential.ParseLabel(label, value, p.containerNames())
	policies, errs := defaults.Override(path, p.Metadata.Annotations)
	v.Denial = append(v.Denial, errs...)
	v.Warnings = append(essential.UnknownAnnotations(path, p.Metadata.Annotations), policiesAsLabels(path, p)...)
	if len(v.Denial) > 0 {
		return essentials, v
	}
	v.Denial = neverComplete(label, p, essentials)
	if len(v.Denial) == 0 {
		v.chooseMode(path, p, essentials, policies)
		v.Warnings = append(v.Warnings, withoutEffect(path, p, essentials, policies, v.Result)...)
	}
	return essentials, v
}

// neverComplete returns an error for each essential container whose completion
// cannot happen, or looks like a restart by the kubelet.
func neverComplete(label *field.Path, p *Object, essentials []string) (errs field.ErrorList) {
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		if !slices.Contains(essentials, c.Name) {
			continue
		}
		switch restarter := c.restarter(); {
		case essential.IsRestartedByRule(c.RestartPolicy, c.RestartPolicyRules, 0):
			errs = append(errs, field.Invalid(label, c.Name,
				"never completes: its restartPolicyRules restart it after exit code 0; remove that rule"))
		case restarter != "" && essential.IsRestarted(p.Spec.RestartPolicy, c.RestartPolicy, c.RestartPolicyRules, 0):
			errs = append(errs, field.Invalid(label, c.Name, fmt.Sprintf(
				"under restartPolicy %s a restart because of its %s looks like a completion: remove the %[2]s, or choose restartPolicy %s or %s",
				corev1.RestartPolicyAlways, restarter, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
		}
	}
	return errs
}

// withoutEffect warns of policies that mean nothing for this pod, or something else.
func withoutEffect(path *field.Path, p *Object, essentials []string, policies essential.Policies, result Result) (warnings []string) {
	warn := func(annotation, format string, args ...any) {
		if _, ok := p.Metadata.Annotations[annotation]; ok {
			warnings = append(warnings, fmt.Sprintf("%s: has no effect: "+format,
				append([]any{essential.AnnotationPath(path, annotation)}, args...)...))
		}
	}
	if len(essentials) == 1 {
		warn(api.CompletionAnnotation, "the label names one container")
	}
	fails := func(c Container) bool {
		return slices.Contains(essentials, c.Name) && !essential.IsRestarted(p.Spec.RestartPolicy, c.RestartPolicy, nil, 1)
	}
	if deadline := p.Spec.ActiveDeadlineSeconds; deadline != nil {
		if delay := policies.StopDelay; delay > 0 && delay >= time.Duration(*deadline)*time.Second {
			warnings = append(warnings, fmt.Sprintf("%s: the pod ends after %d s, before its stop-delay of %v is over",
				path.Child("spec", "activeDeadlineSeconds"), *deadline, delay))
		}
	}
	switch {
	case !slices.ContainsFunc(p.Spec.Containers, fails):
		warn(api.OnFailureAnnotation, "the kubelet restarts the essential containers when they fail")
	case result == Native && len(essentials) == 1 && p.Metadata.Annotations[api.OnFailureAnnotation] == string(api.OnFailureIgnore):
		warn(api.OnFailureAnnotation, "in mode %s the kubelet ends the pod", api.ModeNative)
	}
	return warnings
}

// policiesAsLabels warns of labels that were meant as annotations.
func policiesAsLabels(path *field.Path, p *Object) (warnings []string) {
	for _, key := range slices.Sorted(maps.Keys(p.Metadata.Labels)) {
		if strings.HasPrefix(key, api.AnnotationPrefix) {
			warnings = append(warnings, fmt.Sprintf("%s: has no effect: write it to %s",
				path.Child("metadata", "labels").Key(shorten(key)), path.Child("metadata", "annotations")))
		}
	}
	return warnings[:min(len(warnings), maxListed)]
}

// maxListed bounds the warnings of one kind.
const maxListed = 20

// chooseMode denies mode Native if the pod's own annotation asks for it and the pod
// cannot have it. If only the operator's default does, the pod is handled in mode
// Reap.
func (v *Answer) chooseMode(path *field.Path, p *Object, essentials []string, policies essential.Policies) {
	v.Result = Tracked
	if policies.Mode != api.ModeNative {
		return
	}
	_, asked := p.Metadata.Annotations[api.ModeAnnotation]
	if _, own := p.Metadata.Annotations[api.StopDelayAnnotation]; asked && !own && policies.StopDelay > 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("%s: the cluster's default stop-delay of %v does not hold in mode %s",
			essential.AnnotationPath(path, api.ModeAnnotation), policies.StopDelay, api.ModeNative))
		policies.StopDelay = 0
	}
	reasons := obstacles(p, essentials, policies)
	switch {
	case len(reasons) == 0:
		v.Result = Native
		v.Warnings = append(v.Warnings, beforeMain(path, p, essentials)...)
	case asked:
		for _, reason := range reasons {
			v.Denial = append(v.Denial, field.Invalid(essential.AnnotationPath(path, api.ModeAnnotation), string(api.ModeNative),
				fmt.Sprintf("%s, or choose mode %s", reason, api.ModeReap)))
		}
	case len(essentials) < len(p.Spec.Containers):
		v.Result = Fallback
		for _, reason := range reasons {
			v.Warnings = append(v.Warnings, fmt.Sprintf("%s: handled in mode %s, although the cluster's default is %s: %s",
				essential.LabelPath(path), api.ModeReap, api.ModeNative, reason))
		}
	}
}
