//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// authority signs the certificates of one cluster's parts.
type authority struct {
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// newAuthority makes a certificate authority and writes ca.crt to the folder.
func newAuthority(folder string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	config := cert.Config{CommonName: "essential-containers test cluster", NotBefore: time.Now().Add(-time.Hour)} // clocks differ
	ca, err := cert.NewSelfSignedCACert(config, key)
	if err != nil {
		return nil, err
	}
	return &authority{folder, ca, key}, writeCertificate(filepath.Join(folder, "ca.crt"), ca)
}

// issue writes NAME.crt and NAME.key, valid for both sides of a connection. hosts are IP addresses and DNS names.
func (a *authority) issue(name string, subject pkix.Name, hosts ...string) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key, err := writeKey(filepath.Join(a.folder, name+".key"))
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("signing certificate %s: %w", name, err)
	}
	return writeCertificate(filepath.Join(a.folder, name+".crt"), &x509.Certificate{Raw: der})
}

func writeCertificate(path string, certificate *x509.Certificate) error {
	text, err := cert.EncodeCertificates(certificate)
	return errors.Join(err, os.WriteFile(path, text, 0o600))
}

// writeKey makes a private key and writes it to a file.
func writeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, err
	}
	return key, os.WriteFile(path, text, 0o600)
}
