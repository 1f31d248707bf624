package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

const (
	optedIn   = "faults"
	elsewhere = "faults-elsewhere" // has not opted in

	workLabel = "work" // on every pod: the name of its work

	recordsFolder = "/var/lib/faults" // on the node: where containers write, whatever becomes of kubelet, pod and API server
	recordsFile   = "lines"
)

// fate is what is to become of the pods of a work.
type fate int

const (
	reapedWhenDone fate = iota // stopped and deleted once main has completed
	failsFirst                 // pods whose main fails are stopped as Failed and stay; the others as above
	untouched                  // none of them is ever touched
)

// work is a Job or a pod, and what is to come of it.
type work struct {
	name        string
	job         bool
	fate        fate
	completions int // of main
	failures    int // of main, all ordered
	retention   time.Duration
	native      bool // its sidecar is: the kubelet ends it, and nobody stops the pod
}

// kind is a sort of work.
type kind struct {
	name   string
	weight int // how often in one deck
	make   func(r *rand.Rand, w *work) client.Object
}

// long is the kind whose main runs for up to a minute.
const long = "long"

// kinds are all sorts. A main runs for a random time with a fraction: whole
// seconds keep step with the kubelet's own and always meet it in the same state.
var kinds = []kind{
	{"plain", 5, func(r *rand.Rand, w *work) client.Object {
		return job(w, template(w, succeed(seconds(r, 0.5, 15))))
	}},
	{long, 1, func(r *rand.Rand, w *work) client.Object {
		return job(w, template(w, succeed(seconds(r, 30, 60))))
	}},
	{"parallel", 3, func(r *rand.Rand, w *work) client.Object {
		w.completions = 4
		j := job(w, template(w, succeed(seconds(r, 1, 6))))
		j.Spec.Completions, j.Spec.Parallelism = new(int32(4)), new(int32(2))
		if r.IntN(2) == 0 {
			j.Spec.CompletionMode = new(batchv1.IndexedCompletion)
		}
		return j
	}},
	{"retained", 2, func(r *rand.Rand, w *work) client.Object {
		w.retention = time.Duration(5+r.IntN(15)) * time.Second
		t := template(w, succeed(seconds(r, 0.5, 8)))
		t.Annotations = map[string]string{essential.RetentionAnnotation: w.retention.String()}
		return job(w, t)
	}},
	{"delayed", 2, func(r *rand.Rand, w *work) client.Object {
		t := template(w, succeed(seconds(r, 0.5, 8)))
		t.Annotations = map[string]string{essential.StopDelayAnnotation: fmt.Sprintf("%ds", 2+r.IntN(7))}
		return job(w, t)
	}},
	{"native", 2, func(r *rand.Rand, w *work) client.Object {
		w.native = true
		t := template(w, succeed(seconds(r, 0.5, 15)))
		t.Annotations = map[string]string{essential.ModeAnnotation: string(essential.ModeNative)}
		return job(w, t)
	}},
	{"retried", 2, func(r *rand.Rand, w *work) client.Object { // by the kubelet
		w.failures = 1
		t := template(w, failOnce(w, seconds(r, 0.5, 6)))
		t.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		return job(w, t)
	}},
	{"failing", 2, func(r *rand.Rand, w *work) client.Object { // the Job tries again
		w.fate, w.failures = failsFirst, 1
		t := template(w, failOnce(w, seconds(r, 0.5, 6)))
		t.Annotations = map[string]string{essential.OnFailureAnnotation: string(essential.OnFailureStop)}
		return job(w, t)
	}},
	{"bare", 2, func(r *rand.Rand, w *work) client.Object {
		return pod(w, optedIn, template(w, succeed(seconds(r, 0.5, 15))))
	}},
	{"ignored", 1, func(r *rand.Rand, w *work) client.Object { // its failure stops nothing
		w.fate, w.completions, w.failures = untouched, 0, 1
		return pod(w, optedIn, template(w, "sleep "+seconds(r, 0.5, 8)+"; say failed; exit 1"))
	}},
	{"unlabelled", 1, func(r *rand.Rand, w *work) client.Object {
		w.fate = untouched
		t := template(w, succeed(seconds(r, 0.5, 8)))
		delete(t.Labels, essential.Label)
		return pod(w, optedIn, t)
	}},
	{"elsewhere", 1, func(r *rand.Rand, w *work) client.Object {
		w.fate = untouched
		return pod(w, elsewhere, template(w, succeed(seconds(r, 0.5, 8))))
	}},
}

// weighed is a deck of all kinds, each as often as it weighs.
func weighed() (deck []kind) {
	for _, k := range kinds {
		deck = append(deck, slices.Repeat([]kind{k}, k.weight)...)
	}
	return deck
}

// newWork draws a work of the kind.
func newWork(r *rand.Rand, k kind, number int) (work, client.Object) {
	w := work{name: fmt.Sprintf("%s-%d", k.name, number), completions: 1}
	object := k.make(r, &w)
	return w, object
}

func seconds(r *rand.Rand, from, to float64) string {
	return fmt.Sprintf("%.2f", from+r.Float64()*(to-from))
}

func succeed(after string) string { return "sleep " + after + "; say " + completed }

// failOnce fails in the work's first run, whichever pod that is in.
func failOnce(w *work, after string) string {
	return "sleep " + after + "; if mkdir /records/" + w.name + " 2>/dev/null; then say " + failed + "; exit 1; fi; say " + completed
}

func template(w *work, main string) corev1.PodTemplateSpec {
	t := kube.Template(corev1.RestartPolicyNever, new("main"),
		container(w, "main", "say "+started+"; "+main),
		// A shell that waits takes the signal at once; one that runs a command takes it afterwards.
		container(w, "sidecar", "trap 'say "+terminated+"; exit 143' TERM; say "+started+"; sleep 1000000 & wait"))
	t.Labels[workLabel] = w.name
	t.Spec.TerminationGracePeriodSeconds = new(int64(5))
	kind := corev1.HostPathDirectoryOrCreate
	t.Spec.Volumes = []corev1.Volume{{Name: "records", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: recordsFolder, Type: &kind}}}}
	return t
}

// container runs a script that can say words, each one write to the end of one
// file, so that the file has them in the order in which they were said.
func container(w *work, name, script string) corev1.Container {
	return corev1.Container{
		Name: name, Image: kube.Image, ImagePullPolicy: corev1.PullIfNotPresent,
		Command: []string{"sh", "-c", "say() { echo \"" + w.name + " $POD " + name + " $1\" >>/records/" + recordsFile + "; }; " + script},
		Env: []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"},
		}}},
		VolumeMounts: []corev1.VolumeMount{{Name: "records", MountPath: "/records"}},
	}
}

func job(w *work, t corev1.PodTemplateSpec) *batchv1.Job {
	w.job = true
	return kube.Job(optedIn, w.name, t)
}

func pod(w *work, namespace string, t corev1.PodTemplateSpec) *corev1.Pod {
	return kube.Pod(namespace, w.name, t)
}
