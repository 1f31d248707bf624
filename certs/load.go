package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// load makes the pair on disk the one that is served, if it is a pair.
func (s *Source) load() error {
	pair, err := s.read()
	if err != nil {
		pair, err = s.read() // the pair may have been replaced between the reading of one file and the other
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving = pair
	return nil
}

func (s *Source) read() (*tls.Certificate, error) {
	certPEM, err := readFile(s.certPath)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(s.keyPath)
	if err != nil {
		return nil, err
	}
	return parse(certPEM, keyPEM)
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

// readPool reads the certificates of a PEM file.
func readPool(path string) (*x509.CertPool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err // names the path
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	return pool, nil
}
