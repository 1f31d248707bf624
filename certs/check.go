package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// The files of a Secret of type kubernetes.io/tls, as it is mounted.
const (
	certFile = "tls.crt"
	keyFile  = "tls.key"
)

// Check says in one sentence why a server that presents this pair (both PEM)
// at the time now would be refused by a client that calls it dnsName: not
// PEM or not decodable, a key of another certificate, not valid yet, expired,
// or a name that the certificate does not cover. An empty dnsName is not
// checked. Who signed the certificate is the client's to judge.
func Check(certPEM, keyPEM []byte, dnsName string, now time.Time) error {
	pair, err := parse(certPEM, keyPEM)
	if err != nil {
		return err
	}
	return judge(pair.Leaf, dnsName, now)
}

// parse returns the pair, its leaf included.
func parse(certPEM, keyPEM []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("loading %s with %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

func judge(leaf *x509.Certificate, dnsName string, now time.Time) error {
	switch {
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("certificate is not valid before %s", utc(leaf.NotBefore))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("certificate expired at %s", utc(leaf.NotAfter))
	case dnsName != "" && leaf.VerifyHostname(dnsName) != nil:
		return fmt.Errorf("certificate does not cover %q: %s", dnsName, coverage(leaf))
	}
	return nil
}

func coverage(leaf *x509.Certificate) string {
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, fmt.Sprintf("%q", name))
	}
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "it has no subject alternative names"
	}
	return "it has " + strings.Join(names, ", ")
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
