package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// requests are what the contenders have asked of the API server, by
// "verb resource/subresource", as its audit log has it.
type requests map[string]int

// audit reads the log that the API server keeps by audit.yaml, from where it
// has been read up to.
type audit struct {
	path   string
	offset int64
}

// check fails when the API server keeps no log.
func (a *audit) check() error {
	if _, err := os.Stat(a.path); err != nil {
		return fmt.Errorf("the cluster is not up with --audit=test/bench/audit.yaml: %w", err)
	}
	return nil
}

// next are the requests that have been written down since the last call.
func (a *audit) next() (requests, error) {
	file, err := os.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.NewSectionReader(file, a.offset, 1<<40))
	if err != nil {
		return nil, err
	}
	content = content[:bytes.LastIndexByte(content, '\n')+1] // the rest is being written
	a.offset += int64(len(content))
	return parseAudit(content)
}

func parseAudit(content []byte) (requests, error) {
	counts := requests{}
	for line := range bytes.Lines(content) {
		var event struct {
			Verb      string
			ObjectRef *struct{ Resource, Subresource string }
		}
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		what := event.Verb
		if o := event.ObjectRef; o != nil { // else it asked what the API server can do
			what += " " + o.Resource
			if o.Subresource != "" {
				what += "/" + o.Subresource
			}
		}
		counts[what]++
	}
	return counts, nil
}

// quiet is the time without a request after which all is done: events come after
// the writes that they report, and one that failed is sent again after half a
// second.
const quiet = 600 * time.Millisecond

// settle waits until nothing is asked any more, and returns what was asked since
// the last count.
func (a *audit) settle(ctx context.Context) (requests, error) {
	sum, err := a.next()
	for err == nil {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the last requests: %w", ctx.Err())
		case <-time.After(quiet):
		}
		var more requests
		if more, err = a.next(); len(more) == 0 {
			break
		}
		sum.add(more)
	}
	return sum, err
}

func (r requests) add(more requests) {
	for what, count := range more {
		r[what] += count
	}
}

// count is how often something was asked whose verb and resource match.
func (r requests) count(matches func(verb, resource string) bool) (sum float64) {
	for what, count := range r {
		verb, resource, _ := strings.Cut(what, " ")
		resource, _, _ = strings.Cut(resource, "/")
		if matches(verb, resource) {
			sum += float64(count)
		}
	}
	return sum
}

func isRead(verb, resource string) bool { return verb == "get" && resource != "" }
func isFollow(verb, _ string) bool      { return verb == "list" || verb == "watch" }
func isEvent(_, resource string) bool   { return resource == "events" }

// isWrite holds for what is left: a request of a new kind counts as one.
func isWrite(verb, resource string) bool {
	return resource != "" && !isRead(verb, resource) && !isFollow(verb, resource) && !isEvent(verb, resource)
}

// requests counts what the reaper and the bare loop ask of the API server for each
// pod, and takes the rate of whole lives, verdict included: everything that the
// chart has for the API server is installed.
func (b *bench) requests(ctx context.Context) (figures []*figure, err error) {
	i, err := b.install(ctx)
	if err != nil {
		return nil, err
	}
	defer afterwards(ctx, &err, i.uninstall, b.cluster.clear)
	n := b.sizes.Reaped
	counts := newRequestFigures()
	lives := &figure{Row: "requests", Name: fmt.Sprintf("stopped, decided and deleted, %d at once, the chart installed", n), Unit: "pods/s", Baseline: "bare client-go loop", Higher: true}
	for i := range b.sizes.Rounds {
		for _, owned := range []bool{true, false} {
			own, base, err := b.burstBoth(ctx, i, n, owned, b.cluster.endRunning)
			if err != nil {
				return nil, err
			}
			counts.add(own, base, n, owned)
			if owned {
				lives.add(own.reaped, base.reaped)
			}
		}
	}
	b.say("requests, whole lives/s of reaper and loop: %v", lives.Rounds)
	return append(counts.figures(), lives), nil
}

// requestFigures are the requests for each reaped pod.
type requestFigures struct{ writes, events, unowned, reads, verdicts, follows *figure }

func newRequestFigures() *requestFigures {
	f := func(name string, reach *float64) *figure {
		return &figure{Row: "requests", Name: name, Unit: "per reaped pod", Baseline: "bare client-go loop", Absolute: true, Reach: reach}
	}
	figures := &requestFigures{
		writes:   f("writes of anything but events", new(2.0)),
		events:   f("events, pods of Jobs", new(2.0)), // one about the pod and one about the Job
		unowned:  f("events, pods without an owner", new(1.0)),
		reads:    f("reads of single objects", new(0.0)),
		verdicts: f("verdicts of the webhook", new(1.0)),
		follows:  f("lists and watches", nil),
	}
	figures.follows.Unit = "per process"
	return figures
}

func (f *requestFigures) add(own, base burstResult, pods int, owned bool) {
	per := func(pods int, to *figure, matches func(verb, resource string) bool) {
		to.add(own.requests.count(matches)/float64(pods), base.requests.count(matches)/float64(pods))
	}
	events := f.unowned
	if owned {
		events = f.events
	}
	per(pods, events, isEvent)
	per(pods, f.writes, isWrite)
	per(pods, f.reads, isRead)
	per(1, f.follows, isFollow)
	f.verdicts.add(own.verdicts/float64(pods), base.verdicts/float64(pods))
}

func (f *requestFigures) figures() []*figure {
	return []*figure{f.writes, f.unowned, f.events, f.reads, f.verdicts, f.follows}
}
