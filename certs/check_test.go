package certs

import (
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	good, other := cert().build(t), cert().build(t)
	junk := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("junk")}) }
	from, until := now.Add(-time.Hour), now.Add(time.Hour)

	for name, tt := range map[string]struct {
		pair    pair
		dnsName string
		now     time.Time
		want    string
	}{
		"a valid pair that covers the name": {pair: good, dnsName: service},
		"the name is not checked when there is none": {
			pair: cert().dnsNames("elsewhere").build(t)},
		"a wildcard covers the name": {
			pair: cert().dnsNames("*.system.svc").build(t), dnsName: service},
		"valid in its first second": {
			pair: cert().valid(now, until).build(t), dnsName: service},
		"valid in its last second": {
			pair: cert().valid(from, now).build(t), dnsName: service},
		"not valid yet": {
			pair: cert().valid(now.Add(time.Second), until).build(t), dnsName: service,
			want: `certificate is not valid before 2026-03-01T12:00:01Z`},
		"expired": {
			pair: cert().valid(from, now.Add(-time.Second)).build(t), dnsName: service,
			want: `certificate expired at 2026-03-01T11:59:59Z`},
		"times are in UTC": {
			pair: good, dnsName: service, now: until.Add(100 * time.Hour).In(time.FixedZone("east", 3600)),
			want: `certificate expired at 2026-03-02T11:00:00Z`},
		"another name": {
			pair: cert().dnsNames("a.svc", "b.svc").ip("10.0.0.1").build(t), dnsName: service,
			want: `certificate does not cover "webhook.system.svc": it has "a.svc", "b.svc", 10.0.0.1`},
		"no name at all": {
			pair: cert().dnsNames().build(t), dnsName: service,
			want: `certificate does not cover "webhook.system.svc": it has no subject alternative names`},
		"the key of another certificate": {
			pair: pair{good.cert, other.key},
			want: `loading tls.crt with tls.key: tls: private key does not match public key`},
		"an empty certificate": {
			pair: pair{nil, good.key},
			want: `loading tls.crt with tls.key: tls: failed to find any PEM data in certificate input`},
		"a certificate that is not PEM": {
			pair: pair{good.der(t), good.key},
			want: `loading tls.crt with tls.key: tls: failed to find any PEM data in certificate input`},
		"a certificate that cannot be decoded": {
			pair: pair{junk("CERTIFICATE"), good.key},
			want: `loading tls.crt with tls.key: x509: malformed certificate`},
		"an empty key": {
			pair: pair{good.cert, nil},
			want: `loading tls.crt with tls.key: tls: failed to find any PEM data in key input`},
		"a key that cannot be decoded": {
			pair: pair{good.cert, junk("PRIVATE KEY")},
			want: `loading tls.crt with tls.key: tls: failed to parse private key`},
		"certificate and key swapped": {
			pair: pair{good.key, good.cert},
			want: `loading tls.crt with tls.key: tls: failed to find certificate PEM data in certificate input, ` +
				`but did find a private key; PEM inputs may have been switched`},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.now.IsZero() {
				tt.now = now
			}
			got := ""
			if err := Check(tt.pair.cert, tt.pair.key, tt.dnsName, tt.now); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Check (-want +got):\n%s", diff)
			}
		})
	}
}
