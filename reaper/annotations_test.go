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
		{essential.TrackedAnnotation: "main", helmHook: "test"},
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
	for _, key := range []string{essential.StoppedAnnotation, essential.DueAnnotation} {
		sets.trim(map[string]string{essential.TrackedAnnotation: "main", key: record(succeeded, now)})
		if len(sets.known) != 0 {
			t.Errorf("the time in %s is remembered", key)
		}
	}
	for i := range 10 * maxAnnotationSets {
		sets.trim(map[string]string{essential.TrackedAnnotation: fmt.Sprint(i)})
		if len(sets.known) > maxAnnotationSets {
			t.Fatalf("%d are remembered", len(sets.known))
		}
	}
}
