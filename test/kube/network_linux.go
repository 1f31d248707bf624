package kube

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetwork calls do on a thread that is in the network of a local cluster.
func (c *Cluster) inNetwork(do func() error) error {
	supervisor, err := c.Supervisor()
	if err != nil {
		return err
	}
	there, err := os.Open("/proc/" + supervisor + "/ns/net")
	if err != nil {
		return err
	}
	defer there.Close()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	// If the way back fails, the thread stays locked and ends with its goroutine.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
		back := error(nil)
		if err == nil {
			err = do()
			back = unix.Setns(int(here.Fd()), unix.CLONE_NEWNET)
		}
		if back == nil {
			runtime.UnlockOSThread()
		}
		done <- errors.Join(err, back)
	}()
	return <-done
}
