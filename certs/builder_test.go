package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// now is the present of the tests that need none of the real clock.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const service = "webhook.system.svc"

// certBuilder makes self-signed serving certificates; the zero value of what is
// not set is one for service that is valid for a day around the present.
type certBuilder struct{ template x509.Certificate }

func cert() *certBuilder {
	return &certBuilder{x509.Certificate{
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(23 * time.Hour), DNSNames: []string{service},
	}}
}

func (b *certBuilder) valid(from, until time.Time) *certBuilder {
	b.template.NotBefore, b.template.NotAfter = from, until
	return b
}

func (b *certBuilder) dnsNames(names ...string) *certBuilder {
	b.template.DNSNames = names
	return b
}

func (b *certBuilder) ip(address string) *certBuilder {
	b.template.IPAddresses = append(b.template.IPAddresses, net.ParseIP(address))
	return b
}

// client makes it one that a client may present.
func (b *certBuilder) client() *certBuilder {
	b.template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return b
}

// pair is a certificate with its key, both PEM.
type pair struct{ cert, key []byte }

func (b *certBuilder) build(t testing.TB) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if b.template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &b.template, &b.template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func (p pair) der(t testing.TB) []byte {
	t.Helper()
	block, _ := pem.Decode(p.cert)
	if block == nil {
		t.Fatal("the pair's certificate is not PEM")
	}
	return block.Bytes
}
