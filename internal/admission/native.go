package admission

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// maxSidecars bounds what the conversion of one pod can cost. It is far more than
// a node runs.
const maxSidecars = 1000

// obstacles are why the kubelet cannot end this pod as its label and its policies
// say, each with what the user can do. None: it can, once its sidecars are native.
// The names are those of containers that the pod has.
func obstacles(p *Object, essentials []string, policies essential.Policies) (reasons []string) {
	add := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	if len(essentials) > 1 && policies.Completion != api.CompletionAll {
		add("the first completion of several essential containers is to end the pod, but the kubelet waits for all of them: choose %s: %s",
			api.CompletionAnnotation, api.CompletionAll)
	}
	if policies.StopDelay > 0 {
		add("the kubelet ends native sidecars without a delay of %v: choose %s: %v, and let them flush in a preStop hook or in their grace period",
			policies.StopDelay, api.StopDelayAnnotation, time.Duration(0))
	}
	if len(p.Spec.Containers)-len(essentials) > maxSidecars {
		add("the pod has more than %d sidecars", maxSidecars)
		return reasons
	}
	var restarted, special []string
	for i := range p.Spec.Containers {
		switch c := &p.Spec.Containers[i]; {
		case !slices.Contains(essentials, c.Name):
			if len(c.RestartPolicyRules) > 0 || c.RestartPolicy != nil && *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
				special = append(special, c.Name)
			}
		case essential.IsRestarted(p.Spec.RestartPolicy, c.RestartPolicy, c.RestartPolicyRules, 0):
			restarted = append(restarted, c.Name)
		}
	}
	if len(restarted) > 0 {
		add("the kubelet starts %s again after completion, so that the pod never ends by itself: choose restartPolicy %s or %s",
			quoted(restarted), corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)
	}
	if len(special) > 0 {
		add("%s has a restartPolicy or restartPolicyRules of its own, while a native sidecar is always restarted: leave them out", quoted(special))
	}
	return reasons
}

// quoted lists some names.
func quoted(names []string) string {
	const most = 5
	var texts []string
	for _, name := range names[:min(len(names), most)] {
		texts = append(texts, fmt.Sprintf("%q", shorten(name)))
	}
	if more := len(names) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(texts, ", ")
}

// convert returns the operations that turn every container that is not essential
// into a native sidecar, as it came and in order, behind the pod's init
// containers: they end before it starts, as they did. There are none if there is
// nothing left to convert.
func convert(p *Object, essentials []string) (operations []jsonpatch.Operation) {
	const regular, initial = "/spec/containers/", "/spec/initContainers"
	add := func(op, path string, value any) {
		operations = append(operations, jsonpatch.NewOperation(op, path, value))
	}
	raw, err := p.RawContainers()
	if err == nil && len(raw) != len(p.Spec.Containers) {
		err = fmt.Errorf("%d containers are %d", len(p.Spec.Containers), len(raw))
	}
	if err != nil {
		panic(err) // the same text was decoded before
	}
	moved, next := 0, len(p.Spec.InitContainers)
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		if slices.Contains(essentials, c.Name) {
			continue
		}
		if next == 0 {
			add("add", initial, []any{})
		}
		add("remove", regular+strconv.Itoa(i-moved), nil)
		add("add", initial+"/-", raw[i])
		add("add", initial+"/"+strconv.Itoa(next)+"/restartPolicy", corev1.ContainerRestartPolicyAlways)
		moved++
		next++
	}
	return operations
}

// beforeMain warns of containers whose postStart hook or startup probe comes before
// the essential containers start, because they become native sidecars.
func beforeMain(path *field.Path, p *Object, essentials []string) (warnings []string) {
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		var what string
		switch {
		case slices.Contains(essentials, c.Name):
			continue
		case c.Lifecycle.PostStart != nil:
			what = "postStart hook"
		case c.StartupProbe != nil:
			what = "startupProbe"
		}
		if what != "" && len(warnings) < maxListed {
			warnings = append(warnings, fmt.Sprintf("%s: in mode %s the %s of container %q has to succeed before %s starts: it must not wait for it",
				essential.LabelPath(path), api.ModeNative, what, shorten(c.Name), quoted(essentials)))
		}
	}
	return warnings
}
