package main

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

const (
	namespace = "bench"
	nodeName  = "bench" // no kubelet calls itself so
	benchKey  = "bench" // label of all pods made here
)

// pod is one of a Job, as Jobs in the field are: a main container and a sidecar
// with settings, resources and probes. It goes to a node without a kubelet.
func pod(name string, tracked, owned bool) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name,
			Labels:      map[string]string{benchKey: "other", "app.kubernetes.io/name": "import", "app.kubernetes.io/part-of": "warehouse"},
			Annotations: map[string]string{"example.com/description": strings.Repeat("nightly import of orders; ", 8)},
		},
		Spec: corev1.PodSpec{
			NodeName:                     nodeName,
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: new(false),
			Containers:                   []corev1.Container{container("main"), container("proxy")},
			Tolerations:                  []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		},
	}
	if tracked {
		p.Labels[benchKey], p.Labels[api.Label] = "tracked", "main"
		p.Annotations[api.TrackedAnnotation] = "main" // as the webhook would
	}
	if owned {
		p.OwnerReferences = ownedBy(name)
	}
	return p
}

// ownedBy is a Job of a pod's name.
func ownedBy(name string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: "batch/v1", Kind: "Job", Name: name, UID: types.UID("job-of-" + name), Controller: new(true), BlockOwnerDeletion: new(true),
	}}
}

func container(name string) corev1.Container {
	c := corev1.Container{
		Name: name, Image: "registry.example.com/warehouse/" + name + ":2026.11.3",
		Command: []string{"/usr/bin/" + name}, Args: []string{"--config=/etc/import/config.yaml", "--log-format=json"},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
		},
	}
	for i := range 8 {
		c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", i), Value: "value of a setting"})
	}
	return c
}

// The statuses that the pod's kubelet would write, in their order.

func running(p *corev1.Pod) {
	p.Status.Phase = corev1.PodRunning
	p.Status.StartTime = new(metav1.Now())
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled} {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()})
	}
	p.Status.ContainerStatuses = nil
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: true, Started: new(true),
			ImageID:     "registry.example.com/warehouse@sha256:" + strings.Repeat("0123456789abcdef", 4),
			ContainerID: "containerd://" + strings.Repeat("0123456789abcdef", 4),
			State:       corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		})
	}
}

func completed(p *corev1.Pod) { terminate(p, "main", 0, "Completed") }

// done is both at once, of a pod that was not watched in that time.
func done(p *corev1.Pod) {
	running(p)
	completed(p)
}

// ended is the status that the kubelet writes once the stop has ended the sidecar.
func ended(p *corev1.Pod) {
	terminate(p, "proxy", 143, "Error")
	p.Status.Phase, p.Status.Reason = corev1.PodFailed, essential.DeadlineExceeded
	p.Status.Message = "Pod was active on the node longer than the specified deadline"
	for i := range p.Status.Conditions {
		switch c := &p.Status.Conditions[i]; c.Type {
		case corev1.PodReady, corev1.ContainersReady:
			c.Status, c.Reason, c.LastTransitionTime = corev1.ConditionFalse, "PodCompleted", metav1.Now()
		}
	}
}

// decided is the same status after the webhook's verdict.
func decided(p *corev1.Pod) {
	ended(p)
	p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodSucceeded, "", ""
}

func terminate(p *corev1.Pod, name string, code int32, reason string) {
	for i := range p.Status.ContainerStatuses {
		if s := &p.Status.ContainerStatuses[i]; s.Name == name {
			s.Ready, s.Started = false, new(false)
			s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: code, Reason: reason, FinishedAt: metav1.Now(), ContainerID: s.ContainerID,
			}}
		}
	}
}

// isCompleted reads a status as a watcher does.

func isCompleted(p *corev1.Pod) bool {
	for i := range p.Status.ContainerStatuses {
		if s := &p.Status.ContainerStatuses[i]; s.Name == "main" {
			return s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
		}
	}
	return false
}

// statusPatch is the request with which a kubelet writes the change of a pod's
// status.
func statusPatch(p *corev1.Pod, change func(*corev1.Pod)) ([]byte, error) {
	changed := p.DeepCopy()
	change(changed)
	was, err := json.Marshal(corev1.Pod{Status: p.Status})
	if err != nil {
		return nil, err
	}
	is, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: p.UID}, Status: changed.Status})
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateTwoWayMergePatch(was, is, corev1.Pod{})
}
