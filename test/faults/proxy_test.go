package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const answer = "an answer of some length"

// through asks an API server by way of a proxy that makes one sort of trouble.
func through(t *testing.T, odds trouble, path string) (code int, header http.Header, body string, carriedOut bool, err error) {
	t.Helper()
	var asked atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(true)
		fmt.Fprint(w, answer)
		if r.URL.Query().Has("watch") {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(target, http.DefaultTransport, []trouble{odds}, rand.New(rand.NewPCG(1, 1)))
	front := httptest.NewUnstartedServer(p)
	front.Config.ConnContext = withConnection
	front.Config.ErrorLog = silent
	front.Start()
	t.Cleanup(front.Close)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, front.URL+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := new(http.Client).Do(request)
	if err != nil {
		return 0, nil, "", asked.Load(), err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if p.count[odds] != 1 {
		t.Errorf("counted %v", p.count)
	}
	return response.StatusCode, response.Header, string(text), asked.Load(), err
}

func TestProxy(t *testing.T) {
	for sentence, tt := range map[string]struct {
		trouble    trouble
		path       string
		code       int  // 0: none
		whole      bool // the answer is
		broken     bool // the connection
		carriedOut bool
	}{
		"no trouble":                              {trouble: none, code: 200, whole: true, carriedOut: true},
		"too many requests":                       {trouble: throttled, code: 429},
		"an internal error":                       {trouble: broken, code: 500},
		"unavailable":                             {trouble: unavailable, code: 503},
		"cut in the middle of the answer":         {trouble: cut, code: 200, broken: true, carriedOut: true},
		"carried out, and the answer is lost":     {trouble: lost, broken: true, carriedOut: true},
		"a watch that is cut":                     {trouble: cut, path: "?watch=true", code: 200, broken: true, carriedOut: true},
		"a watch whose answer is lost is cut too": {trouble: lost, path: "?watch=true", code: 200, broken: true, carriedOut: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			code, header, body, carriedOut, err := through(t, tt.trouble, "/"+tt.path)
			if code != tt.code || (err != nil) != tt.broken || carriedOut != tt.carriedOut || (body == answer) != (tt.whole || tt.path != "") {
				t.Errorf("code %d, error %v, carried out %t, body %q", code, err, carriedOut, body)
			}
			if got := header.Get("Retry-After"); (got != "") != (tt.trouble == throttled) {
				t.Errorf("Retry-After: %q", got)
			}
		})
	}
}

// A request that is held up is carried out after the delay, and not at all if
// its client gives up; one that is answered late has been carried out by then.
func TestProxyDelays(t *testing.T) {
	for sentence, tt := range map[string]struct {
		trouble    trouble
		carriedOut bool // though the client has given up
	}{
		"held up":       {held, false},
		"answered late": {late, true},
	} {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := false
				p := &proxy{odds: []trouble{tt.trouble}, rand: rand.New(rand.NewPCG(1, 1)), count: map[trouble]int{},
					forward: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						wait(r.Context(), time.Second)
						asked = r.Context().Err() == nil
						fmt.Fprint(w, answer)
					})}
				ctx, cancel := context.WithCancel(t.Context())
				served := make(chan string)
				go func() {
					w := httptest.NewRecorder()
					p.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPatch, "/", nil))
					served <- w.Body.String()
				}()
				synctest.Wait()
				cancel()
				if <-served; asked != tt.carriedOut {
					t.Errorf("carried out although the client has given up: %t", asked)
				}
				start := time.Now()
				go func() {
					w := httptest.NewRecorder()
					p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPatch, "/", nil))
					served <- w.Body.String()
				}()
				if got := <-served; got != answer || !asked || time.Since(start) == time.Second {
					t.Errorf("after %v: carried out %t, answer %q", time.Since(start), asked, got)
				}
			})
		})
	}
}

// A seed stands for the same sequence, with all there is in it.
func TestProxyDraws(t *testing.T) {
	for _, odds := range [][]trouble{slow, failing} {
		draw := func(seed uint64) (all string, seen map[trouble]int) {
			p := newProxy(&url.URL{}, nil, odds, rand.New(rand.NewPCG(seed, 0)))
			for range 200 {
				t, delay := p.draw()
				all += fmt.Sprint(t, delay, " ")
			}
			return all, p.count
		}
		first, seen := draw(1)
		if again, _ := draw(1); again != first {
			t.Error("the same seed gives something else")
		}
		if other, _ := draw(2); other == first {
			t.Error("another seed gives the same")
		}
		for _, o := range odds {
			if seen[o] == 0 {
				t.Errorf("200 requests, and none was %s", o)
			}
		}
	}
}
