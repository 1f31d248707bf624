package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// load makes the pair on disk the one that is served, if it is a pair.
func (s *Source) load() error {
	if err := s.read(); err == nil {
		return nil
	}
	if err := s.inspect(); err != nil {
		return err
	}
	return s.read() // the pair was replaced between the reading of one file and the other
}

// read has certwatcher read the files.
func (s *Source) read() error {
	s.mu.RLock()
	watcher := s.watcher
	s.mu.RUnlock()
	if watcher != nil {
		return watcher.ReadCertificate()
	}
	watcher, err := certwatcher.New(s.certPath, s.keyPath)
	if err != nil {
		return fmt.Errorf("loading %s: %w", s.certPath, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Reading again is reload's, which counts failures and logs each one once;
	// certwatcher would log the same one at every tick.
	s.watcher = watcher.WithWatchInterval(24 * time.Hour)
	return nil
}

// inspect says what is wrong with the files, in words that certwatcher's errors
// do not have: which file, and missing or not readable.
func (s *Source) inspect() error {
	certPEM, err := readFile(s.certPath)
	if err != nil {
		return err
	}
	keyPEM, err := readFile(s.keyPath)
	if err != nil {
		return err
	}
	_, err = parse(certPEM, keyPEM)
	return err
}

func readFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing", path)
	}
	if err != nil {
		return nil, fmt.Errorf("reading serving certificate: %w", err) // names the path
	}
	return content, nil
}
