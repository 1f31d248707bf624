package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/essential-containers/essential-containers/test/kube"
)

// records are all that the judge reads.
type records struct {
	works   []work  // what was created
	writes  []write // of pods, as the API server answered them, in that order
	refused int     // writes of a pod's status, because no webhook answered
	lines   []line  // what the containers wrote, in that order
	jobs    []batchv1.Job
	left    []corev1.Pod // what exists at the end
	steps   []step       // of the reapers' clock
	looks   [][]sample   // at the programs' metrics when no work is left
	exits   map[string]exit
	bad     answers // to bad bodies
	hostile answers // to hostile ones
	probes  probes  // of admission, while hostile bodies were sent
}

// write is a successful write of a pod.
type write struct {
	at          time.Time
	by          string
	verb        string // create, update, patch or delete
	subresource string
	pod         corev1.Pod // as it was afterwards; of a deletion, when it was requested
}

// The words that containers write.
const (
	started     = "start"
	completed   = "completed"   // main: its work is done
	failed      = "failed"      // main: its work has to be repeated
	interrupted = "interrupted" // main: it got SIGTERM before its work was done
	terminated  = "SIGTERM"     // sidecar
	ended       = "ended"       // sidecar: its last word
)

// line is one word of a container.
type line struct {
	work      string
	pod       types.UID
	container string // main or sidecar
	word      string
	at        time.Time
}

// exit is the end of a process of the two programs.
type exit struct {
	pod    string
	code   int32
	reason string
}

// sample is what a process reports in its metrics.
type sample struct {
	pod        string
	born       float64 // when the process started: a killed one has a successor in the same pod
	goroutines float64
	fds        float64
	memory     float64 // resident bytes
	stops      float64 // of pods
}

// readAudit adds the successful writes of the run's pods in the audit log, since a time,
// the ends of the programs' processes, and how many statuses were refused because no
// webhook answered.
func (r *records) readAudit(log io.Reader, since time.Time) error {
	return kube.ReadAudit(log, func(e *auditv1.Event) {
		if e.ObjectRef == nil || e.ResponseStatus == nil || strings.Contains(e.RequestURI, "dryRun=") || e.StageTimestamp.Time.Before(since) || e.ObjectRef.Resource != "pods" {
			return
		}
		w := write{at: e.StageTimestamp.Time, by: e.User.Username, verb: e.Verb, subresource: e.ObjectRef.Subresource}
		ours := e.ObjectRef.Namespace == optedIn || e.ObjectRef.Namespace == elsewhere
		switch {
		case e.ResponseStatus.Code >= 500 && ours && w.subresource == "status" && strings.Contains(e.ResponseStatus.Message, "failed calling webhook"):
			r.refused++
		case e.ResponseStatus.Code >= 300 || e.ResponseObject == nil || json.Unmarshal(e.ResponseObject.Raw, &w.pod) != nil || w.pod.UID == "":
			// The answer is no pod: a binding's.
		case ours:
			r.writes = append(r.writes, w)
		case e.ObjectRef.Namespace == kube.Release:
			r.addExits(&w.pod)
		}
	})
}

// addExits adds those ends of processes that the pod's status has, by container ID.
func (r *records) addExits(pod *corev1.Pod) {
	for _, s := range pod.Status.ContainerStatuses {
		for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
			if t != nil {
				if r.exits == nil {
					r.exits = map[string]exit{}
				}
				r.exits[t.ContainerID] = exit{pod.Name, t.ExitCode, t.Reason}
			}
		}
	}
}

// readLines reads the containers' words, whose times are in seconds since the
// machine's start.
func readLines(r io.Reader, boot time.Time) (lines []line, err error) {
	for text := bufio.NewScanner(r); text.Scan(); {
		var l line
		var seconds float64
		if _, err := fmt.Sscan(text.Text(), &l.work, &l.pod, &l.container, &l.word, &seconds); err != nil {
			return nil, fmt.Errorf("reading the containers' words: %q: %w", text.Text(), err)
		}
		l.at = boot.Add(time.Duration(seconds * float64(time.Second)))
		lines = append(lines, l)
	}
	return lines, nil
}

func (t *trial) auditFile() string   { return filepath.Join(t.State(), "logs", "audit.log") }
func (t *trial) linesFolder() string { return filepath.Join(t.State(), recordsFolder) }

func (t *trial) readLines() ([]line, error) {
	file, err := os.Open(filepath.Join(t.linesFolder(), recordsFile))
	if os.IsNotExist(err) {
		return nil, nil
	}
	clock, read := os.ReadFile("/proc/uptime")
	if err := errors.Join(err, read); err != nil {
		return nil, err
	}
	defer file.Close()
	var uptime float64
	_, err = fmt.Sscan(string(clock), &uptime)
	lines, read := readLines(file, time.Now().Add(-time.Duration(uptime*float64(time.Second))))
	return lines, errors.Join(err, read)
}

// completions counts the mains that have completed so far.
func (t *trial) completions() (n int) {
	lines, _ := t.readLines()
	for _, l := range lines {
		if l.container == "main" && l.word == completed {
			n++
		}
	}
	return n
}

// collect completes the records at the end of the run.
func (t *trial) collect(ctx context.Context, since time.Time) error {
	log, err := os.Open(t.auditFile())
	if err != nil {
		return err
	}
	defer log.Close()
	var read, listed error
	t.lines, read = t.readLines()
	t.jobs, t.left, listed = t.present(ctx)
	return errors.Join(t.readAudit(log, since), read, listed)
}

// keep copies the evidence to a folder that remains when the cluster is gone.
func (t *trial) keep(report string) error {
	errs := []error{os.RemoveAll(t.evidence), os.MkdirAll(t.evidence, 0o755)}
	for to, from := range map[string]string{"cluster": filepath.Dir(t.auditFile()), "containers": t.linesFolder(), "pods": filepath.Join(t.State(), "var/log/pods")} {
		errs = append(errs, os.CopyFS(filepath.Join(t.evidence, to), os.DirFS(from)))
	}
	return errors.Join(append(errs, os.WriteFile(filepath.Join(t.evidence, "report.txt"), []byte(report), 0o644))...)
}

func parseSample(pod string, metrics []byte) (sample, error) {
	s := sample{pod: pod}
	for name, target := range map[string]*float64{
		"process_start_time_seconds":    &s.born,
		"go_goroutines":                 &s.goroutines,
		"process_open_fds":              &s.fds,
		"process_resident_memory_bytes": &s.memory,
	} {
		value, found := kube.Metric(metrics, name)
		if !found {
			return s, fmt.Errorf("%s has no metric %s", pod, name)
		}
		*target = value
	}
	for _, phase := range []corev1.PodPhase{corev1.PodSucceeded, corev1.PodFailed} { // the webhook has none
		stops, _ := kube.Metric(metrics, fmt.Sprintf(`essential_containers_pods_stopped_total{phase="%s"}`, phase))
		s.stops += stops
	}
	return s, nil
}
