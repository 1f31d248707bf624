package reaper

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// now is when every test takes place.
var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// podBuilder builds a pod; its zero state is a tracked one whose containers
// main (essential) and proxy run.
type podBuilder struct{ *corev1.Pod }

func aPod() podBuilder {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now.Add(-time.Hour))}}
	return podBuilder{&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "jobs", Name: "nightly-x7k2p", UID: "uid-1", ResourceVersion: "41",
			Labels:      map[string]string{api.Label: "main", "app": "nightly"},
			Annotations: map[string]string{api.TrackedAnnotation: "main", "example.com/other": "long text"},
			Finalizers:  []string{"batch.kubernetes.io/job-tracking"},
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64(30)),
			InitContainers:                []corev1.Container{{Name: "setup"}},
			Containers:                    []corev1.Container{{Name: "main"}, {Name: "proxy"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{
				{Name: "main", State: running, ImageID: "sha256:0"}, {Name: "proxy", State: running, ImageID: "sha256:1"},
			},
		},
	}}
}

func (b podBuilder) untracked() podBuilder {
	delete(b.Annotations, api.TrackedAnnotation)
	return b
}

func (b podBuilder) tracking(names string) podBuilder {
	b.Annotations[api.TrackedAnnotation] = names
	return b.labelled(strings.ReplaceAll(names, ",", "_"))
}

func (b podBuilder) annotated(key, value string) podBuilder {
	b.Annotations[key] = value
	return b
}

func (b podBuilder) labelled(value string) podBuilder {
	b.Labels[api.Label] = value
	return b
}

func (b podBuilder) policy(policy corev1.RestartPolicy) podBuilder {
	b.Spec.RestartPolicy = policy
	return b
}

// ownedBy adds a controlling owner, and one that is none.
func (b podBuilder) ownedBy(kind, name string) podBuilder {
	return b.controlledBy(metav1.OwnerReference{APIVersion: "batch/v1", Kind: kind, Name: name, UID: "uid-owner"})
}

func (b podBuilder) controlledBy(owner metav1.OwnerReference) podBuilder {
	owner.Controller = new(true)
	b.OwnerReferences = []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Other", Name: "other", UID: "uid-other"}, owner}
	return b
}

// ownedByReplicaSet makes it a pod that is replaced whatever its outcome.
func (b podBuilder) ownedByReplicaSet() podBuilder {
	return b.controlledBy(metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "uid-owner"})
}

func (b podBuilder) created(at time.Time) podBuilder {
	b.CreationTimestamp = metav1.NewTime(at)
	return b
}

func (b podBuilder) deadline(seconds int64) podBuilder {
	b.Spec.ActiveDeadlineSeconds = &seconds
	return b
}

func (b podBuilder) mirror() podBuilder {
	b.Annotations[corev1.MirrorPodAnnotationKey] = "hash"
	return b
}

func (b podBuilder) deleting() podBuilder {
	b.DeletionTimestamp = &metav1.Time{Time: now}
	return b
}

func (b podBuilder) phase(phase corev1.PodPhase) podBuilder {
	b.Status.Phase = phase
	return b
}

func (b podBuilder) grace(seconds *int64) podBuilder {
	b.Spec.TerminationGracePeriodSeconds = seconds
	return b
}

func (b podBuilder) uid(uid types.UID) podBuilder {
	b.UID = uid
	return b
}

func (b podBuilder) container(name string) *corev1.ContainerStatus {
	for i := range b.Status.ContainerStatuses {
		if b.Status.ContainerStatuses[i].Name == name {
			return &b.Status.ContainerStatuses[i]
		}
	}
	b.Status.ContainerStatuses = append(b.Status.ContainerStatuses, corev1.ContainerStatus{Name: name})
	return b.container(name)
}

func (b podBuilder) exited(name string, code int32, reason string) podBuilder {
	b.container(name).State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, FinishedAt: metav1.NewTime(now)}}
	return b
}

// finished moves the time at which the container exited.
func (b podBuilder) finished(name string, at time.Time) podBuilder {
	b.container(name).State.Terminated.FinishedAt = metav1.NewTime(at)
	return b
}

// restarted lets the container run again after an exit.
func (b podBuilder) restarted(name string, code int32) podBuilder {
	b.container(name).LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, FinishedAt: metav1.NewTime(now.Add(-time.Minute)),
	}}
	return b
}

func (b podBuilder) crashLooping(name string) podBuilder {
	b.container(name).State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	return b
}

func (b podBuilder) nativeSidecar(name string) podBuilder {
	b.Status.InitContainerStatuses = append(b.Status.InitContainerStatuses, corev1.ContainerStatus{
		Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	})
	return b
}

// due records a delay, with a phase.
func (b podBuilder) due(phase corev1.PodPhase, at time.Time) podBuilder {
	return b.annotated(api.DueAnnotation, record(phase, at))
}

// stopped records a stop, with a phase, and lowers the deadline.
func (b podBuilder) stopped(phase corev1.PodPhase, at time.Time) podBuilder {
	b.Spec.ActiveDeadlineSeconds = new(int64(1))
	return b.annotated(api.StoppedAnnotation, record(phase, at))
}

func record(phase corev1.PodPhase, at time.Time) string {
	return essential.Record{At: at, Phase: phase, Because: recorded}.String()
}

// stoppedByOld is what a version before 0.2 left when it stopped the pod.
func (b podBuilder) stoppedByOld(phase corev1.PodPhase, at time.Time) podBuilder {
	return b.conditionOfOld(corev1.ConditionTrue, phase, at).phase(phase).
		annotated(api.StoppedAnnotation, at.Add(time.Millisecond).Format(time.RFC3339Nano))
}

// conditionOfOld is what a version before 0.2 recorded: a delay if it is false.
func (b podBuilder) conditionOfOld(status corev1.ConditionStatus, phase corev1.PodPhase, at time.Time) podBuilder {
	return b.conditioned(corev1.PodCondition{
		Type: essential.OldStoppedCondition, Status: status, Reason: reasonOf(phase), Message: recorded, LastTransitionTime: metav1.NewTime(at),
	})
}

func (b podBuilder) conditioned(c corev1.PodCondition) podBuilder {
	b.Status.Conditions = append(b.Status.Conditions, c)
	return b
}
