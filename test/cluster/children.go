//go:build linux

package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	firstPause   = time.Second // before a part that ended is started again; doubles while it does not stay up
	longestPause = 30 * time.Second
)

// children are the processes below the supervisor. As the first process of its
// namespace it also inherits every orphan, so one loop waits for all.
type children struct {
	logs     string        // folder for what they print
	patience time.Duration // how long a stop or start may take
	daemons  []*child

	mu      sync.Mutex
	running map[int]*child // by pid
}

// child is a daemon and how it stands.
type child struct {
	daemon
	ended chan syscall.WaitStatus // gets the end of each of its processes

	// Guarded by the mutex of children.
	pid       int           // 0 while it does not run
	since     time.Time     // when it last started
	stopped   bool          // it runs again only when it is told to
	notBefore time.Time     // do not spin on one that cannot run
	pause     time.Duration // the next one
}

func newChildren(logs string, patience time.Duration, daemons []daemon) *children {
	c := &children{logs: logs, patience: patience, running: map[int]*child{}}
	for _, d := range daemons {
		c.daemons = append(c.daemons, &child{daemon: d, ended: make(chan syscall.WaitStatus, 1), pause: firstPause})
	}
	return c
}

// keepAllRunning does not return.
func (c *children) keepAllRunning() {
	for _, d := range c.daemons {
		go c.keepRunning(d)
	}
	c.reap()
}

// keepRunning starts d when it may and can run, and again whenever it ends.
func (c *children) keepRunning(d *child) {
	for {
		_ = poll(context.Background(), 50*time.Millisecond, func() (bool, error) {
			return c.due(d) && (d.after == nil || d.after()), nil
		})
		if err := c.run(d); err != nil {
			log.Printf("starting %s: %v", d.name, err)
			c.mu.Lock()
			d.holdOff()
			c.mu.Unlock()
		}
	}
}

func (c *children) due(d *child) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !d.stopped && !time.Now().Before(d.notBefore)
}

func (d *child) holdOff() {
	d.notBefore = time.Now().Add(d.pause)
	d.pause = min(2*d.pause, longestPause)
}

// run starts d, unless it was stopped meanwhile, and returns when it has ended.
func (c *children) run(d *child) error {
	path, err := exec.LookPath(d.argv[0])
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(c.logs, d.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	c.mu.Lock() // reap must not see the child before it is in the map
	if d.stopped {
		c.mu.Unlock()
		return nil
	}
	process, err := os.StartProcess(path, d.argv, &os.ProcAttr{Files: []*os.File{nil, out, out}, Env: environment(), Dir: "/", Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		c.mu.Unlock()
		return err
	}
	d.pid, d.since = process.Pid, time.Now()
	c.running[d.pid] = d
	c.mu.Unlock()
	status := <-d.ended
	log.Printf("%s ended with status %d, signal %q", d.name, status.ExitStatus(), status.Signal())
	return nil
}

func (c *children) reap() {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGCHLD)
	for range changed {
		for {
			c.mu.Lock()
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if err != nil || pid <= 0 {
				c.mu.Unlock()
				break
			}
			if d, ok := c.running[pid]; ok {
				delete(c.running, pid)
				d.pid = 0
				if time.Since(d.since) > 2*longestPause {
					d.pause = firstPause // what it died of before is over
				}
				d.holdOff()
				d.ended <- status
			}
			c.mu.Unlock()
		}
	}
}

// stop ends the process of a daemon and returns when it has ended. The daemon
// stays stopped, whatever comes of that, until start. What the process has
// started itself, such as containers, runs on.
func (c *children) stop(name string, sig syscall.Signal) error {
	d, err := c.find(name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	d.stopped = true
	pid := d.pid
	if pid != 0 { // it is not reaped yet: the pid is nobody else's
		err = syscall.Kill(pid, sig)
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("ending %s: %w", name, err)
	}
	if !c.await(func() bool { return pid == 0 || d.pid != pid }) {
		return fmt.Errorf("%s has not ended %v after the signal %q (--kill sends SIGKILL)", name, c.patience, sig)
	}
	return nil
}

// start lets a daemon run again and returns when it has been started.
func (c *children) start(name string) error {
	d, err := c.find(name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	d.stopped, d.notBefore, d.pause = false, time.Time{}, firstPause
	c.mu.Unlock()
	if !c.await(func() bool { return d.pid != 0 }) {
		return fmt.Errorf("%s could not start within %v; it does as soon as the parts that it needs are there", name, c.patience)
	}
	return nil
}

// await waits until done, which may look at every child, or for too long.
func (c *children) await(done func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	return poll(ctx, 10*time.Millisecond, func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return done(), nil
	}) == nil
}

func (c *children) find(name string) (*child, error) {
	var names []string
	for _, d := range c.daemons {
		if d.name == name {
			return d, nil
		}
		names = append(names, d.name)
	}
	return nil, fmt.Errorf("no part %q; the parts are %s", name, strings.Join(names, ", "))
}

// stopped are the names of those that do not run until they are told to, in
// the order in which they can be started.
func (c *children) stopped() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.daemons {
		if d.stopped {
			names = append(names, d.name)
		}
	}
	return names
}
