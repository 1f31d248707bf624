// Command reaper is the reaper, under the orders of `make faults`: they move its
// clock, let the API server's answers fail, or break the program on purpose. Both
// replicas run it in place of the image's own program.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/reaper"
)

func main() {
	options := reaper.Options{Clock: clock{}}
	command.Main("faults", command.New("reaper", "The reaper, under the orders of a run of faults.", &options, func(ctx context.Context) error {
		restConfig, err := config.GetConfig()
		if err != nil {
			return err
		}
		clientset, err := kubernetes.NewForConfig(restConfig)
		if err != nil {
			return err
		}
		go stopTooEarly(ctx, clientset)
		b := &breaker{seen: map[string]bool{}}
		restConfig.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return &transport{
				next:   roundTripper(func(r *http.Request) (*http.Response, error) { return b.roundTrip(next, r) }),
				draw:   func() (string, time.Duration) { return draw(ordered("answers")) },
				record: record,
			}
		})
		return reaper.Run(ctx, restConfig, options)
	}))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// ordered reads an order each time. Without it the run would prove nothing, so the
// process ends with a panic, which the judge finds.
func ordered(name string) string { return string(must(os.ReadFile("/orders/" + name))) }

// record adds a line to a file, which remains when the reaper is killed.
func record(failure string) {
	f := must(os.OpenFile("/orders/failed", os.O_APPEND|os.O_WRONLY, 0))
	defer f.Close()
	must(fmt.Fprintln(f, failure))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// clock is the machine's, moved as ordered.
type clock struct{}

func (clock) Now() time.Time                    { return time.Now().Add(must(time.ParseDuration(ordered("ahead")))) }
func (c clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
