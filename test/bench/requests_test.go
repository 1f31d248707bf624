package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const metricsBefore = `# HELP apiserver_request_total [STABLE] Counter of apiserver requests
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 3
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 1
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="DELETE",version="v1"} 7
apiserver_request_duration_seconds_count{resource="pods",verb="DELETE"} 99
`

const metricsAfter = `apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 1.3e+01
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="DELETE",version="v1"} 7
apiserver_request_total{code="201",component="apiserver",dry_run="",group="events.k8s.io",resource="events",scope="resource",subresource="",verb="POST",version="v1"} 20
`

func TestRequestsAreCounted(t *testing.T) {
	before, err := parseRequests(metricsBefore)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(requests{"PATCH pods/status": 4, "DELETE pods": 7}, before); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	after, err := parseRequests(metricsAfter)
	if err != nil {
		t.Fatal(err)
	}
	since := after.since(before)
	if diff := cmp.Diff(requests{"PATCH pods/status": 11, "POST events": 20}, since); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}
	f := newRequestFigures()
	f.add(since, requests{"PATCH pods/status": 10, "GET pods": 5}, 10, true)
	f.add(since, requests{}, 10, false)
	for name, c := range map[string]struct {
		figure *figure
		want   round
	}{
		"writes":                 {f.writes, round{1.1, 1}},
		"reads":                  {f.reads, round{0, 0.5}},
		"events of pods of Jobs": {f.events, round{2, 0}},
		"events of other pods":   {f.unowned, round{2, 0}},
	} {
		if got := c.figure.Rounds[0]; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestMetricsWithoutRequestsAreAnError(t *testing.T) {
	if counts, err := parseRequests("go_goroutines 7\n"); err == nil {
		t.Errorf("counted %v", counts)
	}
}
