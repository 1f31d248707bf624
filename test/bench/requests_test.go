package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// auditLines are as the API server writes them, shortened.
const auditLines = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/bench/pods/a","verb":"patch","objectRef":{"resource":"pods","namespace":"bench","name":"a","apiVersion":"v1"},"responseStatus":{"code":200}}
{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/bench/pods/a/status","verb":"patch","objectRef":{"resource":"pods","name":"a","subresource":"status"},"responseStatus":{"code":409}}
{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/bench/pods/a","verb":"delete","objectRef":{"resource":"pods","name":"a"}}
{"stage":"ResponseComplete","requestURI":"/apis/events.k8s.io/v1/namespaces/bench/events","verb":"create","objectRef":{"resource":"events","apiGroup":"events.k8s.io"}}
{"stage":"ResponseComplete","requestURI":"/api/v1/namespaces/bench/pods/a","verb":"get","objectRef":{"resource":"pods","name":"a"}}
{"stage":"ResponseComplete","requestURI":"/api/v1/pods?watch=true","verb":"watch","objectRef":{"resource":"pods"}}
{"stage":"ResponseComplete","requestURI":"/apis","verb":"get"}
`

var auditCounts = requests{"patch pods": 1, "patch pods/status": 1, "delete pods": 1, "create events": 1, "get pods": 1, "watch pods": 1, "get": 1}

func TestTheAuditLogIsReadOnceAndByLines(t *testing.T) {
	a := audit{path: filepath.Join(t.TempDir(), "audit.log")}
	if err := a.check(); err == nil || !strings.Contains(err.Error(), "--audit=") {
		t.Errorf("without a log: %v", err)
	}
	half := len(auditLines) / 2
	got := requests{}
	for _, part := range []string{auditLines[:half], auditLines[half:], ""} {
		file, err := os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(part); err != nil {
			t.Fatal(err)
		}
		file.Close()
		next, err := a.next()
		if err != nil {
			t.Fatal(err)
		}
		got.add(next)
	}
	if diff := cmp.Diff(auditCounts, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := parseAudit([]byte("no JSON\n")); err == nil {
		t.Errorf("counted %v", got)
	}
}

func TestRequestsPerPod(t *testing.T) {
	f := newRequestFigures()
	f.add(burstResult{requests: auditCounts, verdicts: 2},
		burstResult{requests: requests{"patch pods": 1, "delete pods": 1, "list pods": 1}, verdicts: 3}, 2, true)
	f.add(burstResult{requests: requests{"create events": 6, "get": 9, "patch leases": 2}},
		burstResult{requests: requests{"get namespaces": 1}}, 2, false)
	for name, c := range map[string]struct {
		figure *figure
		want   []round
	}{
		"writes, whatever is written":      {f.writes, []round{{Own: 1.5, Base: 1}, {Own: 1, Base: 0}}},
		"reads, but not of what there is":  {f.reads, []round{{Own: 0.5, Base: 0}, {Own: 0, Base: 0.5}}},
		"events of pods of Jobs":           {f.events, []round{{Own: 0.5, Base: 0}}},
		"events of other pods":             {f.unowned, []round{{Own: 3, Base: 0}}},
		"verdicts":                         {f.verdicts, []round{{Own: 1, Base: 1.5}, {Own: 0, Base: 0}}},
		"lists and watches, not for a pod": {f.follows, []round{{Own: 1, Base: 1}, {Own: 0, Base: 0}}},
	} {
		if diff := cmp.Diff(c.want, c.figure.Rounds); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
