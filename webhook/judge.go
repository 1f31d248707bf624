package webhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// answer is the answer about one object. Its zero value admits it as it is.
type answer struct {
	result     outcome               // the metrics' result; empty: the endpoint's for an object that is admitted as it is
	operations []jsonpatch.Operation // on a pod
	warnings   []string              // for the user, one sentence each
	denial     field.ErrorList       // if not empty, the object is rejected
}

// judge applies the rules that hold for a pod (path nil) and for a template of
// pods at path alike. It returns the names of the essential containers, none
// without a label that counts; they mean something only if nothing is denied.
func judge(path *field.Path, p *object, defaults essential.Policies) (essentials []string, v answer) {
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
	policies, errs := defaults.Override(path, p.Metadata.Annotations)
	v.denial = append(v.denial, errs...)
	v.warnings = append(essential.UnknownAnnotations(path, p.Metadata.Annotations), policiesAsLabels(path, p)...)
	if len(v.denial) > 0 {
		return essentials, v
	}
	v.denial = neverComplete(label, p, essentials)
	if len(v.denial) == 0 {
		v.chooseMode(path, p, essentials, policies)
		v.warnings = append(v.warnings, withoutEffect(path, p, essentials, policies, v.result)...)
	}
	return essentials, v
}

// neverComplete returns an error for each essential container whose completion
// cannot happen, or cannot be told from the kubelet's own restarts.
func neverComplete(label *field.Path, p *object, essentials []string) (errs field.ErrorList) {
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		if !slices.Contains(essentials, c.Name) {
			continue
		}
		switch restarter := c.restarter(); {
		case essential.RestartsByRule(c.RestartPolicy, c.RestartPolicyRules, 0):
			errs = append(errs, field.Invalid(label, c.Name,
				"never completes: its restartPolicyRules restart it after exit code 0; remove that rule"))
		case restarter != "" && essential.Restarts(p.Spec.RestartPolicy, c.RestartPolicy, c.RestartPolicyRules, 0):
			errs = append(errs, field.Invalid(label, c.Name, fmt.Sprintf(
				"under restartPolicy %s a restart because of its %s looks like a completion: remove the %[2]s, or choose restartPolicy %s or %s",
				corev1.RestartPolicyAlways, restarter, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
		}
	}
	return errs
}

// withoutEffect warns of policies that mean nothing for this pod, or something else.
func withoutEffect(path *field.Path, p *object, essentials []string, policies essential.Policies, result outcome) (warnings []string) {
	warn := func(annotation, format string, args ...any) {
		if _, ok := p.Metadata.Annotations[annotation]; ok {
			warnings = append(warnings, fmt.Sprintf("%s: has no effect: "+format,
				append([]any{essential.AnnotationPath(path, annotation)}, args...)...))
		}
	}
	if len(essentials) == 1 {
		warn(essential.CompletionAnnotation, "the label names one container")
	}
	fails := func(c container) bool {
		return slices.Contains(essentials, c.Name) && !essential.Restarts(p.Spec.RestartPolicy, c.RestartPolicy, nil, 1)
	}
	if deadline := p.Spec.ActiveDeadlineSeconds; deadline != nil {
		if delay := policies.StopDelay; delay > 0 && delay >= time.Duration(*deadline)*time.Second {
			warnings = append(warnings, fmt.Sprintf("%s: the pod ends after %d s, before its stop-delay of %v is over",
				path.Child("spec", "activeDeadlineSeconds"), *deadline, delay))
		}
	}
	switch {
	case !slices.ContainsFunc(p.Spec.Containers, fails):
		warn(essential.OnFailureAnnotation, "the kubelet restarts the essential containers when they fail")
	case result == native && p.Metadata.Annotations[essential.OnFailureAnnotation] == string(essential.OnFailureIgnore):
		warn(essential.OnFailureAnnotation, "in mode %s the kubelet ends the pod", essential.ModeNative)
	}
	return warnings
}

// policiesAsLabels warns of labels that were meant as annotations.
func policiesAsLabels(path *field.Path, p *object) (warnings []string) {
	for _, key := range slices.Sorted(maps.Keys(p.Metadata.Labels)) {
		if strings.HasPrefix(key, essential.AnnotationPrefix) {
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
func (v *answer) chooseMode(path *field.Path, p *object, essentials []string, policies essential.Policies) {
	v.result = tracked
	if policies.Mode != essential.ModeNative {
		return
	}
	_, asked := p.Metadata.Annotations[essential.ModeAnnotation]
	if _, own := p.Metadata.Annotations[essential.StopDelayAnnotation]; asked && !own && policies.StopDelay > 0 {
		v.warnings = append(v.warnings, fmt.Sprintf("%s: the cluster's default stop-delay of %v does not hold in mode %s",
			essential.AnnotationPath(path, essential.ModeAnnotation), policies.StopDelay, essential.ModeNative))
		policies.StopDelay = 0
	}
	reasons := obstacles(p, essentials, policies)
	switch {
	case len(reasons) == 0:
		v.result = native
		v.warnings = append(v.warnings, beforeMain(path, p, essentials)...)
	case asked:
		for _, reason := range reasons {
			v.denial = append(v.denial, field.Invalid(essential.AnnotationPath(path, essential.ModeAnnotation), string(essential.ModeNative),
				fmt.Sprintf("%s, or choose mode %s", reason, essential.ModeReap)))
		}
	case len(essentials) < len(p.Spec.Containers):
		v.result = fallback
		for _, reason := range reasons {
			v.warnings = append(v.warnings, fmt.Sprintf("%s: handled in mode %s, although the cluster's default is %s: %s",
				essential.LabelPath(path), essential.ModeReap, essential.ModeNative, reason))
		}
	}
}
