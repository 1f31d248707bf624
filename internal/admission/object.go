package admission

import (
	"encoding/json"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// Object is what admission reads of a pod, of a template of pods, and of a
// workload around one, which have one outline. Other fields are skipped: those
// newer than the API library cost nothing.
type Object struct {
	Metadata struct {
		GenerateName               string            `json:"generateName"`
		Labels                     map[string]string `json:"labels"`
		Annotations                map[string]string `json:"annotations"`
		DeletionTimestamp          *metav1.Time      `json:"deletionTimestamp"`
		DeletionGracePeriodSeconds *int64            `json:"deletionGracePeriodSeconds"`
	} `json:"metadata"`
	Spec struct {
		Containers            []Container                  `json:"containers"` // of pods and their templates, as the next two
		InitContainers        []Container                  `json:"initContainers"`
		RestartPolicy         corev1.RestartPolicy         `json:"restartPolicy"`
		ActiveDeadlineSeconds *int64                       `json:"activeDeadlineSeconds"` // of pods, and of Jobs as the next one
		PodReplacementPolicy  batchv1.PodReplacementPolicy `json:"podReplacementPolicy"`
		Template              *Object                      `json:"template"`    // of workloads and of a CronJob's jobTemplate
		JobTemplate           *Object                      `json:"jobTemplate"` // of a CronJob
	} `json:"spec"`
	Status corev1.PodStatus `json:"status"` // of pods

	// RawContainers returns a pod's spec.containers as they came, with fields newer
	// than the API library. It is called only if they are needed: most pods keep
	// them where they are.
	RawContainers func() ([]json.RawMessage, error) `json:"-"`
}

// Container is what admission reads of a container.
type Container struct {
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

// Decode reads an object from its JSON.
func Decode(text []byte) (*Object, error) {
	var o Object
	if err := utiljson.Unmarshal(text, &o); err != nil { // keys are case sensitive, as everywhere
		return nil, err
	}
	o.RawContainers = func() ([]json.RawMessage, error) {
		var raw struct {
			Spec struct {
				Containers []json.RawMessage `json:"containers"`
			} `json:"spec"`
		}
		err := utiljson.Unmarshal(text, &raw)
		return raw.Spec.Containers, err
	}
	return &o, nil
}

// restarter returns the field for which the kubelet may restart the container
// while it runs, empty if there is none.
func (c *Container) restarter() string {
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
func (o *Object) pod() *corev1.Pod {
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
func (o *Object) label() (value string, labelled bool) {
	if o == nil {
		return "", false
	}
	value, labelled = o.Metadata.Labels[api.Label]
	return value, labelled
}

func (o *Object) isMirror() bool {
	return essential.IsMirror(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: o.Metadata.Annotations}})
}

func (o *Object) containerNames() essential.ContainerNames {
	return essential.ContainerNames{Regular: names(o.Spec.Containers), Init: names(o.Spec.InitContainers)}
}

func names(containers []Container) []string {
	out := make([]string, len(containers))
	for i, c := range containers {
		out[i] = c.Name
	}
	return out
}

// The ways from an object to its pod template and to its Job's specification. Each
// returns nil if there is none, also for an object that is nil.

func (o *Object) self() *Object { return o }

func (o *Object) template() *Object {
	if o == nil {
		return nil
	}
	return o.Spec.Template
}

func (o *Object) templateOfJobs() *Object {
	if o == nil {
		return nil
	}
	return o.jobTemplate().template()
}

func (o *Object) jobTemplate() *Object {
	if o == nil {
		return nil
	}
	return o.Spec.JobTemplate
}

// Kind is a kind of object that is reviewed.
type Kind struct {
	schema.GroupVersion
	Resource string
	Kind     string

	pods func(*Object) *Object // returns the pod or its template, or nil
	path *field.Path           // of that; nil: it is the object
	job  func(*Object) *Object // returns what has a Job's specification; nil: nothing has
}

var (
	core  = schema.GroupVersion{Version: "v1"}
	batch = schema.GroupVersion{Group: "batch", Version: "v1"}
	apps  = schema.GroupVersion{Group: "apps", Version: "v1"}

	inSpec    = field.NewPath("spec", "template")
	inJobSpec = field.NewPath("spec", "jobTemplate", "spec", "template")
)

// PodKinds is the kind of pods.
var PodKinds = []Kind{
	{core, "pods", "Pod", (*Object).self, nil, nil},
}

// WorkloadKinds are the kinds of [Workload].
var WorkloadKinds = []Kind{
	{batch, "jobs", "Job", (*Object).template, inSpec, (*Object).self},
	{batch, "cronjobs", "CronJob", (*Object).templateOfJobs, inJobSpec, (*Object).jobTemplate},
	{apps, "deployments", "Deployment", (*Object).template, inSpec, nil},
	{apps, "replicasets", "ReplicaSet", (*Object).template, inSpec, nil},
	{apps, "statefulsets", "StatefulSet", (*Object).template, inSpec, nil},
	{apps, "daemonsets", "DaemonSet", (*Object).template, inSpec, nil},
}

// IsResource reports whether objects of the resource are of this kind.
func (k *Kind) IsResource(r metav1.GroupVersionResource) bool {
	return r == metav1.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.Resource}
}

// IsKind reports whether this is the kind.
func (k *Kind) IsKind(g metav1.GroupVersionKind) bool {
	return g == metav1.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind}
}
