// Command stepped is the reaper, with a clock that can be set without touching
// the machine's: `make faults` runs it in place of the image's own program.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/reaper"
)

func main() {
	command.Main("stepped", reaper.Command(&reaper.Options{Clock: clock{"/clock/offset"}}))
}

// clock is the machine's, ahead by what the file says: a duration.
type clock struct{ file string }

// Now reads the file each time. Without it nothing could be stepped, and the run
// would prove nothing: that must not go unnoticed.
func (c clock) Now() time.Time {
	text, err := os.ReadFile(c.file)
	if err != nil {
		panic(fmt.Errorf("reading how far the clock is ahead: %w", err))
	}
	ahead, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		panic(fmt.Errorf("reading how far the clock is ahead: %w", err))
	}
	return time.Now().Add(ahead)
}

func (c clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
