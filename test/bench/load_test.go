package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheLoadOfTheAPIServer(t *testing.T) {
	const metrics = `# HELP apiserver_admission_webhook_request_total counts
apiserver_admission_webhook_request_total{code="200",name="webhook.bench.essential-containers",operation="CREATE",rejected="false",type="admit"} 3
apiserver_admission_webhook_request_total{code="500",name="webhook.bench.essential-containers",operation="CREATE",rejected="true",type="admit"} 1
apiserver_admission_webhook_request_total{code="200",name="statuses.webhook.essential-containers",operation="UPDATE",rejected="false",type="admit"} 1.2e+01
apiserver_admission_webhook_admission_duration_seconds_count{name="webhook.bench.essential-containers"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1"} 100
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 20
apiserver_request_total{code="409",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="PATCH",version="v1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="log",verb="GET",version="v1"} 9000
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="LIST",version="v1"} 9000
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="nodes",scope="resource",subresource="status",verb="PATCH",version="v1"} 9000
process_cpu_seconds_total 41.5
`
	got, err := parseLoad(metrics)
	if err != nil {
		t.Fatal(err)
	}
	want := load{cpu: 41.5, asked: map[string]float64{webhookHandler.name(): 4, statusesWebhook: 12}, pods: 123}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(load{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := parseLoad(strings.Replace(metrics, "process_", "other_", 1)); err == nil {
		t.Errorf("without the CPU: %v", got)
	}
}
