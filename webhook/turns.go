package webhook

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"
)

// What admission holds in memory at a time is bounded, whoever asks, and however
// often: by the bytes of all bodies, and by the elements of all that is decoded.
// An element is what a comma separates: of `[{},{},{}]`, three bytes become some
// hundred. Ordinary reviews have bounds of their own, so that none waits for large
// ones.
//
// All together fits into a limit of 128 MiB: an element takes less than 1 KiB, the
// growing of its slice included, and what is decoded has each byte of its body once
// or twice more.
const (
	ordinaryBody     = 64 << 10 // of a review; most have 4 to 30 KiB
	ordinaryElements = 4 << 10

	ordinaryBodies  = 8 << 20 // bytes at a time
	largeBodies     = 8 << 20
	ordinaryDecoded = 16 << 10 // elements at a time
	largeDecoded    = maxElements

	// maxElements bounds one review. 3,000 environment variables have half of that,
	// with what the API server records of their managers, in the object and the old
	// object of an update.
	maxElements = 48 << 10

	// maxWait is for how long a review waits for its turn. The API server gives up
	// after the webhook's timeoutSeconds, 5 s by default.
	maxWait = 5 * time.Second
)

// turns hand out what admission may hold at a time, in the order of the requests.
type turns struct {
	bodies, decoded struct{ ordinary, large *semaphore.Weighted }
	wait            time.Duration // for one turn, at most
}

func newTurns() *turns {
	t := turns{wait: maxWait}
	t.bodies.ordinary, t.bodies.large = semaphore.NewWeighted(ordinaryBodies), semaphore.NewWeighted(largeBodies)
	t.decoded.ordinary, t.decoded.large = semaphore.NewWeighted(ordinaryDecoded), semaphore.NewWeighted(largeDecoded)
	return &t
}

// body waits for room for a body of so many bytes. release gives it back.
func (t *turns) body(ctx context.Context, bytes int64) (release func(), err error) {
	if bytes <= ordinaryBody {
		return t.take(ctx, t.bodies.ordinary, bytes)
	}
	return t.take(ctx, t.bodies.large, bytes)
}

// decode waits for room for so many elements. release gives it back.
func (t *turns) decode(ctx context.Context, elements int64) (release func(), err error) {
	if elements <= ordinaryElements {
		return t.take(ctx, t.decoded.ordinary, elements)
	}
	return t.take(ctx, t.decoded.large, elements)
}

func (t *turns) take(ctx context.Context, room *semaphore.Weighted, n int64) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, t.wait)
	defer cancel()
	if err := room.Acquire(ctx, n); err != nil {
		return func() {}, err
	}
	return func() { room.Release(n) }, nil
}

// elements counts the commas of a JSON text that are outside of its strings. Beyond
// the most it stops counting.
func elements(text []byte, most int64) (n int64) {
	quoted := false
	for i := 0; i < len(text) && n <= most; i++ {
		switch text[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++ // outside of a string it is an error, whatever follows
		case ',':
			if !quoted {
				n++
			}
		}
	}
	return n
}
