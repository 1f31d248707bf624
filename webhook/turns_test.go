package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/essential-containers/essential-containers/test/manifest"
)

func TestElements(t *testing.T) {
	for text, want := range map[string]int64{
		``:                       0,
		`[]`:                     1,
		`[{},{}]`:                4,
		`{"a":{"b":1}}`:          2,
		`["[a,{b",","]`:          2,
		`["\",",",\\",","]`:      3,
		`["\\\",",1]`:            2,
		`,,,,,,`:                 4, // it stops counting beyond three
		`[[[[[[`:                 4,
		`{}{}{}{`:                4,
		`"never closed,,,,,,,,`:  0,
		`"ends in an escape,,,\`: 0,
	} {
		if got := elements([]byte(text), 3); got != want {
			t.Errorf("%s: %d elements, want %d", text, got, want)
		}
	}
}

func TestElementsOfWhatIsNestedTooDeeply(t *testing.T) {
	for depth, want := range map[int]int64{maxDepth: maxDepth, maxDepth + 1: 1001} {
		for _, brackets := range []string{"[]", "{}"} {
			text := strings.Repeat(brackets[:1], depth) + strings.Repeat(brackets[1:], depth)
			if got := elements([]byte(text), 1000); got != want {
				t.Errorf("%d levels of %s: %d elements, want %d", depth, brackets, got, want)
			}
		}
	}
}

// A slow sender may take its time, but not the room for which another one waits.
func TestASlowSenderGivesWay(t *testing.T) {
	server, _ := serveHandlers(t)
	server.turns.slow = time.Millisecond
	text := aReview(labelled()).body()
	slowly := func() (send func(string), status chan int) {
		reader, writer := io.Pipe()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+PodsPath, reader)
		if err != nil {
			t.Fatal(err)
		}
		request.ContentLength = int64(len(text))
		request.Header.Set("Content-Type", "application/json")
		status = make(chan int, 1)
		go func() {
			response, err := server.Client().Do(request)
			if err != nil {
				status <- 0
				return
			}
			_ = response.Body.Close()
			status <- response.StatusCode
		}()
		return func(part string) { _, _ = fmt.Fprint(writer, part) }, status
	}

	send, status := slowly()
	send(text[:100])
	time.Sleep(10 * server.turns.slow) // no other sender waits, so it has time
	send(text[100:])
	if got := <-status; got != http.StatusOK {
		t.Errorf("the slow sender got %d", got)
	}

	room := server.turns.bodies.ordinary
	others := ordinaryBodies - int64(len(text))
	if !room.TryAcquire(others) {
		t.Fatal("there is not all the room")
	}
	defer room.Release(others)
	send, status = slowly()
	send(text[:100])
	// It is being read: now there is no room for another one.
	if got, text := server.post(t, PodsPath, aReview(labelled())); got != http.StatusOK {
		t.Errorf("while another sender was slow: got %d %s", got, text)
	}
	if got := <-status; got == http.StatusOK {
		t.Error("the slow sender was not given up")
	}
}

// Ordinary reviews do not wait when all the room for large ones is taken.
func TestOrdinaryReviewsDoNotWaitForLargeOnes(t *testing.T) {
	server, _ := serveHandlers(t)
	for name, room := range map[string]*semaphore.Weighted{"bodies": server.turns.bodies.large, "elements": server.turns.decoded.large} {
		if !room.TryAcquire(map[string]int64{"bodies": largeBodies, "elements": largeDecoded}[name]) {
			t.Fatalf("there is not all the room for %s", name)
		}
	}
	if status, text := server.post(t, PodsPath, aReview(labelled())); status != http.StatusOK {
		t.Errorf("got %d %s", status, text)
	}
}

// A review whose turn does not come is refused as busy, and counted as failed.
func TestAReviewWhoseTurnDoesNotComeIsRefused(t *testing.T) {
	large := aReview(labelled().Annotate("note", strings.Repeat("x", ordinaryBody)))
	many := aReview(labelled().Annotate("note", "x").Elements(2 * ordinaryElements))
	for name, tt := range map[string]struct {
		review *reviewBuilder
		room   func(*turns) *semaphore.Weighted
		all    int64
	}{
		"a large body":      {large, func(t *turns) *semaphore.Weighted { return t.bodies.large }, largeBodies},
		"many elements":     {many, func(t *turns) *semaphore.Weighted { return t.decoded.large }, largeDecoded},
		"an ordinary body":  {aReview(manifest.Pod("main").Label("main")), func(t *turns) *semaphore.Weighted { return t.bodies.ordinary }, ordinaryBodies},
		"ordinary elements": {aReview(manifest.Pod("main").Label("main")), func(t *turns) *semaphore.Weighted { return t.decoded.ordinary }, ordinaryDecoded},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := serveHandlers(t)
			server.turns.wait = time.Millisecond
			room := tt.room(server.turns)
			if !room.TryAcquire(tt.all) {
				t.Fatal("there is not all the room")
			}
			if status, text := server.post(t, PodsPath, tt.review); status != http.StatusServiceUnavailable || text != busy.reason+"\n" {
				t.Errorf("got %d %q", status, text)
			}
			if got := server.counts(t)["pods failed"]; got != 1 {
				t.Errorf("%v reviews are counted as failed", got)
			}
			room.Release(tt.all)
			server.turns.wait = maxWait
			if status, text := server.post(t, PodsPath, tt.review); status != http.StatusOK {
				t.Errorf("afterwards: got %d %s", status, text)
			}
		})
	}
}

// Whatever becomes of reviews, what they held is given back.
func TestRoomIsGivenBack(t *testing.T) {
	server, _ := serveHandlers(t)
	good := aReview(labelled()).body()
	large := aReview(labelled().Annotate("note", strings.Repeat("x", ordinaryBody)).Elements(2 * ordinaryElements)).body()
	for _, body := range []string{
		good, large, good[:100], large[:len(large)-1], "[" + strings.Repeat("{},", maxElements+1), strings.Repeat("x", maxObject+1),
	} {
		for range 3 {
			server.send(t, PodsPath, http.MethodPost, "application/json", body)
		}
	}
	cut := func(length int) {
		reader, writer := io.Pipe()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+PodsPath, reader)
		if err != nil {
			t.Fatal(err)
		}
		request.ContentLength = int64(length)
		request.Header.Set("Content-Type", "application/json")
		go func() {
			_, _ = fmt.Fprint(writer, "{")
			_ = writer.CloseWithError(errors.New("the sender breaks off"))
		}()
		if response, err := server.Client().Do(request); err == nil {
			_ = response.Body.Close()
		}
	}
	cut(1000)
	cut(ordinaryBody + 1)
	server.Close() // waits for the handlers
	for name, r := range map[string]struct {
		room *semaphore.Weighted
		all  int64
	}{
		"ordinary bodies": {server.turns.bodies.ordinary, ordinaryBodies}, "large bodies": {server.turns.bodies.large, largeBodies},
		"ordinary elements": {server.turns.decoded.ordinary, ordinaryDecoded}, "large elements": {server.turns.decoded.large, largeDecoded},
	} {
		if !r.room.TryAcquire(r.all) {
			t.Errorf("not all the room for %s was given back", name)
		}
	}
}

// No more than the bound is held at a time, and every review gets its turn.
func TestTurnsBoundWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		held, most := 0, 0
		turns := newTurns()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				release, err := turns.decode(t.Context(), largeDecoded/2)
				if err != nil {
					t.Error(err)
				}
				defer release()
				mu.Lock()
				held++
				most = max(most, held)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				held--
				mu.Unlock()
			})
		}
		all.Wait()
		if most != 2 {
			t.Errorf("%d reviews, each with half of all elements, were held at a time", most)
		}
	})
}
