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

// completedReason is the reason of the [essential.StoppedCondition].
const completedReason = "EssentialContainerCompleted"

// stop gives the pod its terminal phase. The request also changes an
// annotation, without which the kubelet writes the old phase back, and is
// refused if the pod is another one, or has changed, since it was decided upon.
//
// The kubelet then ends the pod's containers: preStop hooks, SIGTERM, grace
// period, SIGKILL.
func stop(ctx context.Context, c client.Client, pod *corev1.Pod, d Decision, now time.Time) error {
	patch, err := stopPatch(pod, d, now)
	if err != nil {
		return fmt.Errorf("encoding the stop of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if err := c.Status().Patch(ctx, target(pod), client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		return fmt.Errorf("stopping pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// stopPatch is a strategic merge patch: conditions merge by type, so that the
// kubelet's own stay.
func stopPatch(pod *corev1.Pod, d Decision, now time.Time) ([]byte, error) {
	condition := map[string]any{
		"type":   essential.StoppedCondition,
		"status": corev1.ConditionTrue,
		"reason": completedReason,
	}
	if d.Action == Stop {
		// A repeated stop is no transition, see firstStop, and what made the pod
		// due stays on record.
		condition["message"] = d.Because
		condition["lastTransitionTime"] = metav1.NewTime(now)
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid":             pod.UID,
			"resourceVersion": pod.ResourceVersion,
			"annotations":     map[string]string{essential.StoppedAnnotation: now.UTC().Format(time.RFC3339Nano)},
		},
		"status": map[string]any{
			"phase":      corev1.PodSucceeded,
			"conditions": []any{condition},
		},
	})
}

// remove deletes the pod, unless another one has its name by now.
func remove(ctx context.Context, c client.Client, pod *corev1.Pod) error {
	if err := c.Delete(ctx, target(pod), client.Preconditions{UID: &pod.UID}); err != nil {
		return fmt.Errorf("deleting pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// target names the pod in a write. It is not the pod itself: that belongs to the
// cache, and the API server's answer would overwrite it.
func target(pod *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
}
