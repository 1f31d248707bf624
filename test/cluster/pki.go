//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// writePKI writes keys and certificates. The API server's file holds its certificate and the authority's, and so does ca.crt. Each
// client's certificate is its own authority: clients.crt holds both.
func writePKI(folder string) error {
	var errs []error
	write := func(name string, text []byte, err error) {
		errs = append(errs, err, os.WriteFile(filepath.Join(folder, name), text, 0o600))
	}
	server, serverKey, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.ParseIP(nodeIP), net.ParseIP("10.96.0.1")}, []string{"kubernetes.default.svc"})
	write("apiserver.crt", server, err)
	write("apiserver.key", serverKey, nil)
	write("ca.crt", server, nil)
	tokens, err := keyutil.MakeEllipticPrivateKeyPEM() // signs the tokens of service accounts
	write("sa.key", tokens, err)
	var clients []byte
	for name, user := range map[string]cert.Config{
		"admin":   {CommonName: "admin", Organization: []string{"system:masters"}},
		"kubelet": {CommonName: "system:node:node1", Organization: []string{"system:nodes"}},
	} {
		user.NotBefore = time.Now().Add(-time.Hour) // clocks differ, also on purpose
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		certificate, err := cert.NewSelfSignedCACert(user, key)
		if err != nil {
			return err
		}
		text, err := cert.EncodeCertificates(certificate)
		write(name+".crt", text, err)
		keyText, err := keyutil.MarshalPrivateKeyToPEM(key)
		write(name+".key", keyText, err)
		clients = append(clients, text...)
	}
	write("clients.crt", clients, nil)
	return errors.Join(errs...)
}
