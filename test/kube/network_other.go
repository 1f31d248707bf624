//go:build unix && !linux

package kube

import "errors"

func (c *Cluster) inNetwork(func() error) error { return errors.ErrUnsupported }
