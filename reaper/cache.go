package reaper

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// namespaceMetadata is read as metadata only, and only of namespaces that opted in:
// one that is in the cache did.
func namespaceMetadata() *metav1.PartialObjectMetadata {
	var namespace metav1.PartialObjectMetadata
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return &namespace
}

// cacheOptions hold only pods that carry the label, and only namespaces that
// opted in: the API server selects them, and one that loses its label leaves.
// Any other read is an error, so that none can quietly load a whole cluster.
func cacheOptions(optedIn labels.Selector) (cache.Options, error) {
	labelled, err := labels.NewRequirement(api.Label, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	trimmer := &trimmer{}
	shared := true // cached pods are read-only: apply writes an object of its own
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {
				Label:                 labels.NewSelector().Add(*labelled),
				Transform:             trimmer.pod,
				UnsafeDisableDeepCopy: &shared,
			},
			namespaceMetadata(): {Label: optedIn, Transform: trimNamespace},
		},
	}, nil
}

// trimmer trims what comes into the cache. Its zero value is ready.
type trimmer struct {
	annotations annotationSets
}

// Bounds on texts and lists in the cache whose length the API server does not bound.
const (
	// maxText is in bytes. No valid value is longer, and a shortened value is invalid.
	maxText = 512
	// maxOwner is in bytes, for the four fields of an owner. No real owner has more.
	maxOwner = 1024
	// maxContainers is more than a node can run in one pod.
	maxContainers = 1000
	// maxNames is how many container names of an untracked pod are kept, in addition to
	// those in its label. No message lists more.
	maxNames = 20
)

// pod keeps the fields that decide, apply and report read. If they need another
// field, keep it here.
func (t *trimmer) pod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil // a tombstone, whose pod was trimmed when it came
	}
	if len(pod.Spec.Containers) == 0 {
		return pod, nil // trimmed: what a list brings comes here twice
	}
	trimmed := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:         pod.Namespace,
			Name:              pod.Name,
			UID:               pod.UID,
			ResourceVersion:   pod.ResourceVersion,
			CreationTimestamp: pod.CreationTimestamp,
			DeletionTimestamp: pod.DeletionTimestamp,
			Annotations:       t.annotations.trim(pod.Annotations),
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 pod.Spec.RestartPolicy,
			TerminationGracePeriodSeconds: pod.Spec.TerminationGracePeriodSeconds,
			ActiveDeadlineSeconds:         pod.Spec.ActiveDeadlineSeconds,
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase},
	}
	if owner := metav1.GetControllerOf(pod); owner != nil && len(owner.APIVersion)+len(owner.Kind)+len(owner.Name)+len(owner.UID) <= maxOwner {
		trimmed.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	trimContainers(pod, trimmed)
	trimStatus(pod, &trimmed.Status)
	return trimmed, nil
}

// trimStatus keeps no container statuses until a container has ended. Before that,
// the decision is to wait whatever they contain, and most pods are in that state.
func trimStatus(pod *corev1.Pod, trimmed *corev1.PodStatus) {
	status := &pod.Status
	waits := status.Phase == corev1.PodPending || status.Phase == corev1.PodRunning
	if !waits || slices.ContainsFunc(status.ContainerStatuses, hasEnded) {
		trimmed.ContainerStatuses = trimStatuses(status.ContainerStatuses)
		trimmed.InitContainerStatuses = trimStatuses(status.InitContainerStatuses)
		trimmed.EphemeralContainerStatuses = trimStatuses(status.EphemeralContainerStatuses)
		trimmed.StartTime = status.StartTime
	}
	for _, kind := range [...]corev1.PodConditionType{essential.OldStoppedCondition, corev1.DisruptionTarget, corev1.AllContainersRestarting} {
		if c := essential.Condition(pod, kind); c != nil {
			trimmed.Conditions = append(trimmed.Conditions, corev1.PodCondition{
				Type: kind, Status: c.Status, LastTransitionTime: c.LastTransitionTime,
				Reason: essential.Shorten(c.Reason, maxText), Message: essential.Shorten(c.Message, maxText),
			})
		}
	}
}

func hasEnded(status corev1.ContainerStatus) bool {
	return status.State.Terminated != nil || status.LastTerminationState.Terminated != nil
}

// trimContainers keeps the containers' own restart policies, and the label if it was
// changed. For an untracked pod it keeps label and names: the reaper may adopt the pod.
func trimContainers(pod, trimmed *corev1.Pod) {
	tracked := essential.IsTracked(pod)
	if !tracked || isRelabelled(pod) {
		metav1.SetMetaDataLabel(&trimmed.ObjectMeta, api.Label, pod.Labels[api.Label])
	}
	if !tracked {
		names := strings.Split(pod.Labels[api.Label], api.NameSeparator)
		trimmed.Spec.Containers = trimNames(pod.Spec.Containers, names)
		trimmed.Spec.InitContainers = trimNames(pod.Spec.InitContainers, names)
		return
	}
	for i := range pod.Spec.Containers[:min(len(pod.Spec.Containers), maxContainers)] {
		if c := &pod.Spec.Containers[i]; c.RestartPolicy != nil {
			trimmed.Spec.Containers = append(trimmed.Spec.Containers,
				corev1.Container{Name: c.Name, RestartPolicy: c.RestartPolicy, RestartPolicyRules: c.RestartPolicyRules})
		}
	}
}

func trimNames(containers []corev1.Container, labelled []string) (kept []corev1.Container) {
	for i := range containers {
		if name := containers[i].Name; i < maxNames || slices.Contains(labelled, name) {
			kept = append(kept, corev1.Container{Name: name})
		}
	}
	return kept
}

// trimNamespace keeps the name. A namespace that is in the cache has opted in.
func trimNamespace(object any) (any, error) {
	namespace, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	return &metav1.PartialObjectMetadata{
		TypeMeta:   namespace.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{Name: namespace.Name, UID: namespace.UID, ResourceVersion: namespace.ResourceVersion},
	}, nil
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

// running is the state of every running container. The reaper does not need its start
// time.
var running = &corev1.ContainerStateRunning{}

func trimState(state corev1.ContainerState) (trimmed corev1.ContainerState) {
	if state.Running != nil {
		trimmed.Running = running
	}
	if t := state.Terminated; t != nil {
		trimmed.Terminated = &corev1.ContainerStateTerminated{ExitCode: t.ExitCode, Reason: essential.Shorten(t.Reason, maxText), FinishedAt: t.FinishedAt}
	}
	return trimmed
}
