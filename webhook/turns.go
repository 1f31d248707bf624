package webhook

import (
	"context"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// The memory that admission uses at a time is bounded, for all clients together: by
// the bytes of all bodies, and by the elements of all that is decoded.
// An element is a value of the JSON text: of `[{},{},{}]`, three bytes become some
// hundred. Ordinary reviews have bounds of their own, so that none waits for large
// ones.
//
// All together fits into a limit of 128 MiB: an element takes less than 512 bytes on
// average, the growing of its slice included, and what is decoded has each byte of its
// body once or twice more.
const (
	ordinaryBody     = 64 << 10 // of a review; most have 4 to 30 KiB
	ordinaryElements = 8 << 10

	ordinaryBodies  = 8 << 20 // bytes at a time
	largeBodies     = 8 << 20
	ordinaryDecoded = 32 << 10 // elements at a time
	largeDecoded    = maxElements

	// maxElements bounds one review. 3,000 environment variables have less than that,
	// with what the API server records of their managers, in the object and the old
	// object of an update.
	maxElements = 96 << 10

	// maxDepth bounds how deeply a review is nested. A workload's has some 20 levels, and
	// the time to decode grows with the square of their number.
	maxDepth = 64

	// maxWait is for how long a review waits for its turns. The API server gives up
	// after the webhook's timeoutSeconds, 5 s by default.
	maxWait = 5 * time.Second

	// slowBody is after how much time without a whole body its sender is given up, if
	// others wait for the room that the body takes. The API server sends one at once.
	slowBody = 200 * time.Millisecond
)

// turns hand out what admission may hold at a time, in the order of the requests.
type turns struct {
	bodies, decoded struct{ ordinary, large *semaphore.Weighted }
	wait, slow      time.Duration // maxWait and slowBody, but in tests
}

func newTurns() *turns {
	t := turns{wait: maxWait, slow: slowBody}
	t.bodies.ordinary, t.bodies.large = semaphore.NewWeighted(ordinaryBodies), semaphore.NewWeighted(largeBodies)
	t.decoded.ordinary, t.decoded.large = semaphore.NewWeighted(ordinaryDecoded), semaphore.NewWeighted(largeDecoded)
	return &t
}

// read waits for room for the request's body, and reads it. release gives the room
// back.
func (t *turns) read(ctx context.Context, w http.ResponseWriter, r *http.Request) (body []byte, refused *refusal, release func()) {
	room := t.bodies.ordinary
	if r.ContentLength > ordinaryBody {
		room = t.bodies.large
	}
	release, err := take(ctx, room, r.ContentLength)
	if err != nil {
		return nil, busy, release
	}
	body = make([]byte, r.ContentLength)
	done := make(chan struct{})
	defer close(done)
	go t.giveWay(room, http.NewResponseController(w), done)
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return nil, refuse(http.StatusBadRequest, "reading the body: %v", err), release
	}
	return body, nil, release
}

// giveWay ends the reading of a slow sender's body if others wait for room.
func (t *turns) giveWay(room *semaphore.Weighted, connection *http.ResponseController, done <-chan struct{}) {
	tick := time.NewTicker(t.slow)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if !room.TryAcquire(0) { // which fails if others wait
				_ = connection.SetReadDeadline(time.Now())
				return
			}
		}
	}
}

// decode waits for room for so many elements. release gives it back.
func (t *turns) decode(ctx context.Context, elements int64) (release func(), err error) {
	if elements <= ordinaryElements {
		return take(ctx, t.decoded.ordinary, elements)
	}
	return take(ctx, t.decoded.large, elements)
}

func take(ctx context.Context, room *semaphore.Weighted, n int64) (release func(), err error) {
	if err := room.Acquire(ctx, n); err != nil {
		return func() {}, err
	}
	return func() { room.Release(n) }, nil
}

// elements counts the values of a JSON text: each is the first one after a bracket,
// or follows a comma, outside of strings. It stops counting beyond the most, and
// returns more than that for a text that is nested too deeply.
func elements(text []byte, most int64) (n int64) {
	quoted, depth := false, 0
	for i := 0; i < len(text) && n <= most; i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\':
			i++ // outside of a string it is an error, whatever follows
		case quoted:
		case c == ',':
			n++
		case c == '[' || c == '{':
			n++
			if depth++; depth > maxDepth {
				return most + 1
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return n
}
