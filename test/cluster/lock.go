//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile takes the lock at path: how is LOCK_EX, which waits, perhaps with LOCK_NB, which fails if another process holds it.
// Closing the file, or the end of the last process that has it open, releases the lock.
func lockFile(path string, how int) (*os.File, error) {
	for {
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		var f *os.File
		if err == nil {
			f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		}
		if errors.Is(err, os.ErrNotExist) {
			continue // the last cluster that went down has just removed the folder
		}
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), how); err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		// Its last owner may have removed the file while this process waited.
		held, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(held, now) {
			return f, nil
		}
		f.Close()
	}
}
