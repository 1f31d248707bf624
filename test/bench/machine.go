package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// machine is where and with what the figures were made.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryGiB  int    `json:"memoryGiB"`
	Kernel     string `json:"kernel"`
	Platform   string `json:"platform"`
	Go         string `json:"go"`
	Kubernetes string `json:"kubernetes"`
	Reaper     string `json:"reaper"` // its version
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %d GiB, Linux %s %s, %s, Kubernetes %s, version %s",
		m.CPU, m.Cores, m.MemoryGiB, m.Kernel, m.Platform, m.Go, m.Kubernetes, m.Reaper)
}

func (b *bench) machine() (machine, error) {
	version, err := b.cluster.Discovery().ServerVersion()
	if err != nil {
		return machine{}, fmt.Errorf("asking the API server for its version: %w", err)
	}
	kib, _ := strconv.Atoi(firstMatch("/proc/meminfo", `MemTotal:\s+(\d+)`))
	return machine{
		CPU:       firstMatch("/proc/cpuinfo", `model name\s*: (.*)`),
		Cores:     runtime.NumCPU(),
		MemoryGiB: kib >> 20,
		Kernel:    firstMatch("/proc/sys/kernel/osrelease", `(\S+)`),
		Platform:  runtime.GOOS + "/" + runtime.GOARCH,
		Go:        runtime.Version(), Kubernetes: version.GitVersion, Reaper: b.version,
	}, nil
}

func firstMatch(file, pattern string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	match := regexp.MustCompile(pattern).FindSubmatch(content)
	if match == nil {
		return "unknown"
	}
	return strings.TrimSpace(string(match[1]))
}
