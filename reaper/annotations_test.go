package reaper

import (
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/essential-containers/essential-containers/api"
)

func TestPodsShareTheirAnnotations(t *testing.T) {
	var sets annotationSets
	tracked := map[string]string{api.TrackedAnnotation: "main", retentionKey: "10m", "example.com/a": "1"}
	other := maps.Clone(tracked)
	other["example.com/a"] = "2"
	first, second := sets.trim(tracked), sets.trim(other)
	if reflect.ValueOf(first).Pointer() != reflect.ValueOf(second).Pointer() {
		t.Error("two pods with the same annotations have two maps")
	}
	if diff := cmp.Diff(map[string]string{api.TrackedAnnotation: "main", retentionKey: "10m"}, second); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnnotationsThatDiffer(t *testing.T) {
	var sets annotationSets
	for _, annotations := range []map[string]string{
		{api.TrackedAnnotation: "main"},
		{api.TrackedAnnotation: "main", retentionKey: "10m"},
		{api.TrackedAnnotation: "main", retentionKey: "10"},
		{api.TrackedAnnotation: "main", retentionKey: ""},
		{api.TrackedAnnotation: "main" + retentionKey + "10m"},
		{api.TrackedAnnotation: "main\x00" + retentionKey + "\x0010m"},
		{corev1.MirrorPodAnnotationKey: "main"},
		{api.TrackedAnnotation: "main", corev1.MirrorPodAnnotationKey: "main"},
		{api.TrackedAnnotation: "main", helmHook: "test"},
	} {
		for range 2 { // the second time, it is known
			if diff := cmp.Diff(annotations, sets.trim(annotations)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
	for _, others := range []map[string]string{
		{"example.com/a": "1", api.Label: "main"}, {api.AnnotationPrefix + "other": "1"}, {retentionKey: "10m", helmHook: "test"},
	} {
		if got := sets.trim(others); got != nil {
			t.Errorf("%v of a pod that is not tracked is kept", got)
		}
		others[api.TrackedAnnotation] = "main"
		delete(others, retentionKey)
		delete(others, helmHook)
		if got := sets.trim(others); len(got) != 1 {
			t.Errorf("%v is kept", got)
		}
	}
}

// However much a user writes into how many pods, one after the other, hardly
// anything remains when they are gone.
func TestNothingLongOutlivesItsPod(t *testing.T) {
	var trimmer trimmer
	long := strings.Repeat("x", 240<<10)
	before := heap()
	for i := range 2 * maxAnnotationSets {
		pod := aPod().annotated(retentionKey, fmt.Sprint(i, long)).annotated(api.AnnotationPrefix+"other", fmt.Sprint(i, long)).Pod
		if i%2 == 0 {
			delete(pod.Annotations, api.TrackedAnnotation)
		}
		pod.OwnerReferences = []metav1.OwnerReference{{Name: fmt.Sprint(i, long), Controller: new(true)}}
		trimmed, err := trimmer.pod(pod)
		if err != nil {
			t.Fatal(err)
		}
		if got := trimmed.(*corev1.Pod); len(got.Annotations[retentionKey]) > maxText || len(got.OwnerReferences) > 0 {
			t.Fatalf("kept are %d bytes and %d owners", len(got.Annotations[retentionKey]), len(got.OwnerReferences))
		}
	}
	if grown := heap() - before; grown > 64<<10 {
		t.Errorf("%d bytes are kept of pods that are gone", grown)
	}
	runtime.KeepAlive(&trimmer)
}

func TestAnnotationSetsAreBounded(t *testing.T) {
	var sets annotationSets
	for _, key := range []string{api.StoppedAnnotation, api.DueAnnotation} {
		sets.trim(map[string]string{api.TrackedAnnotation: "main", key: record(succeeded, now)})
		if len(sets.known) != 0 {
			t.Errorf("the time in %s is remembered", key)
		}
	}
	for i := range 10 * maxAnnotationSets {
		sets.trim(map[string]string{api.TrackedAnnotation: fmt.Sprint(i)})
		if len(sets.known) > maxAnnotationSets {
			t.Fatalf("%d are remembered", len(sets.known))
		}
	}
}
