package command

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
)

// memoryLimitVariable is the environment variable with the container's memory
// limit in bytes, which the chart sets. Empty: unknown.
const memoryLimitVariable = "MEMORY_LIMIT"

// limitMemory has the garbage collector keep the process below nine tenths of the
// container's limit. GOMEMLIMIT, if set, says something else.
func limitMemory() error {
	text := os.Getenv(memoryLimitVariable)
	if text == "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil || limit <= 0 {
		return fmt.Errorf("environment variable %s: %q is not a number of bytes", memoryLimitVariable, text)
	}
	debug.SetMemoryLimit(limit / 10 * 9)
	return nil
}
