package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/essential-containers/essential-containers/internal/essential"
	"github.com/essential-containers/essential-containers/test/kube"
)

// entry is one of the audit log, as the API server writes it.
const entry = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/faults/pods/plain-1-x","verb":"patch","user":{"username":"system:serviceaccount:essential-containers:essential-containers-reaper"},"objectRef":{"resource":"pods","namespace":"faults","name":"plain-1-x","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"responseObject":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"plain-1-x","uid":"u1","annotations":{"essential-containers/stopped":"2026-01-02T03:04:05Z Succeeded: because"}},"status":{"phase":"Running"}},"stageTimestamp":"2026-01-02T03:04:06.000000Z"}`

// withoutWebhook is a status that was refused.
var withoutWebhook = strings.NewReplacer(
	`"apiVersion":"v1"}`, `"apiVersion":"v1","subresource":"status"}`, `"code":200`, `"code":500,"message":"Internal error occurred: failed calling webhook \"x\""`,
).Replace(entry)

func TestReadAudit(t *testing.T) {
	for sentence, tt := range map[string]struct {
		text    string
		want    int
		refused int
	}{
		"a write":                             {text: entry, want: 1},
		"two of them, and half a line":        {text: entry + "\n" + entry + "\n" + entry[:100], want: 2},
		"half a line, and more after it":      {text: entry[:100] + "\n" + entry, want: 1},
		"a write that was refused":            {text: strings.Replace(entry, `"code":200`, `"code":409`, 1)},
		"a status that no webhook decided":    {text: withoutWebhook, refused: 1},
		"a pod that no webhook has seen":      {text: strings.Replace(withoutWebhook, `"subresource":"status"`, `"subresource":""`, 1)},
		"a status that was refused otherwise": {text: strings.Replace(withoutWebhook, "failed calling webhook", "refused", 1)},
		"a write in another namespace":        {text: strings.Replace(entry, `"namespace":"faults"`, `"namespace":"default"`, 1)},
		"one in the namespace that stays out": {text: strings.Replace(entry, `"namespace":"faults"`, `"namespace":"faults-elsewhere"`, 1), want: 1},
		"a write of something else":           {text: strings.Replace(entry, `"resource":"pods"`, `"resource":"jobs"`, 1)},
		"one that is only tried":              {text: strings.Replace(entry, `/plain-1-x"`, `/plain-1-x?dryRun=All"`, 1)},
		"a write of an earlier run":           {text: strings.Replace(entry, "2026-01-02T03:04:06", "2026-01-02T03:04:00", 1)},
		"an answer that is no pod":            {text: strings.Replace(entry, `"uid":"u1"`, `"uid":""`, 1)},
		"no entry":                            {},
	} {
		t.Run(sentence, func(t *testing.T) {
			writes, refused, err := readAudit(strings.NewReader(tt.text), start)
			if err != nil || len(writes) != tt.want || refused != tt.refused {
				t.Fatalf("%d writes, %d refused, error %v, want %d and %d", len(writes), refused, err, tt.want, tt.refused)
			}
			if len(writes) == 0 {
				return
			}
			w := writes[0]
			if w.by != kube.ReaperUser || w.verb != "patch" || w.subresource != "" || !w.at.Equal(start.Add(time.Second)) || w.pod.UID != "u1" || !essential.IsStopped(&w.pod) {
				t.Errorf("got %+v", w)
			}
		})
	}
}

func TestReadLines(t *testing.T) {
	got, err := readLines(strings.NewReader("plain-1 u1 main start 12.34\nplain-1 u1 sidecar SIGTERM 20.00\n"), start)
	want := []line{{"plain-1", "u1", "main", started, start.Add(12340 * time.Millisecond)}, {"plain-1", "u1", "sidecar", terminated, start.Add(20 * time.Second)}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(line{})); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"plain-1 u1 main start\n", "plain-1 u1 main start soon\n"} {
		if _, err := readLines(strings.NewReader(bad), start); err == nil {
			t.Errorf("%q passes for a line", bad)
		}
	}
}

func TestParseSample(t *testing.T) {
	text := "# HELP go_goroutines x\ngo_goroutines 41\nprocess_open_fds 12\nprocess_start_time_seconds 1.75e+09\nprocess_resident_memory_bytes 3.1e+07\n"
	got, err := parseSample("reaper-1", []byte(text))
	want := sample{pod: "reaper-1", born: 1.75e9, goroutines: 41, fds: 12, memory: 3.1e7}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if _, err := parseSample("reaper-1", []byte("go_goroutines 41\n")); err == nil {
		t.Error("missing metrics are no error")
	}
}

// A seed stands for the same works and the same order of faults.
func TestSeed(t *testing.T) {
	draw := func(seed uint64) (works []work, objects []any, order []string) {
		r := rand.New(rand.NewPCG(seed, 1))
		next := shuffled(r, weighed())
		for n := range len(weighed()) {
			w, object := newWork(r, next(), n)
			works, objects = append(works, w), append(objects, object)
		}
		nextFault := shuffled(rand.New(rand.NewPCG(seed, 2)), faults)
		for range 3 * len(faults) {
			order = append(order, nextFault().name)
		}
		return works, objects, order
	}
	works, objects, order := draw(1)
	again, objectsAgain, orderAgain := draw(1)
	if diff := cmp.Diff(works, again, cmp.AllowUnexported(work{})) + cmp.Diff(objects, objectsAgain) + cmp.Diff(order, orderAgain); diff != "" {
		t.Errorf("the same seed gives something else:\n%s", diff)
	}
	other, _, otherOrder := draw(2)
	if cmp.Equal(works, other, cmp.AllowUnexported(work{})) || cmp.Equal(order, otherOrder) {
		t.Error("another seed gives the same")
	}
	seen := map[string]int{}
	for _, name := range order {
		seen[name]++
	}
	for _, f := range faults {
		if seen[f.name] != 3 {
			t.Errorf("%s came %d times in three rounds", f.name, seen[f.name])
		}
	}
	drawn := map[string]bool{}
	for _, w := range works {
		kind, _, _ := strings.Cut(w.name, "-")
		drawn[kind] = true
	}
	for _, k := range kinds {
		if !drawn[k.name] {
			t.Errorf("a deck has no work of kind %s", k.name)
		}
	}
}

func TestNamed(t *testing.T) {
	if all, err := named(""); err != nil || len(all) != len(faults) {
		t.Errorf("no name chooses %d faults, error %v", len(all), err)
	}
	two, err := named("etcd-slow,leader-killed")
	if err != nil || len(two) != 2 || two[0].name != "etcd-slow" || two[1].name != "leader-killed" {
		t.Errorf("got %v, %v", two, err)
	}
	if _, err := named("etdc-slow"); err == nil || !strings.Contains(err.Error(), `no fault "etdc-slow"; the faults are leader-killed, `) {
		t.Errorf("got %v", err)
	}
}
