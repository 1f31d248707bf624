package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
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
	reapedWhenDone fate = iota // stopped once main has completed or failed for good; deleted if it has completed
	untouched                  // none of them is ever touched
)

// work is a Job or a pod, what is to become of it, and what happens to it.
type work struct {
	name          string
	job           bool
	fate          fate
	completions   int // of main
	failures      int // of main, all ordered
	interruptions int // of main, by the kubelet, which runs it again
	retention     time.Duration
	native        bool // its sidecar is: the kubelet ends it, and nothing stops the pod
	patient       bool // the Job replaces pods when they have ended, not when they are deleted

	asks    []corev1.ResourceName // more than half of what the node has; hostPort for one of its ports
	deletes time.Duration         // if positive, its first pod is deleted so long after main's start
	resizes bool                  // main is resized when it has started, and restarted for that
}

// kind is a sort of work.
type kind struct {
	name   string
	weight int // how often in one deck
	make   func(r *rand.Rand, w *work) client.Object
}

// long is the kind whose main runs for up to a minute.
const long = "long"

// hostPort stands for the one port of the node that works ask for.
const hostPort corev1.ResourceName = "hostPort"

// kinds are all sorts. A main runs for a random time with a fraction: whole
// seconds keep step with the kubelet's own and always meet it in the same state.
var kinds = []kind{
	{"plain", 4, func(r *rand.Rand, w *work) client.Object {
		return job(w, template(w, succeed(seconds(r, 0.5, 15)), stays(r)))
	}},
	{long, 1, func(r *rand.Rand, w *work) client.Object {
		return job(w, template(w, succeed(seconds(r, 30, 60)), stays(r)))
	}},
	{"parallel", 2, func(r *rand.Rand, w *work) client.Object {
		w.completions = 4
		j := job(w, template(w, succeed(seconds(r, 1, 6)), stays(r)))
		j.Spec.Completions, j.Spec.Parallelism = new(int32(4)), new(int32(2))
		if r.IntN(2) == 0 {
			j.Spec.CompletionMode = new(batchv1.IndexedCompletion)
		}
		return j
	}},
	{"retained", 2, func(r *rand.Rand, w *work) client.Object {
		w.retention = time.Duration(5+r.IntN(15)) * time.Second
		t := template(w, succeed(seconds(r, 0.5, 8)), stays(r))
		t.Annotations = map[string]string{api.RetentionAnnotation: w.retention.String()}
		return job(w, t)
	}},
	{"delayed", 2, func(r *rand.Rand, w *work) client.Object {
		return job(w, delayed(r, template(w, succeed(seconds(r, 0.5, 8)), stays(r))))
	}},
	{"native", 2, func(r *rand.Rand, w *work) client.Object {
		w.native = true
		t := template(w, succeed(seconds(r, 0.5, 15)), stays(r))
		t.Annotations = map[string]string{api.ModeAnnotation: string(api.ModeNative)}
		return job(w, t)
	}},
	{"retried", 2, func(r *rand.Rand, w *work) client.Object { // by the kubelet
		w.failures = 1
		t := template(w, failOnce(w, seconds(r, 0.5, 6)), stays(r))
		t.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		return job(w, t)
	}},
	{"failing", 2, func(r *rand.Rand, w *work) client.Object { // the Job tries again
		w.failures = 1
		return job(w, template(w, failOnce(w, seconds(r, 0.5, 6)), stays(r)))
	}},
	{"bare", 2, func(r *rand.Rand, w *work) client.Object {
		return pod(w, optedIn, template(w, succeed(seconds(r, 0.5, 15)), stays(r)))
	}},
	{"ragged", 4, func(r *rand.Rand, w *work) client.Object { // its sidecar ends by itself, at about the same time
		after := 0.5 + 8*r.Float64()
		t := template(w, succeed(fmt.Sprintf("%.2f", after)), leaves(r, max(0.2, after-3+6*r.Float64())))
		if r.IntN(2) == 0 {
			t.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		}
		return job(w, t)
	}},
	{"probed", 2, func(r *rand.Rand, w *work) client.Object { // its main hangs, and the kubelet kills and restarts it
		w.interruptions = 1
		t := template(w, hangOnce(w, seconds(r, 0.5, 8)), stays(r))
		t.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		t.Spec.Containers[0].LivenessProbe = &corev1.Probe{
			ProbeHandler:        corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-d", "/records/" + w.name + ".well"}}},
			InitialDelaySeconds: 1, PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 10,
		}
		return job(w, t)
	}},
	{"resized", 2, func(r *rand.Rand, w *work) client.Object {
		w.interruptions, w.resizes = 1, true
		t := template(w, hangOnce(w, seconds(r, 0.5, 8)), stays(r))
		t.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		main := &t.Spec.Containers[0]
		main.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}
		main.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
		return job(w, t)
	}},
	{"deleted", 3, func(r *rand.Rand, w *work) client.Object {
		w.patient = true
		j := deletedOnce(r, w)
		j.Spec.PodReplacementPolicy = new(batchv1.Failed)
		return j
	}},
	{"replaced", 2, func(r *rand.Rand, w *work) client.Object { // a deleted pod counts at once
		return deletedOnce(r, w)
	}},
	{"deadline", 3, func(r *rand.Rand, w *work) client.Object { // the pod's own, before or within its stop-delay
		t := template(w, interruptible(seconds(r, 0.5, 8), 0), stays(r))
		t.Annotations = map[string]string{api.StopDelayAnnotation: "20s"}
		t.Spec.ActiveDeadlineSeconds = new(int64(3 + r.IntN(7)))
		return pod(w, optedIn, t)
	}},
	holding,
	{"ignored", 1, func(r *rand.Rand, w *work) client.Object { // its failure stops nothing
		w.fate, w.completions, w.failures = untouched, 0, 1
		t := template(w, begins+"sleep "+seconds(r, 0.5, 8)+"; say "+failed+"; exit 1", stays(r))
		t.Annotations = map[string]string{api.OnFailureAnnotation: string(api.OnFailureIgnore)}
		return pod(w, optedIn, t)
	}},
	{"unlabelled", 1, func(r *rand.Rand, w *work) client.Object {
		w.fate = untouched
		t := template(w, succeed(seconds(r, 0.5, 8)), stays(r))
		delete(t.Labels, api.Label)
		return pod(w, optedIn, t)
	}},
	{"elsewhere", 1, func(r *rand.Rand, w *work) client.Object {
		w.fate = untouched
		return pod(w, elsewhere, template(w, succeed(seconds(r, 0.5, 8)), stays(r)))
	}},
}

