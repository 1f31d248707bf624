// Package timelimit scales the time limits of the tests to slow machines.
package timelimit

import (
	"os"
	"strconv"
	"time"
)

// Variable is the environment variable with the factor of all time limits, for
// example 20 on an emulated machine. Unset, or not a number of at least 1, it is 1.
const Variable = "TIME_FACTOR"

// Scaled is the limit on this machine.
func Scaled(limit time.Duration) time.Duration {
	factor, err := strconv.ParseFloat(os.Getenv(Variable), 64)
	if err != nil || factor < 1 {
		return limit
	}
	return time.Duration(float64(limit) * factor)
}
