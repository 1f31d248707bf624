package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestEverySeriesIsThereFromTheStartAndExplained(t *testing.T) {
	registry := prometheus.NewRegistry()
	NewHandlers(registry, essential.DefaultPolicies())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			series := family.GetName()
			for _, label := range metric.GetLabel() {
				series += " " + label.GetValue()
				if !strings.Contains(family.GetHelp(), label.GetValue()) {
					t.Errorf("the help of %s does not explain %s=%q", family.GetName(), label.GetName(), label.GetValue())
				}
			}
			got[series] = metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"essential_containers_admission_requests_total pods tracked":          0,
		"essential_containers_admission_requests_total pods native":           0,
		"essential_containers_admission_requests_total pods fallback":         0,
		"essential_containers_admission_requests_total pods untracked":        0,
		"essential_containers_admission_requests_total pods denied":           0,
		"essential_containers_admission_requests_total pods malformed":        0,
		"essential_containers_admission_requests_total pods failed":           0,
		"essential_containers_admission_requests_total pods/status succeeded": 0,
		"essential_containers_admission_requests_total pods/status denied":    0,
		"essential_containers_admission_requests_total pods/status explained": 0,
		"essential_containers_admission_requests_total pods/status kept":      0,
		"essential_containers_admission_requests_total pods/status unchanged": 0,
		"essential_containers_admission_requests_total pods/status malformed": 0,
		"essential_containers_admission_requests_total pods/status failed":    0,
		"essential_containers_admission_requests_total workloads allowed":     0,
		"essential_containers_admission_requests_total workloads denied":      0,
		"essential_containers_admission_requests_total workloads malformed":   0,
		"essential_containers_admission_requests_total workloads failed":      0,
		"essential_containers_admission_duration_seconds pods":                0,
		"essential_containers_admission_duration_seconds pods/status":         0,
		"essential_containers_admission_duration_seconds workloads":           0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}