// holding is a Job whose sidecar has what a competing work waits for, and takes its
// time to leave.
var holding = kind{"holding", 5, func(r *rand.Rand, w *work) client.Object {
	w.asks = []corev1.ResourceName{[]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, hostPort}[r.IntN(3)]}
	t := template(w, succeed(seconds(r, 0.5, 5)), flushes(seconds(r, 4, 7)))
	t.Spec.TerminationGracePeriodSeconds = new(int64(15))
	return job(w, t)
}}

// competing is a work of its own: a Job without sidecars that asks for everything
// that one of kind "holding" can have, and that no failure may be forgiven. There
// is always one.
var competing = kind{name: "competing", make: func(r *rand.Rand, w *work) client.Object {
	w.fate = untouched
	w.asks = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, hostPort}
	t := template(w, succeed(seconds(r, 0.5, 2)), "")
	delete(t.Labels, api.Label)
	t.Spec.Containers = t.Spec.Containers[:1]
	j := job(w, t)
	j.Spec.BackoffLimit = new(int32(0))
	return j
}}

// rival reports whether the work competes with others.
func (w work) rival() bool { return strings.HasPrefix(w.name, competing.name+"-") }

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

// The scripts of main. It ends with a word, whatever happens to it.
const begins = "say " + started + "; "

func succeed(after string) string { return begins + "sleep " + after + "; say " + completed }

// failOnce fails in the work's first run, whichever pod that is in.
func failOnce(w *work, after string) string {
	return begins + "sleep " + after + "; if mkdir /records/" + w.name + " 2>/dev/null; then say " + failed + "; exit 1; fi; say " + completed
}

// hangOnce does nothing in the work's first run, and takes SIGTERM for a good end.
func hangOnce(w *work, after string) string {
	return "if mkdir /records/" + w.name + " 2>/dev/null; then " + onTerm(interrupted, 0) + begins + "sleep 1000000 & wait; fi; " +
		"mkdir -p /records/" + w.name + ".well; " + succeed(after)
}

