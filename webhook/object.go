package webhook

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// object is what admission reads of a pod, of a template of pods, and of a
// workload around one: they have one outline. Decoding skips the rest, so that
// fields newer than the API library cost nothing, and nothing is ever encoded
// again.
type object struct {
	Metadata struct {
		GenerateName string            `json:"generateName"`
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		Containers     []container          `json:"containers"` // of pods and their templates, as the next two
		InitContainers []container          `json:"initContainers"`
		RestartPolicy  corev1.RestartPolicy `json:"restartPolicy"`
		Template       *object              `json:"template"`    // of workloads and of a CronJob's jobTemplate
		JobTemplate    *object              `json:"jobTemplate"` // of a CronJob
	} `json:"spec"`
}

type container struct {
	Name               string                         `json:"name"`
	RestartPolicy      *corev1.ContainerRestartPolicy `json:"restartPolicy"`
	RestartPolicyRules []corev1.ContainerRestartRule  `json:"restartPolicyRules"`
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

// The ways from an object to what it says about pods. Each returns nil where
// the way ends early, for an object that is nil too.

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
	return o.Spec.JobTemplate.template()
}

// kind is a kind of object that is reviewed.
type kind struct {
	schema.GroupVersion
	resource string
	kind     string
	pods     func(*object) *object // what the object says about pods; may return nil
	path     *field.Path           // of that; nil: it is the object
}

var (
	core  = schema.GroupVersion{Version: "v1"}
	batch = schema.GroupVersion{Group: "batch", Version: "v1"}
	apps  = schema.GroupVersion{Group: "apps", Version: "v1"}

	inSpec    = field.NewPath("spec", "template")
	inJobSpec = field.NewPath("spec", "jobTemplate", "spec", "template")

	podKinds = []kind{
		{core, "pods", "Pod", (*object).self, nil},
	}
	workloadKinds = []kind{
		{batch, "jobs", "Job", (*object).template, inSpec},
		{batch, "cronjobs", "CronJob", (*object).templateOfJobs, inJobSpec},
		{apps, "deployments", "Deployment", (*object).template, inSpec},
		{apps, "replicasets", "ReplicaSet", (*object).template, inSpec},
		{apps, "statefulsets", "StatefulSet", (*object).template, inSpec},
		{apps, "daemonsets", "DaemonSet", (*object).template, inSpec},
	}
)

func (k *kind) isResource(r metav1.GroupVersionResource) bool {
	return r == metav1.GroupVersionResource{Group: k.Group, Version: k.Version, Resource: k.resource}
}

func (k *kind) isKind(g metav1.GroupVersionKind) bool {
	return g == metav1.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.kind}
}
