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

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// apply carries the decision out. The API server refuses its patches if the pod is
// another one, or has changed, since it was read, and its deletion, if it is
// another one.
func apply(ctx context.Context, c client.Client, pod *corev1.Pod, d Decision, now time.Time) error {
	var err error
	record := essential.Record{At: now, Phase: d.Phase, Because: d.Because}.String()
	switch d.Action {
	case Adopt:
		err = patch(ctx, c, pod, api.TrackedAnnotation, d.Tracked, nil)
	case Delay:
		err = patch(ctx, c, pod, api.DueAnnotation, record, nil)
	case Stop:
		// The kubelet ends the pod at its deadline as at a deletion: preStop hooks,
		// SIGTERM, grace period, SIGKILL. The phase is Running until all have ended.
		err = patch(ctx, c, pod, api.StoppedAnnotation, record, map[string]any{"activeDeadlineSeconds": 1})
	case Delete:
		err = c.Delete(ctx, target(pod), client.Preconditions{UID: &pod.UID})
	}
	if err != nil {
		return fmt.Errorf("%s of pod %s/%s: %w", d.Action, pod.Namespace, pod.Name, err)
	}
	return nil
}

// patch sets an annotation and the fields of the pod's spec, if any.
func patch(ctx context.Context, c client.Client, pod *corev1.Pod, annotation, value string, spec map[string]any) error {
	patch := map[string]any{"metadata": map[string]any{
		"uid": pod.UID, "resourceVersion": pod.ResourceVersion, "annotations": map[string]string{annotation: value},
	}}
	if spec != nil {
		patch["spec"] = spec
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding the patch: %w", err)
	}
	return c.Patch(ctx, target(pod), client.RawPatch(types.MergePatchType, body))
}

// target returns an object that names the pod in a write. The cached pod itself
// would be overwritten by the API server's answer.
func target(pod *corev1.Pod) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
}
