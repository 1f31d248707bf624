//go:build !linux

// Command cluster runs a Kubernetes of real parts on one Linux machine.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "cluster: this is %s, but a kubelet runs on Linux only: use a Linux machine, real or virtual\n", runtime.GOOS)
	os.Exit(1)
}
