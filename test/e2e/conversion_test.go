//go:build e2e

package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// in makes a case of one for both modes.
func in(mode api.Mode, test func(*testing.T, api.Mode)) func(*testing.T) {
	return func(t *testing.T) { test(t, mode) }
}

// newFixtureIn is a fixture that opted in and whose pods ask for the mode. In mode
// Native every pod that it creates has to become what the mode promises, and
// the reaper has nothing to stop.
func newFixtureIn(t *testing.T, mode api.Mode) *fixture {
	t.Helper()
	f := newFixture(t, true)
	f.mode = mode
	if mode == api.ModeNative {
		f.natives = &natives{shapes: map[string]string{}, pods: map[types.UID]*corev1.Pod{}}
		seen := f.watchPods(f.natives.see)
		t.Cleanup(func() {
			<-seen
			f.natives.judge(f)
		})
	}
	return f
}

// watchPods calls see for every version of its pods, until the test is
// over; then the channel is closed.
func (f *fixture) watchPods(see func(*corev1.Pod)) (over chan struct{}) {
	f.Helper()
	watch, err := f.cluster.Watch(f.ctx, &corev1.PodList{}, client.InNamespace(f.namespace))
	f.must(err)
	f.Cleanup(watch.Stop)
	over = make(chan struct{})
	go func() {
		defer close(over)
		for event := range watch.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				see(pod)
			}
		}
	}()
	return over
}

// natives are the pods of a fixture in mode Native.
type natives struct {
	mu     sync.Mutex
	shapes map[string]string         // that the pods of a workload, or a pod, must have, by its name
	pods   map[types.UID]*corev1.Pod // as they were seen last; the mark of a stop is never removed
}

func (n *natives) see(pod *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods[pod.UID] = pod
}

// ask adds the annotation to what is about to be created.
func (n *natives) ask(object client.Object) {
	var template *corev1.PodTemplateSpec
	switch o := object.(type) {
	case *corev1.Pod:
		template = &corev1.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		defer func() { o.Annotations = template.Annotations }()
	case *batchv1.Job:
		template = &o.Spec.Template
	case *batchv1.CronJob:
		template = &o.Spec.JobTemplate.Spec.Template
	default:
		return
	}
	template.Annotations = maps.Clone(template.Annotations) // templates share them
	metav1.SetMetaDataAnnotation(&template.ObjectMeta, api.ModeAnnotation, string(api.ModeNative))
	n.expect(object.GetName(), converted(template))
}

// expect says how the pods of a workload differ from its template.
// The fixture may be in any mode.
func (n *natives) expect(name, shape string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shapes[name] = shape
}

// judge holds what was seen against what was expected.
func (n *natives) judge(f *fixture) {
	found := map[string]bool{}
	for _, pod := range n.pods {
		name := n.ownerOf(pod)
		found[name] = true
		if got, want := shape(&pod.Spec), n.shapes[name]; got != want {
			f.Errorf("the containers of pod %s are %s, want %s", pod.Name, got, want)
		}
		if essential.IsStopped(pod) {
			f.Errorf("the reaper stopped pod %s: %v, %v", pod.Name, pod.Annotations, pod.Status.Conditions)
		}
	}
	for name := range n.shapes {
		if !found[name] {
			f.Errorf("no pod of %s was seen", name)
		}
	}
	var events eventsv1.EventList
	if err := f.cluster.List(context.Background(), &events, client.InNamespace(f.namespace)); err != nil { // its own context is over
		f.Error(err)
	}
	for _, e := range events.Items {
		if strings.Contains(e.Note, "stopping the pod's other containers") {
			f.Errorf("an event reports a stop: %s", e.Note)
		}
	}
}

// ownerOf is the longest name of a workload that the pod's begins with.
func (n *natives) ownerOf(pod *corev1.Pod) (owner string) {
	for name := range n.shapes {
		if len(name) > len(owner) && (pod.Name == name || strings.HasPrefix(pod.Name, name+"-")) {
			owner = name
		}
	}
	return owner
}

// shape lists the init containers, the native ones with a plus sign, and the
// regular containers.
func shape(spec *corev1.PodSpec) string {
	var words []string
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			c.Name += "+"
		}
		words = append(words, c.Name)
	}
	words = append(words, "|")
	for _, c := range spec.Containers {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// converted is the shape of the template's pods in mode Native.
func converted(template *corev1.PodTemplateSpec) string {
	essentials := strings.Split(template.Labels[api.Label], "_")
	var spec corev1.PodSpec
	spec.InitContainers = slices.Clone(template.Spec.InitContainers)
	for _, c := range template.Spec.Containers {
		if slices.Contains(essentials, c.Name) {
			spec.Containers = append(spec.Containers, c)
			continue
		}
		c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		spec.InitContainers = append(spec.InitContainers, c)
	}
	return shape(&spec)
}
