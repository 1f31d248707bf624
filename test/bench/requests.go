package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// requests are what the API server has been asked, by "VERB resource/subresource",
// as it counts itself. Nobody else patches statuses, deletes single pods, writes
// events or reads pods by name while a burst is measured.
type requests map[string]float64

var (
	requestLine = regexp.MustCompile(`^apiserver_request_total\{(.*)\} ([0-9.e+]+)$`)
	labelPair   = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

func parseRequests(metrics string) (requests, error) {
	counts := requests{}
	for line := range strings.Lines(metrics) {
		match := requestLine.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			continue
		}
		labels := map[string]string{}
		for _, pair := range labelPair.FindAllStringSubmatch(match[1], -1) {
			labels[pair[1]] = pair[2]
		}
		count, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			return nil, fmt.Errorf("reading the API server's metrics: %w", err)
		}
		what := labels["resource"]
		if labels["subresource"] != "" {
			what += "/" + labels["subresource"]
		}
		counts[labels["verb"]+" "+what] += count // of all codes, groups and scopes
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("the API server's metrics do not count requests")
	}
	return counts, nil
}

func (c *cluster) requests(ctx context.Context) (requests, error) {
	body, err := c.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("getting the API server's metrics: %w", err)
	}
	return parseRequests(string(body))
}

// settle waits until no events come any more: they are sent after the writes
// that they tell of.
func (c *cluster) settle(ctx context.Context) error {
	last := -1.0
	for {
		now, err := c.requests(ctx)
		if err != nil {
			return err
		}
		events := now["POST events"] + now["PATCH events"]
		if events == last {
			return nil
		}
		last = events
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (r requests) since(before requests) requests {
	d := requests{}
	for what, count := range r {
		if count -= before[what]; count != 0 {
			d[what] = count
		}
	}
	return d
}

// requestFigures are the requests for each reaped pod.
type requestFigures struct{ writes, events, unowned, reads *figure }

func newRequestFigures() *requestFigures {
	f := func(name string, reach *float64) *figure {
		return &figure{Row: "requests", Name: name, Unit: "per reaped pod", Baseline: "bare client-go loop", Counted: true, Reach: reach}
	}
	return &requestFigures{
		writes:  f("writes of pods", new(2.0)),
		events:  f("writes of events, pods of Jobs", nil),
		unowned: f("writes of events, pods without an owner", new(1.0)),
		reads:   f("reads of single pods and namespaces", new(0.0)),
	}
}

func (f *requestFigures) add(own, base requests, pods int, owned bool) {
	per := float64(pods)
	count := func(to *figure, what ...string) {
		var o, b float64
		for _, w := range what {
			o, b = o+own[w], b+base[w]
		}
		to.add(o/per, b/per)
	}
	events := f.unowned
	if owned {
		events = f.events
	}
	count(events, "POST events", "PATCH events", "PUT events")
	count(f.writes, "PATCH pods/status", "DELETE pods", "PATCH pods")
	count(f.reads, "GET pods", "GET pods/status", "GET namespaces")
}

func (f *requestFigures) figures() []*figure {
	return []*figure{f.writes, f.unowned, f.events, f.reads}
}
