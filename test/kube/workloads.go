package kube

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
)

// What the containers print, to be counted in their logs.
const (
	MainStart    = "main: start"
	MainEnd      = "main: end"
	SidecarStart = "sidecar: start"
	PreStop      = "sidecar: preStop hook"
	Terminated   = "sidecar: got SIGTERM"
)

// Image has a shell and little else.
const Image = "docker.io/library/busybox:1.36"

// Main is a container named main that runs a script between its two lines.
func Main(script string) corev1.Container {
	return shell("main", "echo '"+MainStart+"'; "+script+"; echo '"+MainEnd+"'")
}

// Sidecar is a container that never ends by itself. It has a preStop hook, and
// answers SIGTERM with exit code 143, as most programs do that do not handle it.
func Sidecar(name string) corev1.Container {
	c := shell(name, "trap \"echo '"+Terminated+"'; exit 143\" TERM; echo '"+SidecarStart+"'; while true; do sleep 0.1; done")
	c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{
		// A hook's own output goes nowhere.
		Command: []string{"sh", "-c", "echo '" + PreStop + "' >/proc/1/fd/1"},
	}}}
	return c
}

func shell(name, script string) corev1.Container {
	return corev1.Container{
		Name:            name,
		Image:           Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Command:         []string{"sh", "-c", script},
	}
}

// Template is a pod template that names its essential containers, or none.
func Template(policy corev1.RestartPolicy, label *string, containers ...corev1.Container) corev1.PodTemplateSpec {
	template := corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: policy, Containers: containers}}
	if label != nil {
		template.Labels = map[string]string{api.Label: *label}
	}
	return template
}

// Pod is a pod of a template.
func Pod(namespace, name string, template corev1.PodTemplateSpec) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: template.Labels, Annotations: template.Annotations},
		Spec:       template.Spec,
	}
}

// Job is a Job of a template.
func Job(namespace, name string, template corev1.PodTemplateSpec) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       batchv1.JobSpec{Template: template},
	}
}

// JobComplete reports whether the Job has its Complete condition.
func JobComplete(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
