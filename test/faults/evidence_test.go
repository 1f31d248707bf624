package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// entry is one of the audit log, as the API server writes it.
const entry = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/faults/pods/plain-1-x","verb":"patch","user":{"username":"system:serviceaccount:essential-containers:essential-containers-reaper"},"objectRef":{"resource":"pods","namespace":"faults","name":"plain-1-x","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"responseObject":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"plain-1-x","uid":"u1","annotations":{"essential-containers/stopped":"2026-01-02T03:04:05Z Succeeded: because"}},"status":{"phase":"Running"}},"stageTimestamp":"2026-01-02T03:04:06.000000Z"}`

func TestReadAudit(t *testing.T) {
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(entry) }
	status, noWebhook := []string{`"apiVersion":"v1"}`, `"apiVersion":"v1","subresource":"status"}`}, []string{`"code":200`, `"code":500,"message":"failed calling webhook \"x\""`}
	for sentence, tt := range map[string]struct {
		text          string
		want, refused int
	}{
		"a write":                                      {entry, 1, 0},
		"two of them, and half a line":                 {entry + "\n" + entry + "\n" + entry[:100], 2, 0},
		"half a line, and more after it":               {entry[:100] + "\n" + entry, 1, 0},
		"a write that was refused":                     {change(`"code":200`, `"code":409`), 0, 0},
		"a status that no webhook decided":             {change(append(status, noWebhook...)...), 0, 1},
		"a pod that no webhook has seen":               {change(noWebhook...), 0, 0},
		"a status that was refused for another reason": {change(append(status, `"code":200`, `"code":500,"message":"refused"`)...), 0, 0},
		"a write in another namespace":                 {change(`"namespace":"faults"`, `"namespace":"default"`), 0, 0},
		"one in the namespace that has not opted in":   {change(`"namespace":"faults"`, `"namespace":"faults-elsewhere"`), 1, 0},
		"a write of another resource":                  {change(`"resource":"pods"`, `"resource":"jobs"`), 0, 0},
		"a dry run":                                    {change(`/plain-1-x"`, `/plain-1-x?dryRun=All"`), 0, 0},
		"a write of an earlier run":                    {change("2026-01-02T03:04:06", "2026-01-02T03:04:00"), 0, 0},
		"an answer that is no pod":                     {change(`"uid":"u1"`, `"uid":""`), 0, 0},
		"no entry":                                     {"", 0, 0},
	} {
		var r records
		err := r.readAudit(strings.NewReader(tt.text), start)
		if err != nil || len(r.writes) != tt.want || r.refused != tt.refused {
			t.Errorf("%s: %d writes, %d refused, error %v, want %d and %d", sentence, len(r.writes), r.refused, err, tt.want, tt.refused)
		}
		for _, w := range r.writes {
			if w.by != kube.ReaperUser || w.verb != "patch" || w.subresource != "" || !w.at.Equal(after(1)) || w.pod.UID != "u1" || !essential.IsStopped(&w.pod) {
				t.Errorf("%s: got %+v", sentence, w)
			}
		}
	}
}

func TestReadLines(t *testing.T) {
	got, err := readLines(strings.NewReader("plain-1 u1 main start 12.34\nplain-1 u1 sidecar SIGTERM 20.00\n"), start)
	want := []line{{"plain-1", "u1", "main", started, after(12.34)}, {"plain-1", "u1", "sidecar", terminated, after(20)}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{})); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"plain-1 u1 main start\n", "plain-1 u1 main start soon\n"} {
		if _, err := readLines(strings.NewReader(bad), start); err == nil {
			t.Errorf("%q is read as a line", bad)
		}
	}
}

func TestParseSample(t *testing.T) {
	text := "go_goroutines 41\nprocess_open_fds 12\nprocess_start_time_seconds 1.75e+09\nprocess_resident_memory_bytes 3.1e+07\n" +
		"essential_containers_pods_stopped_total{phase=\"Failed\"} 2\nessential_containers_pods_stopped_total{phase=\"Succeeded\"} 3\n"
	got, err := parseSample("reaper-1", []byte(text))
	want := sample{pod: "reaper-1", born: 1.75e9, goroutines: 41, fds: 12, memory: 3.1e7, stops: 5}
	if got != want || err != nil {
		t.Errorf("got %v, error %v", got, err)
	}
	if _, err := parseSample("reaper-1", []byte("go_goroutines 41\n")); err == nil {
		t.Error("missing metrics are no error")
	}
}

func TestExits(t *testing.T) {
	var r records
	ends := strings.NewReplacer(`"namespace":"faults"`, `"namespace":"essential-containers"`, `"status":{"phase":"Running"}`,
		`"status":{"containerStatuses":[{"state":{"terminated":{"containerID":"b","exitCode":2,"reason":"Error"}},"lastState":{"terminated":{"containerID":"a","exitCode":137,"reason":"OOMKilled"}}}]}`).Replace(entry)
	err := r.readAudit(strings.NewReader(ends), start)
	want := map[string]exit{"a": {"plain-1-x", 137, "OOMKilled"}, "b": {"plain-1-x", 2, "Error"}}
	if diff := cmp.Diff(want, r.exits, cmp.AllowUnexported(exit{})); diff != "" || err != nil || len(r.writes) > 0 {
		t.Errorf("error %v, writes %v, exits (-want +got):\n%s", err, r.writes, diff)
	}
}

func TestFurthest(t *testing.T) {
	steps := []step{{after(10), after(30), time.Minute}, {after(50), after(70), -time.Minute}}
	for sentence, tt := range map[string]struct {
		from, to float64
		want     time.Duration
	}{
		"before all steps":                 {0, 9, 0},
		"between two":                      {31, 49, 0},
		"all within one that is ahead":     {15, 25, time.Minute},
		"into it":                          {0, 15, time.Minute},
		"out of it":                        {25, 45, time.Minute},
		"over it":                          {0, 45, time.Minute},
		"all within one that is behind":    {55, 65, -time.Minute},
		"into it, from the right time":     {45, 65, 0},
		"out of it, to the right time":     {55, 75, 0},
		"just after its start":             {51, 65, 0},
		"from one that is ahead to behind": {25, 65, time.Minute},
	} {
		if got := furthest(steps, after(tt.from), after(tt.to)); got != tt.want {
			t.Errorf("%s: %v, want %v", sentence, got, tt.want)
		}
	}
}
