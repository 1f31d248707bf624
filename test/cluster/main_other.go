//go:build !linux

// Command cluster runs a Kubernetes of real parts on one Linux machine.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "cluster: this is %s: a kubelet runs on Linux only; use a Linux machine or a virtual one\n", runtime.GOOS)
	os.Exit(1)
}
