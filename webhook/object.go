package webhook

import (
	"encoding/json"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// object is what admission reads of a pod, of a template of pods, and of a
// workload around one, which have one outline. Other fields are skipped: those
// newer than the API library cost nothing.
type object struct {
	Metadata struct {
		GenerateName               string            `json:"generateName"`
		Labels                     map[string]string `json:"labels"`
		Annotations                map[string]string `json:"annotations"`
		DeletionTimestamp          *metav1.Time      `json:"deletionTimestamp"`
		DeletionGracePeriodSeconds *int64            `json:"deletionGracePeriodSeconds"`
	} `json:"metadata"`
	Spec struct {
		Containers            []container                  `json:"containers"` // of pods and their templates, as the next two
		InitContainers        []container                  `json:"initContainers"`
		RestartPolicy         corev1.RestartPolicy         `json:"restartPolicy"`
		ActiveDeadlineSeconds *int64                       `json:"activeDeadlineSeconds"` // of pods, and of Jobs as the next one
		PodReplacementPolicy  batchv1.PodReplacementPolicy `json:"podReplacementPolicy"`
		Template              *object                      `json:"template"`    // of workloads and of a CronJob's jobTemplate
		JobTemplate           *object                      `json:"jobTemplate"` // of a CronJob
	} `json:"spec"`
	Status corev1.PodStatus `json:"status"` // of pods

	body []byte // of the review, if this is its object
}

type container struct {
	Name               string                         `json:"name"`
	RestartPolicy      *corev1.ContainerRestartPolicy `json:"restartPolicy"`
	RestartPolicyRules []corev1.ContainerRestartRule  `json:"restartPolicyRules"`
	LivenessProbe      *struct{}                      `json:"livenessProbe"`
	StartupProbe       *struct{}                      `json:"startupProbe"`
	ResizePolicy       []corev1.ContainerResizePolicy `json:"resizePolicy"`
	Lifecycle          struct {
		PostStart *struct{} `json:"postStart"`
	} `json:"lifecycle"`
}

// containers are the review's pod's regular containers as they came, with fields
// newer than the API library. They are decoded only if they are needed: most pods
// keep them where they are.
func (o *object) containers() (raw []json.RawMessage, err error) {
	var review struct {
		Request struct {
			Object struct {
				Spec struct {
					Containers []json.RawMessage `json:"containers"`
				} `json:"spec"`
			} `json:"object"`
		} `json:"request"`
	}
	err = utiljson.Unmarshal(o.body, &review) // keys are case sensitive, as everywhere
	raw = review.Request.Object.Spec.Containers
	if err == nil && len(raw) != len(o.Spec.Containers) {
		err = fmt.Errorf("%d containers are %d", len(o.Spec.Containers), len(raw))
	}
	return raw, err
}

// restarter returns the field for which the kubelet may restart the container
// while it runs, empty if there is none.
func (c *container) restarter() string {
	restarts := func(p corev1.ContainerResizePolicy) bool { return p.RestartPolicy == corev1.RestartContainer }
	switch {
	case c.LivenessProbe != nil:
		return "livenessProbe"
	case c.StartupProbe != nil:
		return "startupProbe"
	case slices.ContainsFunc(c.ResizePolicy, restarts):
		return "resizePolicy " + string(corev1.RestartContainer)
	}
	return ""
}

// pod returns what decides the outcome of a pod.
func (o *object) pod() *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Annotations:                o.Metadata.Annotations,
			DeletionTimestamp:          o.Metadata.DeletionTimestamp,
			DeletionGracePeriodSeconds: o.Metadata.DeletionGracePeriodSeconds,
		},
		Spec: corev1.PodSpec{
			RestartPolicy:         o.Spec.RestartPolicy,
			ActiveDeadlineSeconds: o.Spec.ActiveDeadlineSeconds,
			Containers:            make([]corev1.Container, len(o.Spec.Containers)),
		},
		Status: o.Status,
	}
	for i, c := range o.Spec.Containers {
		pod.Spec.Containers[i] = corev1.Container{Name: c.Name, RestartPolicy: c.RestartPolicy, RestartPolicyRules: c.RestartPolicyRules}
	}
	return pod
}

// label returns the value of the label. The object may be nil.
func (o *object) label() (value string, labelled bool) {
	if o == nil {
		return "", false
	}
	value, labelled = o.Metadata.Labels[essential.Label]
	return value, labelled
}

func (o *object) mirror() bool {
	return essential.Mirror(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: o.Metadata.Annotations}})
}

func (o *object) containerNames() essential.ContainerNames {
	return essential.ContainerNames{Regular: names(o.Spec.Containers), Init: names(o.Spec.InitContainers)}
}

func names(containers []container) []string {
	out := make([]string, len(containers))
	for i, c := range containers {
		out[i] = c.Name
	}
	return out
}

// The ways from an object to its pod template and to its Job's specification. Each
// returns nil if there is none, also for an object that is nil.

func (o *object) self() *object { return o }

func (o *object) template() *object {
	if o == nil {
		return nil
	}
	return o.Spec.Template
}

func (o *object) templateOfJobs() *object {
	if o == nil {
		return nil
	}
	return o.jobTemplate().template()
}

func (o *object) jobTemplate() *object {
	if o == nil {
		return nil
	}
	return o.Spec.JobTemplate
}

// kind is a kind of object that is reviewed.
type kind struct {
	schema.GroupVersion
	resource string
	kind     string
	pods     func(*object) *object // the pod or its template; may return nil
	path     *field.Path           // of that; nil: it is the object
	job      func(*object) *object // what has a Job's specification; nil: nothing has
}

var (
	core  = schema.GroupVersion{Version: "v1"}
	batch = schema.GroupVersion{Group: "batch", Version: "v1"}
	apps  = schema.GroupVersion{Group: "apps", Version: "v1"}

	inSpec    = field.NewPath("spec", "template")
	inJobSpec = field.NewPath("spec", "jobTemplate", "spec", "template")

	podKinds = []kind{
		{core, "pods", "Pod", (*object).self, nil, nil},
	}
	workloadKinds = []kind{
		{batch, "jobs", "Job", (*object).template, inSpec, (*object).self},
		{batch, "cronjobs", "CronJob", (*object).templateOfJobs, inJobSpec, (*object).jobTemplate},
		{apps, "deployments", "Deployment", (*object).template, inSpec, nil},
		{apps, "replicasets", "ReplicaSet", (*object).template, inSpec, nil},
		{apps, "statefulsets", "StatefulSet", (*object).template, inSpec, nil},
		{apps, "daemonsets", "DaemonSet", (*object).template, inSpec, nil},
	}
)

func (k *kind) isResource(r metav1.GroupVersionResource) bool {
	return r == metav1.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.resource}
}

func (k *kind) isKind(g metav1.GroupVersionKind) bool {
	return g == metav1.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.kind}
}
