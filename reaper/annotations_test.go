package reaper

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestPodsShareTheirAnnotations(t *testing.T) {
	var sets annotationSets
	tracked := map[string]string{essential.TrackedAnnotation: "main", retentionKey: "10m", "example.com/a": "1"}
	other := maps.Clone(tracked)
	other["example.com/a"] = "2"
	first, second := sets.trim(tracked), sets.trim(other)
	if reflect.ValueOf(first).Pointer() != reflect.ValueOf(second).Pointer() {
		t.Error("two pods with the same annotations have two maps")
	}
	if diff := cmp.Diff(map[string]string{essential.TrackedAnnotation: "main", retentionKey: "10m"}, second); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnnotationsThatDiffer(t *testing.T) {
	var sets annotationSets
	for _, annotations := range []map[string]string{
		{essential.TrackedAnnotation: "main"},
		{essential.TrackedAnnotation: "main", retentionKey: "10m"},
		{essential.TrackedAnnotation: "main", retentionKey: "10"},
		{essential.TrackedAnnotation: "main", retentionKey: ""},
		{essential.TrackedAnnotation: "main" + retentionKey + "10m"},
		{essential.TrackedAnnotation: "main\x00" + retentionKey + "\x0010m"},
		{corev1.MirrorPodAnnotationKey: "main"},
		{essential.Label + "/": "main"},
	} {
		for range 2 { // the second time, it is known
			if diff := cmp.Diff(annotations, sets.trim(annotations)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	}
	if sets.trim(map[string]string{"example.com/a": "1", essential.Label: "main"}) != nil {
		t.Error("others are kept")
	}
}

func TestAnnotationSetsAreBounded(t *testing.T) {
	var sets annotationSets
	sets.trim(map[string]string{essential.TrackedAnnotation: "main", essential.StoppedAnnotation: "2030-01-02T03:04:05Z"})
	if len(sets.known) != 0 {
		t.Error("the time of a stop is remembered")
	}
	for i := range 10 * maxAnnotationSets {
		sets.trim(map[string]string{essential.TrackedAnnotation: fmt.Sprint(i)})
		if len(sets.known) > maxAnnotationSets {
			t.Fatalf("%d are remembered", len(sets.known))
		}
	}
}
