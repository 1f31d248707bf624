package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// What admission holds in memory at a time is bounded, whoever asks, and however
// often: by the bytes of all bodies, and by the elements of all that is decoded.
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
	crowded := func() bool { return !room.TryAcquire(0) } // which fails if others wait
	if err := t.readFull(w, r.Body, body, crowded); err != nil {
		return nil, refuse(http.StatusBadRequest, "reading the body: %v", err), release
	}
	return body, nil, release
}

// readFull reads the whole body, for as long as a request may take. When it is
// crowded, a slow sender is given up, and its connection ends.
func (t *turns) readFull(w http.ResponseWriter, from io.Reader, body []byte, crowded func() bool) error {
	connection := http.NewResponseController(w)
	last := time.Now().Add(requestTimeout)
	for n := 0; ; {
		_ = connection.SetReadDeadline(time.Now().Add(t.slow))
		read, err := io.ReadFull(from, body[n:])
		n += read
		var problem net.Error
		switch {
		case err == nil:
			_ = connection.SetReadDeadline(last)
			return nil
		case !errors.As(err, &problem) || !problem.Timeout() || crowded() || time.Now().After(last):
			return err
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

// elements counts the values of a JSON text: each is the first one behind a bracket,
// or follows a comma, outside of strings. Beyond the most it stops counting.
func elements(text []byte, most int64) (n int64) {
	quoted := false
	for i := 0; i < len(text) && n <= most; i++ {
		switch text[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++ // outside of a string it is an error, whatever follows
		case ',', '[', '{':
			if !quoted {
				n++
			}
		}
	}
	return n
}
