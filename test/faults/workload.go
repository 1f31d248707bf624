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

	recordsFolder = "/var/lib/faults" // on the node: the containers write there without kubelet and API server
	recordsFile   = "lines"
)

// work is a Job or a pod, and what is expected of it.
type work struct {
	name          string
	job           bool // and not a pod of its own
	leftAlone     bool // the reaper neither stops nor deletes its pods
	completions   int  // of main
	failures      int  // of main, all on purpose
	interruptions int  // of main, by the kubelet, which runs it again
	retention     time.Duration
	native        bool // its sidecar is: the kubelet ends it, and the reaper stops no pod
	patient       bool // the Job replaces pods when they have ended, not when they are deleted

	asks    []corev1.ResourceName // more than half of what the node has; hostPort for one of its ports
	deletes time.Duration         // if positive, its first pod is deleted that long after main's start
	resizes bool                  // main is resized when it has started, and restarted for that
}

// draft is a work that is being drawn. By default it is a Job whose main completes and
// whose sidecar never ends by itself.
type draft struct {
	*work
	*rand.Rand
	spec *batchv1.JobSpec
}

// kind is a sort of work.
type kind struct {
	name   string
	weight int // how often in one deck
	draw   func(d draft)
}

// long is the kind whose main runs for up to a minute.
const long = "long"

// hostPort is the one port of the node that works ask for.
const hostPort corev1.ResourceName = "hostPort"

// kinds are all sorts. A main runs for a random time with a fraction: whole
// seconds would always meet the kubelet in the same state.
var kinds = []kind{
	{"plain", 4, func(draft) {}},
	{long, 1, func(d draft) { d.main(succeed(d.seconds(30, 60))) }},
	{"parallel", 2, func(d draft) {
		d.completions = 4
		d.main(succeed(d.seconds(1, 6)))
		d.spec.Completions, d.spec.Parallelism = new(int32(4)), new(int32(2))
		if d.IntN(2) == 0 {
			d.spec.CompletionMode = new(batchv1.IndexedCompletion)
		}
	}},
	{"retained", 2, func(d draft) {
		d.retention = time.Duration(5+d.IntN(15)) * time.Second
		d.annotate(api.RetentionAnnotation, d.retention.String())
	}},
	{"delayed", 2, func(d draft) { d.main(succeed(d.seconds(0.5, 8))); d.delay() }},
	{"native", 2, func(d draft) {
		d.native = true
		d.annotate(api.ModeAnnotation, string(api.ModeNative))
	}},
	{"retried", 2, func(d draft) { d.failOnce(); d.restart() }}, // by the kubelet
	{"failing", 2, func(d draft) { d.failOnce() }},              // and the Job tries again
	{"bare", 2, func(d draft) { d.job = false }},
	{"ragged", 4, func(d draft) { // its sidecar ends by itself, at about the same time
		after := 0.5 + 8*d.Float64()
		d.main(succeed(fmt.Sprintf("%.2f", after)))
		d.sidecar(leaves(d.Rand, max(0.2, after-3+6*d.Float64())))
		if d.IntN(2) == 0 {
			d.restart()
		}
	}},
	{"probed", 2, func(d draft) { // its main hangs, and the kubelet kills and restarts it
		d.hangOnce()
		d.container(0).LivenessProbe = &corev1.Probe{
			ProbeHandler:        corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-d", "/records/" + d.name + ".well"}}},
			InitialDelaySeconds: 1, PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 10,
		}
	}},
	{"resized", 2, func(d draft) {
		d.resizes = true
		d.hangOnce()
		d.container(0).Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}
		d.container(0).ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
	}},
	{"deleted", 3, func(d draft) {
		d.patient = true
		d.deleteOnce()
		d.spec.PodReplacementPolicy = new(batchv1.Failed)
	}},
	{"replaced", 2, func(d draft) { d.deleteOnce() }}, // a deleted pod counts at once
	{"deadline", 3, func(d draft) { // the pod's own, before or within its stop-delay
		d.job = false
		d.main(interruptible(d.seconds(0.5, 8), 0))
		d.annotate(api.StopDelayAnnotation, "20s")
		d.spec.Template.Spec.ActiveDeadlineSeconds = new(int64(3 + d.IntN(7)))
	}},
	holding,
	{"ignored", 1, func(d draft) { // its failure stops nothing
		d.job, d.leftAlone, d.completions, d.failures = false, true, 0, 1
		d.main(begins + "sleep " + d.seconds(0.5, 8) + "; say " + failed + "; exit 1")
		d.annotate(api.OnFailureAnnotation, string(api.OnFailureIgnore))
	}},
	{"unlabelled", 1, func(d draft) {
		d.job, d.leftAlone = false, true
		delete(d.spec.Template.Labels, api.Label)
	}},
	{"elsewhere", 1, func(d draft) { d.job, d.leftAlone = false, true }},
}

