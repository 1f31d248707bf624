package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// contender is a program that is measured: the reaper, or what it is compared
// with. All run as processes of their own, with the same flags for the
// kubeconfig and for the addresses of /readyz and /metrics.
type contender struct {
	name    string
	program string
	args    []string
}

// process is a contender that runs.
type process struct {
	command         *exec.Cmd
	ended           chan error
	health, metrics string        // addresses
	took            time.Duration // from the start of the process until it was ready
	log             string
}

// The contenders of the reaper are this program, called by these names.
const (
	loopCommand     = "loop"
	informerCommand = "informer"
)

// readyPoll is how often a process is asked whether it is ready: as exactly is
// the time known that its start takes, which is some hundred milliseconds.
const readyPoll = 5 * time.Millisecond

// start runs the contender against the cluster and returns once it is ready.
func (c *cluster) start(ctx context.Context, contender contender) (*process, error) {
	p := &process{ended: make(chan error, 1), log: filepath.Join(c.folder, contender.name+".log")}
	if err := freeAddresses(&p.health, &p.metrics); err != nil {
		return nil, err
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// Not CommandContext: stop decides how it ends.
	p.command = exec.Command(contender.program, append(contender.args,
		"--kubeconfig="+c.kubeconfig(), "--health-probe-bind-address="+p.health, "--metrics-bind-address="+p.metrics)...)
	p.command.Stderr = log
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, p.run(ctx, contender.name)
}

// freeAddresses are free on this machine.
func freeAddresses(addresses ...*string) error {
	return freeBy(func(address string) (net.Listener, error) { return net.Listen("tcp", address) }, addresses...)
}

// freeBy finds addresses at which listen works. They are held together, so that
// they differ.
func freeBy(listen func(address string) (net.Listener, error), addresses ...*string) error {
	for _, address := range addresses {
		listener, err := listen("127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("finding a free address: %w", err)
		}
		defer listener.Close()
		*address = listener.Addr().String()
	}
	return nil
}

// listing bounds how long a list may take: the stock informer's of 300,000 pods
// takes more than a minute.
const listing = 10 * time.Minute

func (p *process) run(ctx context.Context, name string) error {
	started := time.Now()
	if err := p.command.Start(); err != nil {
		return fmt.Errorf("starting the %s: %w", name, err)
	}
	go func() { p.ended <- p.command.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, listing)
	defer cancel()
	for {
		_, err := get(ctx, "http://"+p.health+"/readyz")
		if err == nil {
			p.took = time.Since(started)
			return nil
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return fmt.Errorf("the %s has ended (%w), see %s", name, ended, p.log)
		case <-ctx.Done():
			p.stop()
			return fmt.Errorf("waiting for the %s: %w, see %s", name, err, p.log)
		case <-time.After(readyPoll):
		}
	}
}

// stop ends the process and waits for that: longer than the reaper continues
// sending events.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.ended:
		p.ended <- err
	case <-time.After(15 * time.Second):
		_ = p.command.Process.Kill()
		p.ended <- <-p.ended
	}
}

func get(ctx context.Context, url string) (string, error) {
	return getBy(ctx, http.DefaultClient, url)
}

// getBy returns the body of an answer with 200.
func getBy(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// cpu is the time in seconds that the stopped process has spent on a core.
func (p *process) cpu() float64 {
	return (p.command.ProcessState.UserTime() + p.command.ProcessState.SystemTime()).Seconds()
}
