package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// load is what the API server has done since it started, by its own metrics.
type load struct {
	cpu   float64            // seconds on a core
	asked map[string]float64 // calls of each webhook, by its name in its configuration
	pods  float64            // reads and writes of single pods and of their statuses, as a kubelet repeats them
}

func (c *cluster) load(ctx context.Context) (load, error) {
	body, err := c.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return load{}, fmt.Errorf("getting the API server's metrics: %w", err)
	}
	return parseLoad(string(body))
}

var (
	askedLine = regexp.MustCompile(`(?m)^apiserver_admission_webhook_request_total\{.*name="([^"]+)".*\} (\S+)$`)
	podsLine  = regexp.MustCompile(`(?m)^apiserver_request_total\{.*resource="pods",.*subresource="((?:status)?)",verb="(?:GET|PATCH)".*\} (\S+)$`)
)

func parseLoad(metrics string) (l load, err error) {
	l.asked = map[string]float64{}
	cpu, failure := numberIn(metrics, `process_cpu_seconds_total (\S+)`)
	l.cpu, err = cpu, failure
	for _, match := range askedLine.FindAllStringSubmatch(metrics, -1) {
		count, failure := strconv.ParseFloat(match[2], 64)
		l.asked[match[1]], err = l.asked[match[1]]+count, errors.Join(err, failure)
	}
	for _, match := range podsLine.FindAllStringSubmatch(metrics, -1) {
		count, failure := strconv.ParseFloat(match[2], 64)
		l.pods, err = l.pods+count, errors.Join(err, failure)
	}
	if err != nil {
		return load{}, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return l, nil
}
