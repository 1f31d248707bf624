package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// server is an API server whose answers take a second each; a watch does not end.
type server struct{ carriedOut int }

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := sleep(r.Context(), time.Second); err != nil {
		return nil, err
	}
	s.carriedOut++
	if r.URL.Query().Has("watch") {
		body, stream := io.Pipe()
		context.AfterFunc(r.Context(), func() { stream.CloseWithError(r.Context().Err()) })
		return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
	}
	return respond(r, http.StatusOK, "an answer"), nil
}

func TestTransport(t *testing.T) {
	for sentence, tt := range map[string]struct {
		failure, path string
		giveUp        bool // the client does, before the server answers
		want          string
	}{
		"none":                                   {failure: none, want: "200 an answer after 1s, carried out 1"},
		"429":                                    {failure: throttled, want: "429 refused by the order of the run after 0s, carried out 0, retry after 1"},
		"500":                                    {failure: broken, want: "500 refused by the order of the run after 0s, carried out 0"},
		"503":                                    {failure: unavailable, want: "503 refused by the order of the run after 0s, carried out 0"},
		"cut":                                    {failure: cut, want: "200 an a, unexpected EOF after 1s, carried out 1"},
		"lost":                                   {failure: lost, want: "unexpected EOF after 1s, carried out 1"},
		"delayed":                                {failure: delayed, want: "200 an answer after 4s, carried out 1"},
		"late":                                   {failure: late, want: "200 an answer after 4s, carried out 1"},
		"delayed, and the client gives up":       {failure: delayed, giveUp: true, want: "context deadline exceeded after 500ms, carried out 0"},
		"late, and the client gives up":          {failure: late, giveUp: true, want: "context deadline exceeded after 1s, carried out 1"},
		"a watch is cut":                         {failure: cut, path: "?watch=true", want: "200 , context canceled after 3s, carried out 1"},
		"a watch is cut where an answer is lost": {failure: lost, path: "?watch=true", want: "200 , context canceled after 3s, carried out 1"},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, recorded := &server{}, ""
				transport := &transport{next: s, record: func(f string) { recorded = f }, draw: func() (string, time.Duration) { return tt.failure, 3 * time.Second }}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.giveUp {
					ctx, cancel = context.WithTimeout(ctx, time.Second/2)
					defer cancel()
				}
				begin := time.Now()
				response, err := transport.RoundTrip(httptest.NewRequestWithContext(ctx, http.MethodPatch, "/"+tt.path, nil))
				got := []string{}
				if err == nil {
					body, read := io.ReadAll(response.Body)
					err = errors.Join(read, response.Body.Close())
					got = append(got, fmt.Sprintf("%d %s", response.StatusCode, body))
				}
				if err != nil {
					got = append(got, err.Error())
				}
				text := fmt.Sprintf("%s after %v, carried out %d", strings.Join(got, ", "), time.Since(begin), s.carriedOut)
				if response != nil && response.Header.Get("Retry-After") != "" {
					text += ", retry after " + response.Header.Get("Retry-After")
				}
				if text != tt.want || (recorded == "") != (tt.failure == none) || recorded != "" && recorded != tt.failure {
					t.Errorf("%s, recorded %q, want %s", text, recorded, tt.want)
				}
			})
		})
	}
}

// Both orders draw each of their failures; without an order nothing is drawn.
func TestDraw(t *testing.T) {
	for order, failures := range odds {
		seen := map[string]bool{}
		for range 500 {
			failure, delay := draw(order)
			if seen[failure] = true; delay >= longest {
				t.Errorf("%s: a delay of %v", order, delay)
			}
		}
		for _, f := range failures {
			if !seen[f] {
				t.Errorf("%s: 500 requests, and none was %s", order, f)
			}
		}
	}
	if failure, _ := draw(""); failure != none {
		t.Errorf("without an order, %s", failure)
	}
}
