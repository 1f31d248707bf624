package admission

import (
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// nodes is the group of all kubelets (k8s.io/apiserver/pkg/authentication/user,
// NodesGroup).
const nodes = "system:nodes"

// Status answers about a write to the status of a pod: it decides the phase of a
// tracked pod that becomes Failed. The groups are those of the user who writes.
//
// A kubelet may send that phase with container statuses that are older: it decides
// about the phase when it sends, and on a busy node the containers have ended since
// it took their statuses. Such a report is denied. The kubelet sends the next one,
// which says how the containers ended.
func Status(update, stored *Object, groups []string, defaults essential.Policies) (v Answer) {
	v = decidePhase(update, stored, defaults)
	pod := &corev1.Pod{Status: update.Status}
	if v.Result != Kept && pod.Status.Phase == corev1.PodFailed && essential.HasRunningContainers(pod) && slices.Contains(groups, nodes) {
		return Answer{Denial: field.ErrorList{field.Forbidden(field.NewPath("status", "phase"),
			"must not be Failed while a container status is running: report the containers' ends too")}}
	}
	return v
}

// decidePhase decides the phase of a tracked pod whose status is about to become
// Failed (the verdict). The kubelet writes that once, when the last container has
// ended, and repeats it while the API has anything else.
func decidePhase(update, stored *Object, defaults essential.Policies) (v Answer) {
	if update.Status.Phase != corev1.PodFailed || stored == nil {
		return v
	}
	pod := stored.pod()
	_, labelled := stored.label()
	if !essential.IsTracked(pod) || !labelled {
		return v
	}
	now := &update.Status
	switch was := &stored.Status; {
	case was.Phase == corev1.PodSucceeded, was.Phase == corev1.PodFailed && was.Reason == api.FailedReason:
		v.Result, v.Patch = Kept, setPhase(now, was.Phase, was.Reason, was.Message)
		return v
	case was.Phase == corev1.PodFailed:
		return v // does not become Failed: it was before
	}
	pod.Status = *now
	policies, _ := defaults.Override(nil, pod.Annotations)
	switch outcome := essential.OutcomeOf(pod, policies); {
	case outcome.Phase == corev1.PodSucceeded:
		v.Result, v.Patch = Succeeded, setPhase(now, corev1.PodSucceeded, "", "")
	case outcome.Phase == corev1.PodFailed && essential.IsStopped(pod):
		v.Result, v.Patch = Explained, setPhase(now, corev1.PodFailed, api.FailedReason, outcome.Because)
	}
	return v
}

// setPhase returns the operations that give the status this phase, reason and
// message.
func setPhase(status *corev1.PodStatus, phase corev1.PodPhase, reason, message string) (operations []jsonpatch.Operation) {
	for _, field := range [...]struct{ path, is, want string }{
		{"/status/phase", string(status.Phase), string(phase)},
		{"/status/reason", status.Reason, reason},
		{"/status/message", status.Message, message},
	} {
		switch {
		case field.is == field.want:
		case field.want == "":
			operations = append(operations, jsonpatch.NewOperation("remove", field.path, nil))
		default:
			operations = append(operations, jsonpatch.NewOperation("add", field.path, field.want))
		}
	}
	return operations
}