// holding is a Job whose sidecar has what a competing work waits for, and takes
// some seconds to end.
var holding = kind{"holding", 5, func(d draft) {
	d.asks = []corev1.ResourceName{[]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, hostPort}[d.IntN(3)]}
	d.main(succeed(d.seconds(0.5, 5)))
	d.sidecar(flushes(d.seconds(4, 7)))
	d.spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(15))
}}

// competing is a Job without sidecars and without retries that asks for everything
// that one of the kind "holding" can have. There is always one.
var competing = kind{name: "competing", draw: func(d draft) {
	d.leftAlone, d.spec.BackoffLimit = true, new(int32(0))
	d.asks = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, hostPort}
	d.main(succeed(d.seconds(0.5, 2)))
	delete(d.spec.Template.Labels, api.Label)
	d.spec.Template.Spec.Containers = d.spec.Template.Spec.Containers[:1]
}}

// burst is a pod that ends soon. Many of them at a time show a leak.
var burst = kind{name: "burst", draw: func(d draft) {
	d.job = false
	d.main(succeed(d.seconds(0.5, 2)))
	d.sidecar(flushes("0"))
}}

// kindOf returns the kind of work that a name begins with.
func kindOf(name string) string {
	kind, _, _ := strings.Cut(name, "-")
	return kind
}

// competes reports whether the work competes with others.
func (w work) competes() bool { return kindOf(w.name) == competing.name }

// weighed is a deck of all kinds, each as often as it weighs.
func weighed() (deck []kind) {
	for _, k := range kinds {
		deck = append(deck, slices.Repeat([]kind{k}, k.weight)...)
	}
	return deck
}

// newWork draws a work of the kind, for a node with these resources.
func newWork(r *rand.Rand, k kind, number int, node corev1.ResourceList) (work, client.Object) {
	w := work{name: fmt.Sprintf("%s-%d", k.name, number), completions: 1, job: true}
	t := kube.Template(corev1.RestartPolicyNever, new("main"), container("main"), container("sidecar"))
	t.Labels[workLabel] = w.name
	t.Spec.TerminationGracePeriodSeconds = new(int64(5))
	t.Spec.Volumes = []corev1.Volume{{Name: "records", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: recordsFolder, Type: new(corev1.HostPathDirectoryOrCreate)},
	}}}
	j := kube.Job(optedIn, w.name, t)
	d := draft{work: &w, Rand: r, spec: &j.Spec}
	d.main(succeed(d.seconds(0.5, 15)))
	d.sidecar(flushes([]string{"0", "0", d.seconds(0.2, 3)}[d.IntN(3)]))
	k.draw(d)
	d.claim(node)
	switch {
	case w.job:
		return w, j
	case k.name == "elsewhere":
		return w, kube.Pod(elsewhere, w.name, j.Spec.Template)
	}
	return w, kube.Pod(optedIn, w.name, j.Spec.Template)
}

func (d draft) seconds(from, to float64) string {
	return fmt.Sprintf("%.2f", from+d.Float64()*(to-from))
}

func (d draft) container(i int) *corev1.Container { return &d.spec.Template.Spec.Containers[i] }

