package reaper

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// The reasons of the [essential.StoppedCondition], and of the events that tell
// the same.
const (
	completedReason = "EssentialContainerCompleted"
	failedReason    = "EssentialContainerFailed"
)

// phaseOf is the terminal phase that goes with the condition's reason.
func phaseOf(c *corev1.PodCondition) corev1.PodPhase {
	if c != nil && c.Reason == failedReason {
		return corev1.PodFailed
	}
	return corev1.PodSucceeded
}

func reasonOf(phase corev1.PodPhase) string {
	if phase == corev1.PodFailed {
		return failedReason
	}
	return completedReason
}

// apply does what the decision says. Its patches are refused if the pod is
// another one, or has changed, since it was decided upon, and its deletion, if
// it is another one.
func apply(ctx context.Context, c client.Client, pod *corev1.Pod, d Decision, now time.Time) error {
	var err error
	switch d.Action {
	case Adopt:
		err = patchStatus(ctx, c, pod, map[string]string{essential.TrackedAnnotation: d.Tracked}, nil)
	case Delay:
		err = patchStatus(ctx, c, pod, nil, map[string]any{
			"conditions": []any{condition(corev1.ConditionFalse, d, now)},
		})
	case Stop, StopAgain:
		// Without the annotation that changes in the same request the kubelet
		// writes the old phase back. With it, it ends the pod's containers: preStop
		// hooks, SIGTERM, grace period, SIGKILL.
		stopped := map[string]string{essential.StoppedAnnotation: now.UTC().Format(time.RFC3339Nano)}
		err = patchStatus(ctx, c, pod, stopped, map[string]any{
			"phase":      d.Phase,
			"conditions": []any{condition(corev1.ConditionTrue, d, now)},
		})
	case Delete:
		err = c.Delete(ctx, target(pod), client.Preconditions{UID: &pod.UID})
	}
	if err != nil {
		return fmt.Errorf("%s of pod %s/%s: %w", d.Action, pod.Namespace, pod.Name, err)
	}
	return nil
}

// patchStatus sends a strategic merge patch: conditions merge by type, so that
// the kubelet's own stay.
func patchStatus(ctx context.Context, c client.Client, pod *corev1.Pod, annotations map[string]string, status map[string]any) error {
	metadata := map[string]any{"uid": pod.UID, "resourceVersion": pod.ResourceVersion}
	if annotations != nil {
		metadata["annotations"] = annotations
	}
	patch := map[string]any{"metadata": metadata}
	if status != nil {
		patch["status"] = status
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding the patch: %w", err)
	}
	return c.Status().Patch(ctx, target(pod), client.RawPatch(types.StrategicMergePatchType, body))
}

// condition is the [essential.StoppedCondition]. Repeated stops are no
// transition, see firstStop, and what made the pod due stays on record.
func condition(status corev1.ConditionStatus, d Decision, now time.Time) map[string]any {
	c := map[string]any{"type": essential.StoppedCondition, "status": status, "reason": reasonOf(d.Phase)}
	if d.Action != StopAgain {
		c["message"] = d.Because
		c["lastTransitionTime"] = metav1.NewTime(now)
	}
	return c
}

// target names the pod in a write. It is not the pod itself: that belongs to the
// cache, and the API server's answer would overwrite it.
func target(pod *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
}
