package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing/iotest"
	"time"
)

// The failures of one answer.
const (
	none        = "none"
	delayed     = "request delayed"
	late        = "carried out, answered late"
	throttled   = "429"
	broken      = "500"
	unavailable = "503"
	cut         = "carried out, connection cut in the middle of the answer"
	lost        = "carried out, answer lost"
)

// odds are the failures that a request draws from, for each order.
var odds = map[string][]string{
	"slow":    {none, delayed, delayed, late, late},
	"failing": {none, none, none, throttled, broken, unavailable, cut, lost},
}

// longest bounds a delay: the reaper waits 5 s for its Lease.
const longest = 7 * time.Second

// draw draws the failure of one answer, and its delay.
func draw(order string) (failure string, delay time.Duration) {
	from := odds[order]
	if len(from) == 0 {
		return none, 0
	}
	return from[rand.IntN(len(from))], rand.N(longest)
}

// transport lets the API server's answers fail.
type transport struct {
	next   http.RoundTripper
	draw   func() (failure string, delay time.Duration)
	record func(failure string)
}

func (s *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	failure, delay := s.draw()
	if failure == none {
		return s.next.RoundTrip(r)
	}
	s.record(failure)
	switch failure {
	case throttled, broken, unavailable:
		return refusal(r, failure), nil
	case delayed:
		if err := sleep(r.Context(), delay); err != nil {
			return nil, err
		}
	case late, cut, lost:
		if r.URL.Query().Has("watch") { // its answer has no end: the stream breaks off
			ctx, cancel := context.WithCancel(r.Context())
			time.AfterFunc(delay, cancel)
			return s.next.RoundTrip(r.WithContext(ctx))
		}
		return s.carryOut(r, failure, delay)
	}
	return s.next.RoundTrip(r)
}

// carryOut has the API server carry the request out, even if the client gives up,
// before its answer fails.
func (s *transport) carryOut(r *http.Request, failure string, delay time.Duration) (*http.Response, error) {
	response, err := s.next.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	var rest io.Reader = bytes.NewReader(body)
	switch failure {
	case lost:
		return nil, io.ErrUnexpectedEOF
	case cut:
		rest = io.MultiReader(bytes.NewReader(body[:len(body)/2]), iotest.ErrReader(io.ErrUnexpectedEOF))
	case late:
		if err := sleep(r.Context(), delay); err != nil {
			return nil, err
		}
	}
	response.Body = io.NopCloser(rest)
	return response, nil
}

// refusal is an answer to a request that was not sent.
func refusal(r *http.Request, status string) *http.Response {
	code, _ := strconv.Atoi(status)
	answer := respond(r, code, "refused by the order of the run")
	if code == http.StatusTooManyRequests {
		answer.Header.Set("Retry-After", "1")
	}
	return answer
}

func respond(r *http.Request, code int, body string) *http.Response {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return &http.Response{
		Status: strconv.Itoa(code) + " " + http.StatusText(code), StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
