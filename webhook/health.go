package webhook

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/go-logr/logr"
)

var errShuttingDown = errors.New("shutting down")

// readiness answers /readyz: with 200, or with 503 and one line that says what
// is wrong. It logs when that changes, since a probe's failure shows only the
// status code.
type readiness struct {
	certificate func(*http.Request) error

	mu           sync.Mutex
	shuttingDown bool
	last         string // what was wrong when last asked; empty: nothing, or never asked
}

func (c *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	problem := c.ask(r)
	if problem != "" {
		http.Error(w, "not ready: "+problem, http.StatusServiceUnavailable)
		return
	}
	ok(w, r)
}

func (c *readiness) ask(r *http.Request) (problem string) {
	err := c.certificate(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shuttingDown {
		err = errShuttingDown
	}
	if err != nil {
		problem = err.Error()
	}
	if problem != c.last {
		c.last = problem
		logr.FromContextOrDiscard(r.Context()).Info("Readiness changed", "ready", problem == "", "reason", problem)
	}
	return problem
}

// shutDown makes it fail from now on.
func (c *readiness) shutDown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shuttingDown = true
}

// lastAnswers has each connection end with its next answer once the shutdown has
// begun: API servers keep connections, and a request that one sends at the moment
// at which the server closes them would be lost.
func (c *readiness) lastAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		last := c.shuttingDown
		c.mu.Unlock()
		if last {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ok answers that the process lives.
func ok(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "ok\n")
}
