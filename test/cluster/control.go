//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"syscall"
)

// Order tells the supervisor what to do with one part.
type Order struct {
	Part string
	Kill bool // stop it without a warning
}

// control are the orders that the supervisor takes, in the form that net/rpc
// wants. Only it knows when a part is being started, so it alone stops parts:
// a signal from outside could come just before a start.
type control struct{ children *children }

func (c control) Stop(order Order, _ *struct{}) error {
	if order.Kill {
		return c.children.stop(order.Part, syscall.SIGKILL)
	}
	return c.children.stop(order.Part, syscall.SIGTERM)
}

func (c control) Start(order Order, _ *struct{}) error { return c.children.start(order.Part) }

func (c control) Stopped(_ struct{}, names *[]string) error { //nolint:unparam // net/rpc wants the error
	*names = c.children.stopped()
	return nil
}

// obey takes orders from whoever may write to the listener's socket: root.
func obey(listener net.Listener, children *children) error {
	server := rpc.NewServer()
	if err := server.RegisterName("control", control{children}); err != nil {
		return err
	}
	go server.Accept(listener)
	return nil
}

// order has a part stopped, started, or one after the other, and returns when
// that is so.
func (c *cluster) order(ctx context.Context, command string, order Order) error {
	var err error
	if command != "start" {
		err = c.call(ctx, "Stop", order, nil)
	}
	if command != "stop" && err == nil {
		err = c.call(ctx, "Start", order, nil)
	}
	return err
}

// startStopped starts all that somebody has stopped.
func (c *cluster) startStopped(ctx context.Context) error {
	names, err := c.stopped(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.order(ctx, "start", Order{Part: name}); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) stopped(ctx context.Context) (names []string, err error) {
	err = c.call(ctx, "Stopped", struct{}{}, &names)
	return names, err
}

// call gives the supervisor an order and waits until it is carried out.
func (c *cluster) call(ctx context.Context, method string, arguments, result any) error {
	if c.supervisor() == 0 {
		return c.isDown()
	}
	client, err := rpc.Dial("unix", c.path(controlFile))
	if err != nil {
		return fmt.Errorf("reaching the supervisor: %w", err)
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	if err := client.Call("control."+method, arguments, result); ctx.Err() == nil {
		return err
	}
	return ctx.Err()
}

// printPID prints the pid for nsenter and the like.
func (c *cluster) printPID(out io.Writer) error {
	pid := c.supervisor()
	if pid == 0 {
		return c.isDown()
	}
	_, err := fmt.Fprintln(out, pid)
	return err
}