// interruptible ends with the code if it gets SIGTERM before its work is done.
func interruptible(after string, code int) string {
	return onTerm(interrupted, code) + begins + "sleep " + after + " & wait $!; trap '' TERM; say " + completed
}

// onTerm has the script say a word and end. A shell that waits takes the signal
// at once; one that runs a command takes it afterwards.
func onTerm(word string, code int) string {
	return fmt.Sprintf("trap 'say %s; exit %d' TERM; ", word, code)
}

// The scripts of sidecars.

// stays never ends by itself, and may need some time when it gets SIGTERM.
func stays(r *rand.Rand) string {
	return flushes([]string{"0", "0", seconds(r, 0.2, 3)}[r.IntN(3)])
}

func flushes(after string) string {
	return "trap 'say " + terminated + "; sleep " + after + "; say " + ended + "; exit 143' TERM; say " + started + "; sleep 1000000 & wait"
}

// leaves ends by itself, with any code.
func leaves(r *rand.Rand, after float64) string {
	code := []int{0, 1, 2, 137, 143}[r.IntN(5)]
	return fmt.Sprintf("trap 'say %s; say %s; exit 143' TERM; say %s; sleep %.2f & wait; say %s; exit %d", terminated, ended, started, after, ended, code)
}

func delayed(r *rand.Rand, t corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	t.Annotations = map[string]string{api.StopDelayAnnotation: fmt.Sprintf("%ds", 2+r.IntN(7))}
	return t
}

// deletedOnce is a Job of which a pod is deleted: while main runs, or between its
// completion and the pod's end.
func deletedOnce(r *rand.Rand, w *work) *batchv1.Job {
	after := 0.5 + 6*r.Float64()
	w.deletes = time.Duration((0.2 + r.Float64()*(after+4)) * float64(time.Second))
	t := template(w, interruptible(fmt.Sprintf("%.2f", after), 143), flushes(seconds(r, 0, 3)))
	if r.IntN(2) == 0 {
		t = delayed(r, t)
	}
	return job(w, t)
}

func template(w *work, main, sidecar string) corev1.PodTemplateSpec {
	t := kube.Template(corev1.RestartPolicyNever, new("main"), container(w, "main", main), container(w, "sidecar", sidecar))
	t.Labels[workLabel] = w.name
	t.Spec.TerminationGracePeriodSeconds = new(int64(5))
	kind := corev1.HostPathDirectoryOrCreate
	t.Spec.Volumes = []corev1.Volume{{Name: "records", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: recordsFolder, Type: &kind}}}}
	return t
}

// container runs a script that can say words, each one write to the end of one
// file, so that the file has them in the order in which they were said. The last
// field is the time since the machine's start.
func container(w *work, name, script string) corev1.Container {
	return corev1.Container{
		Name: name, Image: kube.Image, ImagePullPolicy: corev1.PullIfNotPresent,
		Command: []string{"sh", "-c", "say() { read up rest </proc/uptime; echo \"" + w.name + " $POD " + name + " $1 $up\" >>/records/" + recordsFile + "; }; " + script},
		Env: []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"},
		}}},
		VolumeMounts: []corev1.VolumeMount{{Name: "records", MountPath: "/records"}},
	}
}

// claim has the work's pods ask for what it is to ask for: of the node's resources
// more than half, so that two pods that do so have no room at the same time.
func (w *work) claim(object client.Object, node corev1.ResourceList) {
	spec := &corev1.PodSpec{}
	switch o := object.(type) {
	case *batchv1.Job:
		spec = &o.Spec.Template.Spec
	case *corev1.Pod:
		spec = &o.Spec
	}
	holder := &spec.Containers[len(spec.Containers)-1] // the sidecar, if there is one
	for _, name := range w.asks {
		if name == hostPort {
			holder.Ports = []corev1.ContainerPort{{ContainerPort: 8088, HostPort: 8088}}
			continue
		}
		if holder.Resources.Requests == nil {
			holder.Resources.Requests = corev1.ResourceList{}
		}
		have := node[name]
		holder.Resources.Requests[name] = *resource.NewMilliQuantity(have.MilliValue()/100*55, have.Format)
	}
}

func job(w *work, t corev1.PodTemplateSpec) *batchv1.Job {
	w.job = true
	return kube.Job(optedIn, w.name, t)
}

func pod(w *work, namespace string, t corev1.PodTemplateSpec) *corev1.Pod {
	return kube.Pod(namespace, w.name, t)
}
