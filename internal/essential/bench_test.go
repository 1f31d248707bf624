package essential

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/essential-containers/essential-containers/api"
)

// BenchmarkParseLabel measures what admission does with the label: values that name
// containers that exist, and one that needs a suggestion.
func BenchmarkParseLabel(b *testing.B) {
	containers := ContainerNames{Regular: []string{"main", "worker", "proxy", "shipper"}, Init: []string{"migrate"}}
	for name, value := range map[string]string{"one name": "main", "two names": "main_worker", "no such container": "mian"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ParseLabel(LabelPath(nil), value, containers)
			}
		})
	}
}

// BenchmarkPolicies measures what both programs do with the annotations of a pod.
func BenchmarkPolicies(b *testing.B) {
	defaults := DefaultPolicies()
	for name, annotations := range map[string]map[string]string{
		"none": {api.TrackedAnnotation: "main"},
		"all": {
			api.CompletionAnnotation: "All", api.OnFailureAnnotation: "Stop", api.StopDelayAnnotation: "30s", api.RetentionAnnotation: "10m",
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, errs := defaults.Override(nil, annotations); len(errs) > 0 {
					b.Fatal(errs)
				}
			}
		})
	}
}

func TestThatAPodIsTrackedIsFoundWithoutMemory(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Annotations = map[string]string{api.TrackedAnnotation: "main"}
	if allocations := testing.AllocsPerRun(100, func() { IsTracked(pod) }); allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}
