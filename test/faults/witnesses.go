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
		Code int `json:"code"`
	} `json:"responseStatus"`
	ResponseObject json.RawMessage `json:"responseObject"`
	StageTimestamp time.Time       `json:"stageTimestamp"`
	RequestURI     string          `json:"requestURI"`
}

// readAudit reads the successful writes of our pods from the audit log, from a
// time on. An API server that was killed may have left half a line.
func readAudit(r io.Reader, since time.Time) ([]write, error) {
	var writes []write
	reader := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := reader.ReadBytes('\n')
		if w, ok := parseWrite(text, since); ok {
			writes = append(writes, w)
		}
		switch {
		case errors.Is(err, io.EOF):
			return writes, nil
		case err != nil:
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
	}
}

func parseWrite(text []byte, since time.Time) (write, bool) {
	var e auditEvent
	if json.Unmarshal(text, &e) != nil || e.ObjectRef == nil || e.ResponseStatus == nil || e.StageTimestamp.Before(since) {
		return write{}, false
	}
	ours := e.ObjectRef.Resource == "pods" && (e.ObjectRef.Namespace == optedIn || e.ObjectRef.Namespace == elsewhere)
	if !ours || e.ResponseStatus.Code >= 300 || strings.Contains(e.RequestURI, "dryRun=") {
		return write{}, false
	}
	w := write{at: e.StageTimestamp, by: e.User.Username, verb: e.Verb, subresource: e.ObjectRef.Subresource}
	if json.Unmarshal(e.ResponseObject, &w.pod) != nil || w.pod.UID == "" {
		return write{}, false // the answer is no pod: a binding's
	}
	return w, true
}

// readLines reads the containers' own words.
func readLines(r io.Reader) (lines []line, err error) {
	for text := bufio.NewScanner(r); text.Scan(); {
		fields := strings.Fields(text.Text())
		if len(fields) != 4 {
			return nil, fmt.Errorf("the containers' words: %q is not four of them", text.Text())
		}
		lines = append(lines, line{fields[0], types.UID(fields[1]), fields[2], fields[3]})
	}
	return lines, nil
}

// witnesses are the files in the state folder of the cluster.
type witnesses struct{ state string }

func (w witnesses) auditFile() string   { return filepath.Join(w.state, "logs", "audit.log") }
func (w witnesses) linesFolder() string { return filepath.Join(w.state, recordsFolder) }
func (w witnesses) linesFile() string   { return filepath.Join(w.linesFolder(), recordsFile) }

func (w witnesses) writes(since time.Time) ([]write, error) {
	f, err := os.Open(w.auditFile())
	if err != nil {
		return nil, fmt.Errorf("the cluster has no audit log: %w", err)
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
	return readLines(f)
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
