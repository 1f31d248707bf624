package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/internal/essential"
)

func TestEachStopperHasItsPods(t *testing.T) {
	loop, err := labels.Parse(loopSelector)
	if err != nil {
		t.Fatal(err)
	}
	for by, c := range map[stopper]struct{ labelled, loop, kubelet bool }{
		byReaper:  {labelled: true},
		byLoop:    {labelled: true, loop: true}, // until it is tracked
		byKubelet: {kubelet: true},
		byWebhook: {labelled: true},
	} {
		p := kubeletPod("p", "node", by, "start", time.Second)
		if _, labelled := p.Labels[api.Label]; labelled != c.labelled || essential.IsTracked(p) {
			t.Errorf("%s: labelled %t, want %t; tracked %t before the webhook has been asked", by, labelled, c.labelled, essential.IsTracked(p))
		}
		if got := loop.Matches(labels.Set(p.Labels)); got != c.loop {
			t.Errorf("%s: the loop sees it: %t, want %t", by, got, c.loop)
		}
		if got := len(p.Spec.InitContainers) == 1 && *p.Spec.InitContainers[0].RestartPolicy == corev1.ContainerRestartPolicyAlways; got != c.kubelet {
			t.Errorf("%s: the sidecar is a native one: %t, want %t", by, got, c.kubelet)
		}
		if got := len(p.Spec.InitContainers) + len(p.Spec.Containers); got != 2 {
			t.Errorf("%s: %d containers, want 2", by, got)
		}
	}
}

func TestMainsOfAllStoppersEndTogether(t *testing.T) {
	const acts, together = 3, 2
	play, all := newPlay(7, "node", stoppers, acts, pauses(acts*together))
	if len(play) != acts || len(all) != acts*together*len(stoppers) {
		t.Fatalf("%d acts, %d pods", len(play), len(all))
	}
	names := map[string]bool{}
	for _, p := range all {
		names[p.Name] = true
	}
	if len(names) != len(all) {
		t.Errorf("%d names of %d pods", len(names), len(all))
	}
	// What a main does before it marks its end: its starter and its pause.
	script := func(p *corev1.Pod) string {
		script := p.Spec.Containers[0].Command[2]
		script, _, _ = strings.Cut(script, "echo")
		return script
	}
	different := map[string]bool{}
	for a, act := range play {
		for i := range together {
			want := script(act.pods[byReaper][i])
			different[strings.Fields(want)[4]] = true // the pause
			for _, by := range stoppers {
				if got := script(act.pods[by][i]); got != want || !strings.Contains(got, act.starter) {
					t.Errorf("act %d, pod %d of %s: %q, want %q", a, i, by, got, want)
				}
			}
		}
	}
	if len(different) != acts*together {
		t.Errorf("%d different pauses, want %d: %v", len(different), acts*together, different)
	}
}

func TestPausesMeetEveryPartOfASecond(t *testing.T) {
	const count = 10
	list := pauses(count)
	if slices.IsSorted(list) && slices.IsSorted(pauses(count)) { // by chance: once in ten thousand billion times
		t.Error("the pauses are in order")
	}
	slices.Sort(list)
	for i, pause := range list {
		if from := time.Duration(i) * time.Second / count; pause < from || pause > from+time.Second/count {
			t.Errorf("pause %d is %s", i, pause)
		}
	}
}

func TestElapsed(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for sentence, c := range map[string]struct {
		marks  map[string]time.Time
		took   time.Duration
		marked bool
		fails  bool
	}{
		"nothing has happened":           {},
		"main has ended":                 {marks: map[string]time.Time{mainMark: at}},
		"the sidecar was stopped too":    {marks: map[string]time.Time{mainMark: at, sidecarMark: at.Add(1234 * time.Millisecond)}, took: 1234 * time.Millisecond, marked: true},
		"the sidecar, but not main":      {marks: map[string]time.Time{sidecarMark: at}, fails: true},
		"other pods' marks do not count": {marks: map[string]time.Time{"-2" + mainMark: at, "-2" + sidecarMark: at}},
	} {
		t.Run(sentence, func(t *testing.T) {
			r := records{t.TempDir()}
			for mark, at := range c.marks {
				path := filepath.Join(r.folder, "pod"+mark)
				if err := os.WriteFile(path, []byte("\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, at, at); err != nil {
					t.Fatal(err)
				}
			}
			took, marked, err := r.elapsed("pod")
			if took != c.took || marked != c.marked || (err != nil) != c.fails {
				t.Errorf("%s, %t, %v", took, marked, err)
			}
		})
	}
}

// The containers' scripts, in the shell that their image has.
func TestScripts(t *testing.T) {
	shell, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("there is no busybox here; make setup installs it")
	}
	r, err := newRecords(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.pipe("start"); err != nil {
		t.Fatal(err)
	}
	run := func(script string) *exec.Cmd {
		command := exec.Command(shell, "sh", "-c", script)
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = command.Process.Kill() })
		return command
	}
	main, sidecar := run(mainScript(r.folder, "pod", "start", 5*time.Millisecond)), run(sidecarScript(r.folder, "pod"))

	// Opening fails as long as no process waits at the other end.
	var start *os.File
	eventually(t, "main waits at the pipe", func() bool {
		if _, err := os.Stat(filepath.Join(r.folder, "pod"+mainMark)); err == nil {
			t.Fatal("main did not wait for its start")
		}
		start, err = os.OpenFile(filepath.Join(r.folder, "start"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	defer start.Close()
	if err := main.Wait(); err != nil {
		t.Errorf("main ended with %v", err)
	}
	if _, marked, err := r.elapsed("pod"); marked || err != nil {
		t.Errorf("marked: %t, %v, before the sidecar got SIGTERM", marked, err)
	}

	handled := regexp.MustCompile(`SigCgt:\s+[0-9a-f]*[4-7c-f][0-9a-f]{3}\n`) // SIGTERM, the 15th
	eventually(t, "the sidecar handles SIGTERM", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", sidecar.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return handled.Match(status)
	})
	if err := sidecar.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _ = sidecar.Wait(); sidecar.ProcessState.ExitCode() != 143 {
		t.Errorf("the sidecar ended with %v", sidecar.ProcessState)
	}
	if _, marked, err := r.elapsed("pod"); !marked || err != nil {
		t.Errorf("marked: %t, %v, at the end", marked, err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}
