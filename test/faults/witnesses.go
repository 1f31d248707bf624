package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/essential-containers/essential-containers/test/kube"
)

// auditEvent is what is read of an entry of the audit log (audit.k8s.io/v1).
type auditEvent struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef *struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"responseStatus"`
	ResponseObject json.RawMessage `json:"responseObject"`
	StageTimestamp time.Time       `json:"stageTimestamp"`
	RequestURI     string          `json:"requestURI"`
}

// readAudit reads the successful writes of our pods from the audit log, from a
// time on, and counts those that were refused because no webhook answered. An API
// server that was killed may have left half a line.
func readAudit(r io.Reader, since time.Time) (writes []write, refused int, err error) {
	reader := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := reader.ReadBytes('\n')
		var e auditEvent
		if json.Unmarshal(text, &e) == nil && e.ours() && !e.StageTimestamp.Before(since) {
			if w, ok := e.write(); ok {
				writes = append(writes, w)
			} else if e.refused() {
				refused++
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return writes, refused, nil
		case err != nil:
			return nil, 0, fmt.Errorf("reading the audit log: %w", err)
		}
	}
}

// ours reports whether the event is about a pod of the run.
func (e *auditEvent) ours() bool {
	return e.ObjectRef != nil && e.ResponseStatus != nil && !strings.Contains(e.RequestURI, "dryRun=") &&
		e.ObjectRef.Resource == "pods" && (e.ObjectRef.Namespace == optedIn || e.ObjectRef.Namespace == elsewhere)
}

// refused reports whether no webhook answered about a status: the verdict is late.
func (e *auditEvent) refused() bool {
	return e.ObjectRef.Subresource == "status" && e.ResponseStatus.Code >= 500 && strings.Contains(e.ResponseStatus.Message, "failed calling webhook")
}

func (e *auditEvent) write() (write, bool) {
	w := write{at: e.StageTimestamp, by: e.User.Username, verb: e.Verb, subresource: e.ObjectRef.Subresource}
	if e.ResponseStatus.Code >= 300 || json.Unmarshal(e.ResponseObject, &w.pod) != nil || w.pod.UID == "" {
		return write{}, false // the answer is no pod: a binding's
	}
	return w, true
}

// readLines reads the containers' own words. The time of each is in seconds since
// the machine's start.
func readLines(r io.Reader, boot time.Time) (lines []line, err error) {
	for text := bufio.NewScanner(r); text.Scan(); {
		fields := strings.Fields(text.Text())
		if len(fields) != 5 {
			return nil, fmt.Errorf("the containers' words: %q is not five of them", text.Text())
		}
		uptime, err := time.ParseDuration(fields[4] + "s")
		if err != nil {
			return nil, fmt.Errorf("the containers' words: %q: %w", text.Text(), err)
		}
		lines = append(lines, line{fields[0], types.UID(fields[1]), fields[2], fields[3], boot.Add(uptime)})
	}
	return lines, nil
}

// booted returns when the machine was started.
func booted() (time.Time, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	uptime, err := time.ParseDuration(seconds + "s")
	return time.Now().Add(-uptime), err
}

// witnesses are the files in the state folder of the cluster.
type witnesses struct{ state string }

func (w witnesses) auditFile() string   { return filepath.Join(w.state, "logs", "audit.log") }
func (w witnesses) linesFolder() string { return filepath.Join(w.state, recordsFolder) }
func (w witnesses) linesFile() string   { return filepath.Join(w.linesFolder(), recordsFile) }

func (w witnesses) writes(since time.Time) (writes []write, refused int, err error) {
	f, err := os.Open(w.auditFile())
	if err != nil {
		return nil, 0, fmt.Errorf("the cluster has no audit log: %w", err)
	}
	defer f.Close()
	return readAudit(f, since)
}

func (w witnesses) lines() ([]line, error) {
	f, err := os.Open(w.linesFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	boot, err := booted()
	if err != nil {
		return nil, err
	}
	return readLines(f, boot)
}

// completions counts those that containers have told of so far.
func (w witnesses) completions() int {
	lines, _ := w.lines()
	n := 0
	for _, l := range lines {
		if l.container == "main" && l.word == completed {
			n++
		}
	}
	return n
}

// keep copies what the witnesses saw, and what both programs printed, to a
// folder that outlives the cluster.
func (w witnesses) keep(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	errs := []error{
		copyFile(w.auditFile(), filepath.Join(folder, "audit.log")),
		copyFile(w.linesFile(), filepath.Join(folder, "lines")),
	}
	logs, err := filepath.Glob(filepath.Join(w.state, "var/log/pods", kube.Release+"_*", "*", "*.log*"))
	errs = append(errs, err)
	for _, log := range logs {
		pod := strings.Split(filepath.Base(filepath.Dir(filepath.Dir(log))), "_")[1]
		errs = append(errs, copyFile(log, filepath.Join(folder, pod+"-"+filepath.Base(log))))
	}
	return errors.Join(errs...)
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}
