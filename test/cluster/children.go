//go:build linux

package main

import (
	"context"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	firstPause   = time.Second // before a part that ended is started again; doubles until the part keeps running
	longestPause = 30 * time.Second
)

// supervisor runs the cluster's daemons. Files in the state folder are how it is asked to stop one (control.go): they survive
// whatever happens to the process that asked.
type supervisor struct {
	state string // the state folder

	mu  sync.Mutex
	own map[int]bool // the daemons' pids
}

// keepRunning starts d when it may and can run, and again when it has ended, until ctx ends.
func (s *supervisor) keepRunning(ctx context.Context, d daemon) {
	isStopped := func() bool { return exists(filepath.Join(s.state, stoppedFolder, d.name)) }
	for pause := firstPause; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		if isStopped() || !d.ready() {
			continue
		}
		started := time.Now()
		err := s.run(d)
		log.Printf("%s has ended, error: %v", d.name, err)
		if time.Since(started) > 2*longestPause {
			pause = firstPause // the reason for earlier ends has gone
		}
		for end := time.Now().Add(pause); time.Now().Before(end) && !isStopped(); {
			time.Sleep(50 * time.Millisecond)
		}
		pause = min(2*pause, longestPause)
		if isStopped() {
			pause = firstPause
		}
	}
}

// run runs d until it ends, and sends it the signal that the file in the stopped folder names. The file in the running folder
// exists for as long as the process can, and holds the pid when it does.
func (s *supervisor) run(d daemon) error {
	running, stopped := filepath.Join(s.state, runningFolder, d.name), filepath.Join(s.state, stoppedFolder, d.name)
	if err := os.WriteFile(running, nil, 0o644); err != nil {
		return err
	}
	defer os.Remove(running)
	if exists(stopped) {
		return nil // stop may have looked before the file above existed
	}
	out, err := os.OpenFile(filepath.Join(s.state, "logs", d.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	command := exec.Command(d.argv[0], d.argv[1:]...)
	command.Env, command.Dir, command.Stdout, command.Stderr = environment(), "/", out, out
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.mu.Lock() // waitForOrphans must know the pid before the process can end
	if err := command.Start(); err != nil {
		s.mu.Unlock()
		return err
	}
	pid := command.Process.Pid
	s.own[pid] = true
	s.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	defer func() {
		s.mu.Lock()
		delete(s.own, pid)
		s.mu.Unlock()
	}()
	if err := os.WriteFile(running, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return err
	}
	for sent := syscall.Signal(0); ; {
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Millisecond):
			text, _ := os.ReadFile(stopped) // absent, or not yet written
			if number, _ := strconv.Atoi(string(text)); syscall.Signal(number) != sent {
				sent = syscall.Signal(number)
				_ = command.Process.Signal(sent) // it may have ended
			}
		}
	}
}

// waitForOrphans waits for the children that are no daemons: the first process of a namespace inherits every orphan.
func (s *supervisor) waitForOrphans() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		s.mu.Lock()
		for _, child := range childrenOf("self") {
			if pid, err := strconv.Atoi(child); err == nil && !s.own[pid] {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			}
		}
		s.mu.Unlock()
	}
}

// childrenOf returns the pids of a process's children.
func childrenOf(process string) (pids []string) {
	tasks, _ := filepath.Glob("/proc/" + process + "/task/*/children")
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // a thread may have ended
		pids = append(pids, strings.Fields(string(children))...)
	}
	return pids
}
