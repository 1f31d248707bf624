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

// unmanaged is what a process needs in addition to what the Go runtime manages: the
// program itself, and the kernel's part of its connections.
const unmanaged = 32 << 20

// limitMemory has the garbage collector keep the process below the container's
// limit. GOMEMLIMIT, if set, takes precedence.
func limitMemory() error {
	text := os.Getenv(memoryLimitVariable)
	if text == "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil || limit <= 0 {
		return fmt.Errorf("environment variable %s: %q is not a number of bytes", memoryLimitVariable, text)
	}
	debug.SetMemoryLimit(max(limit-unmanaged, limit/2))
	return nil
}
