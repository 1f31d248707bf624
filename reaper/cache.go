package reaper

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// cacheOptions hold only pods that carry the label: the API server selects
// them, and a pod that loses its label leaves. Any other read is an error, so
// that none can quietly load a whole cluster.
func cacheOptions() (cache.Options, error) {
	labelled, err := labels.NewRequirement(essential.Label, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	shared := true // nobody changes a cached pod: acting makes an object of its own
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {
				Label:                 labels.NewSelector().Add(*labelled),
				Transform:             trim,
				UnsafeDisableDeepCopy: &shared,
			},
		},
	}, nil
}

// trim keeps of a pod what deciding and acting read. Whoever makes them read
// more must keep more here.
func trim(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil // a tombstone, whose pod was trimmed when it came
	}
	trimmed := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         pod.Namespace,
			Name:              pod.Name,
			UID:               pod.UID,
			ResourceVersion:   pod.ResourceVersion,
			DeletionTimestamp: pod.DeletionTimestamp,
		},
		Spec: corev1.PodSpec{TerminationGracePeriodSeconds: pod.Spec.TerminationGracePeriodSeconds},
		Status: corev1.PodStatus{
			Phase:                      pod.Status.Phase,
			ContainerStatuses:          trimStatuses(pod.Status.ContainerStatuses),
			InitContainerStatuses:      trimStatuses(pod.Status.InitContainerStatuses),
			EphemeralContainerStatuses: trimStatuses(pod.Status.EphemeralContainerStatuses),
		},
	}
	for _, key := range []string{essential.TrackedAnnotation, essential.StoppedAnnotation, corev1.MirrorPodAnnotationKey} {
		if value, ok := pod.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&trimmed.ObjectMeta, key, value)
		}
	}
	for _, c := range pod.Status.Conditions {
		switch c.Type {
		case essential.StoppedCondition, corev1.ContainersReady:
			trimmed.Status.Conditions = append(trimmed.Status.Conditions,
				corev1.PodCondition{Type: c.Type, Reason: c.Reason, LastTransitionTime: c.LastTransitionTime})
		}
	}
	return trimmed, nil
}

func trimStatuses(statuses []corev1.ContainerStatus) []corev1.ContainerStatus {
	if len(statuses) == 0 {
		return nil
	}
	trimmed := make([]corev1.ContainerStatus, len(statuses))
	for i, s := range statuses {
		trimmed[i] = corev1.ContainerStatus{
			Name:                 s.Name,
			State:                trimState(s.State),
			LastTerminationState: trimState(s.LastTerminationState),
		}
	}
	return trimmed
}

func trimState(state corev1.ContainerState) (trimmed corev1.ContainerState) {
	if state.Running != nil {
		trimmed.Running = &corev1.ContainerStateRunning{}
	}
	if t := state.Terminated; t != nil {
		trimmed.Terminated = &corev1.ContainerStateTerminated{ExitCode: t.ExitCode}
	}
	return trimmed
}
