package oracle

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Start is when the pods of all facts started.
var Start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func at(second int) metav1.Time {
	if second == Unknown {
		return metav1.Time{}
	}
	return metav1.NewTime(Start.Add(time.Duration(second) * time.Second))
}

// Pod is how the API shows the facts, with the phase that the kubelet last wrote.
func (f *Facts) Pod(phase corev1.PodPhase) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "jobs", Name: "drawn", UID: "uid-1", ResourceVersion: "1", CreationTimestamp: at(0),
			Annotations: f.annotations(), Labels: map[string]string{"app": "drawn"},
		},
		Spec:   corev1.PodSpec{RestartPolicy: corev1.RestartPolicy(f.RestartPolicy)},
		Status: corev1.PodStatus{Phase: phase, StartTime: new(at(0))},
	}
	if phase == corev1.PodFailed {
		pod.Status.Reason = f.Reason
	}
	if f.Deleted != nil {
		grace := 0
		if f.Grace != nil {
			grace = *f.Grace
			pod.DeletionGracePeriodSeconds = new(int64(grace))
		}
		pod.DeletionTimestamp = new(at(*f.Deleted + grace))
	}
	if f.Deadline != nil {
		pod.Spec.ActiveDeadlineSeconds = new(int64(*f.Deadline))
	}
	if f.Stopped != "" {
		pod.Spec.ActiveDeadlineSeconds = new(int64(1))
	}
	f.conditions(pod)
	var essentials []string
	for _, c := range f.Containers {
		c.show(pod)
		if c.Essential {
			essentials = append(essentials, c.Name)
		}
	}
	pod.Annotations["essential-containers/tracked"] = strings.Join(essentials, ",")
	return pod
}

// Label is the label's value for the essential containers.
func (f *Facts) Label() string {
	var essentials []string
	for _, c := range f.Containers {
		if c.Essential {
			essentials = append(essentials, c.Name)
		}
	}
	return strings.Join(essentials, "_")
}

func (f *Facts) annotations() map[string]string {
	annotations := map[string]string{
		"essential-containers/completion": map[bool]string{true: "All", false: "Any"}[f.All],
		"essential-containers/on-failure": map[bool]string{true: "Stop", false: "Ignore"}[f.Stop],
	}
	record := func(phase string) string { return Start.Format(time.RFC3339) + " " + phase + ": " + Because }
	if f.Stopped != "" {
		annotations["essential-containers/stopped"] = record(f.Stopped)
	}
	if f.Delayed != "" {
		annotations["essential-containers/due"] = record(f.Delayed)
	}
	return annotations
}

func (f *Facts) conditions(pod *corev1.Pod) {
	add := func(kind, reason, message string, second int) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodConditionType(kind), Status: corev1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: at(second),
		})
	}
	add("PodScheduled", "", "", 0)
	if f.Disrupted != "" {
		add("DisruptionTarget", f.Disrupted, "", f.DisruptAt)
	}
	if f.RestartedAll != nil {
		add("AllContainersRestarting", "", "", *f.RestartedAll)
	}
	if f.OldVersion != "" {
		reason := map[string]string{"Succeeded": "EssentialContainerCompleted", "Failed": "EssentialContainerFailed"}[f.OldVersion]
		add("essential-containers/Stopped", reason, Because, 0)
	}
}

// show adds the container to the pod's spec and status.
func (c Container) show(pod *corev1.Pod) {
	spec := corev1.Container{Name: c.Name, Image: "example.com/" + c.Name}
	if c.Policy != "" {
		spec.RestartPolicy = new(corev1.ContainerRestartPolicy(c.Policy))
	}
	for _, r := range c.Rules {
		operator := corev1.ContainerRestartRuleOnExitCodesOpNotIn
		if r.In {
			operator = corev1.ContainerRestartRuleOnExitCodesOpIn
		}
		spec.RestartPolicyRules = append(spec.RestartPolicyRules, corev1.ContainerRestartRule{
			Action:    corev1.ContainerRestartRuleAction(r.Action),
			ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: operator, Values: r.Codes},
		})
	}
	pod.Spec.Containers = append(pod.Spec.Containers, spec)
	if c.Unreported {
		return
	}
	status := corev1.ContainerStatus{Name: c.Name}
	switch c.State {
	case Running:
		status.State.Running = &corev1.ContainerStateRunning{}
	case Waiting:
		status.State.Waiting = &corev1.ContainerStateWaiting{}
	case Exited:
		status.State.Terminated = c.Exit.show()
	}
	if c.Before != nil {
		status.LastTerminationState.Terminated = c.Before.show()
	}
	pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status)
}

func (e Exit) show() *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: e.Code, FinishedAt: at(e.At)}
}