func (d draft) annotate(key, value string) {
	d.spec.Template.Annotations = map[string]string{key: value}
}

func (d draft) delay() { d.annotate(api.StopDelayAnnotation, fmt.Sprintf("%ds", 2+d.IntN(7))) }

func (d draft) restart() { d.spec.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure }

// claim adds the resource requests of the work: of the node's resources more than
// half, so that two such pods have no room at the same time.
func (d draft) claim(node corev1.ResourceList) {
	holder := d.container(len(d.spec.Template.Spec.Containers) - 1) // the sidecar, if there is one
	for _, name := range d.asks {
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

// The scripts of main write a word at the end, whatever the cause of the end.
const begins = "say " + started + "; "

func succeed(after string) string { return begins + "sleep " + after + "; say " + completed }

// failOnce fails in the work's first run, in any pod.
func (d draft) failOnce() {
	d.failures = 1
	d.main(begins + "sleep " + d.seconds(0.5, 6) + "; if mkdir /records/" + d.name + " 2>/dev/null; then say " + failed + "; exit 1; fi; say " + completed)
}

// hangOnce does nothing in the work's first run, and exits with 0 on SIGTERM.
func (d draft) hangOnce() {
	d.interruptions = 1
	d.restart()
	d.main("if mkdir /records/" + d.name + " 2>/dev/null; then " + onTerm(interrupted, 0) + begins + "sleep 1000000 & wait; fi; " +
		"mkdir -p /records/" + d.name + ".well; " + succeed(d.seconds(0.5, 8)))
}

// deleteOnce is for a Job of which a pod is deleted: while main runs, or between its
// completion and the pod's end.
func (d draft) deleteOnce() {
	after := 0.5 + 6*d.Float64()
	d.deletes = time.Duration((0.2 + d.Float64()*(after+4)) * float64(time.Second))
	d.main(interruptible(fmt.Sprintf("%.2f", after), 143))
	d.sidecar(flushes(d.seconds(0, 3)))
	if d.IntN(2) == 0 {
		d.delay()
	}
}

// interruptible exits with the code if it gets SIGTERM before its work is done.
func interruptible(after string, code int) string {
	return onTerm(interrupted, code) + begins + "sleep " + after + " & wait $!; trap '' TERM; say " + completed
}

// onTerm writes a word and exits. A shell that waits handles the signal at once; one
// that runs a command handles it afterwards.
func onTerm(word string, code int) string {
	return fmt.Sprintf("trap 'say %s; exit %d' TERM; ", word, code)
}

// flushes is a sidecar that never ends by itself, and needs that time after SIGTERM.
func flushes(after string) string {
	return "trap 'say " + terminated + "; sleep " + after + "; say " + ended + "; exit 143' TERM; say " + started + "; sleep 1000000 & wait"
}

// leaves is a sidecar that ends by itself, with any code.
func leaves(r *rand.Rand, after float64) string {
	code := []int{0, 1, 2, 137, 143}[r.IntN(5)]
	return fmt.Sprintf("trap 'say %s; say %s; exit 143' TERM; say %s; sleep %.2f & wait; say %s; exit %d", terminated, ended, started, after, ended, code)
}

func (d draft) main(script string)    { d.run(0, script) }
func (d draft) sidecar(script string) { d.run(1, script) }

// run has a container run a script that can say words: each is one write to the end of
// one file, which so has them in their order. The last field is the time since the
// machine's start.
func (d draft) run(i int, script string) {
	c := d.container(i)
	say := "say() { read up rest </proc/uptime; echo \"" + d.name + " $POD " + c.Name + " $1 $up\" >>/records/" + recordsFile + "; }; "
	c.Command = []string{"sh", "-c", say + script}
}

func container(name string) corev1.Container {
	return corev1.Container{
		Name: name, Image: kube.Image, ImagePullPolicy: corev1.PullIfNotPresent,
		Env:          []corev1.EnvVar{{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.uid"}}}},
		VolumeMounts: []corev1.VolumeMount{{Name: "records", MountPath: "/records"}},
	}
}
