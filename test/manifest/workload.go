package manifest

import (
	"maps"
	"strings"
)

// Workload is a kind of workload as its users know it. Path is where its template of
// pods is.
type Workload struct{ Group, Resource, Kind, Path string }

// Workloads are all kinds that the webhook validates.
var Workloads = []Workload{
	{"batch", "jobs", "Job", "spec.template"},
	{"batch", "cronjobs", "CronJob", "spec.jobTemplate.spec.template"},
	{"apps", "deployments", "Deployment", "spec.template"},
	{"apps", "replicasets", "ReplicaSet", "spec.template"},
	{"apps", "statefulsets", "StatefulSet", "spec.template"},
	{"apps", "daemonsets", "DaemonSet", "spec.template"},
}

// Some of the workloads.
var (
	Job        = Workloads[0]
	CronJob    = Workloads[1]
	Deployment = Workloads[2]
)

// Foreign are keys that look like the contract's.
var Foreign = map[string]string{"essential-containersx": "mian", "essential-containers.example.com/completion": "some"}

// Around is the JSON of such a workload with this template, without anything that
// deserves a warning. It has labels, annotations and, like the API server's, other
// fields of its own.
func (w Workload) Around(template any) string {
	return w.With(template, map[string]any{"podReplacementPolicy": "Failed"}, map[string]any{"name": "nightly", "labels": Foreign, "annotations": Foreign})
}

// With is the JSON of such a workload with these other fields in the object that
// holds the template, which of a Job are the Job's own, and this metadata.
func (w Workload) With(template any, fields, metadata map[string]any) string {
	steps := strings.Split(w.Path, ".")
	inner := map[string]any{steps[len(steps)-1]: template, "futureField": "x"}
	maps.Copy(inner, fields)
	for i := len(steps) - 2; i > 0; i-- {
		inner = map[string]any{steps[i]: inner, "futureField": "x"}
	}
	return Encode(map[string]any{"apiVersion": w.Group + "/v1", "kind": w.Kind, "spec": inner, "metadata": metadata})
}
