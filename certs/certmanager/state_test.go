package certmanager

import (
	"testing"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/google/go-cmp/cmp"
)

const day = 24 * time.Hour

func TestDescribe(t *testing.T) {
	issuing := func() *certificate {
		return cert().ready(false, 0, "Secret does not exist.").issuing(true, 0, "Secret does not exist.")
	}
	valid := func() *certificate { return cert().ready(true, 0, "up to date").issued(1, 90*day, 60*day) }
	const validUntil = "valid until 2026-05-30T12:00:00Z, "
	pending := cmapi.CertificateRequestReasonPending

	for name, tt := range map[string]struct {
		cert    *certificate
		request *certificateRequest
		issuer  *Issuer // default: ready
		unknown bool    // the issuer is not known
		ready   bool
		want    string
	}{
		"valid": {
			cert: valid(), request: request(1).ready(true, cmapi.CertificateRequestReasonIssued, "fetched"), ready: true,
			want: validUntil + "to be renewed at 2026-04-30T12:00:00Z"},
		"valid, never to be renewed": {
			cert: func() *certificate { c := valid(); c.Status.RenewalTime = nil; return c }(), ready: true,
			want: validUntil + "no renewal is scheduled"},
		"valid, renewal due": {
			cert: valid().issued(1, 90*day, -time.Second), ready: true,
			want: validUntil + "renewal is due since 2026-03-01T11:59:59Z"},
		"valid, renewal in progress": {
			cert: valid().issuing(true, -10*time.Second, "renewing"), ready: true,
			want: validUntil + "renewal in progress: waiting for its CertificateRequest, for more than 10s"},
		"valid, renewal in progress, the request of this revision is history": {
			cert: valid().issuing(true, 0, "renewing"), request: request(1).failed(0, "history"), ready: true,
			want: validUntil + "renewal in progress: waiting for its CertificateRequest"},
		"valid, renewal blocked": {
			cert: valid().issuing(true, 0, "renewing"), issuer: &Issuer{Missing: true}, ready: true,
			want: validUntil + `renewal in progress: issuer "ca" not found`},
		"valid, renewal failed": {
			cert:    valid().issuing(false, 0, "will be retried").failed(1, 0),
			request: request(2).failed(0, "CA has expired"), ready: true,
			want: validUntil + `renewal failed: CertificateRequest "web-2" failed: CA has expired, ` +
				`next try at 2026-03-01T13:00:00Z by cert-manager's default backoff`},
		"ready for an older spec": {
			cert: valid().changed(),
			want: "cert-manager has not looked at its latest change yet"},
		"ready in its last second": {
			cert: valid().issued(1, time.Second, day), ready: true,
			want: "valid until 2026-03-01T12:00:01Z, to be renewed at 2026-03-02T12:00:00Z"},
		"expired, and cert-manager is not there to see it": {
			cert: valid().issued(1, 0, -day),
			want: "expired at 2026-03-01T12:00:00Z: cert-manager has not begun to renew it"},
		"expired, and cert-manager cannot renew it": {
			cert:   cert().ready(false, 0, "expired").issuing(true, 0, "").issued(1, -time.Hour, -day),
			issuer: &Issuer{Missing: true},
			want:   `expired at 2026-03-01T11:00:00Z: issuer "ca" not found`},

		"cert-manager has not looked at it": {
			cert: cert(),
			want: "cert-manager has not looked at it yet"},
		"cert-manager has not looked at it for long": {
			cert: cert().created(-3 * time.Minute),
			want: "cert-manager has not looked at it yet, for more than 2m40s"},
		"issuance has not begun": {
			cert: cert().ready(false, -7*time.Second, "Secret\ndoes not exist."),
			want: "issuance has not begun: Secret does not exist, for more than 5s"},
		"its request is not made yet": {
			cert: issuing(),
			want: "waiting for its CertificateRequest"},

		"the issuer is missing": {
			cert:    issuing(),
			request: request(1).ready(false, pending, "Referenced issuer not found"), issuer: &Issuer{Missing: true},
			want: `issuer "ca" not found`},
		"the cluster issuer is missing": {
			cert: issuing().issuerKind("ClusterIssuer", ""), issuer: &Issuer{Missing: true},
			want: `cluster issuer "ca" not found`},
		"the issuer is not ready": {
			cert:    issuing(),
			request: request(1).ready(false, pending, "Referenced issuer is not ready"),
			issuer:  &Issuer{Conditions: issuerConditions(false, "secret \"root\" not found")},
			want:    `issuer "ca" is not ready: secret "root" not found`},
		"the issuer is not ready without a message": {
			cert: issuing(), issuer: &Issuer{Conditions: issuerConditions(false, "")},
			want: `issuer "ca" is not ready`},
		"cert-manager has not looked at the issuer": {
			cert: issuing(), issuer: &Issuer{},
			want: `issuer "ca" is not ready: cert-manager has not looked at it yet`},

		"the request waits for approval": {
			cert: issuing(), request: request(1).unapproved().created(-5 * time.Second),
			want: `CertificateRequest "web-1" waits for approval, for more than 5s`},
		"the request waits for the issuer": {
			cert: issuing(), request: request(1),
			want: `CertificateRequest "web-1" waits for issuer "ca" to sign it`},
		"the request waits for an issuer of another kind": {
			cert: issuing().issuerKind("StepIssuer", "certmanager.step.sm"), request: request(1), unknown: true,
			want: `CertificateRequest "web-1" waits for StepIssuer "ca" to sign it`},
		"the request is pending": {
			cert: issuing(), request: request(1).created(-40*time.Second).ready(false, pending, "order is pending"),
			want: `CertificateRequest "web-1" is pending: order is pending, for more than 40s`},
		"the request is signed": {
			cert: issuing(), request: request(1).ready(true, cmapi.CertificateRequestReasonIssued, "fetched"),
			want: `CertificateRequest "web-1" is signed, waiting for Secret "web-tls"`},

		"the request was denied": {
			cert:    issuing().failed(1, -time.Second),
			request: request(1).denied(0, "no policy approved this request"),
			want:    `CertificateRequest "web-1" was denied: no policy approved this request`},
		"a denial outlives the attempt that it ended": {
			cert:    issuing().failed(1, -time.Hour),
			request: request(1).denied(-time.Hour, "no"),
			want:    `CertificateRequest "web-1" was denied: no`},
		"the request is invalid": {
			cert:    issuing(),
			request: request(1).condition(cmapi.CertificateRequestConditionInvalidRequest, true, "", "no common name"),
			want:    `CertificateRequest "web-1" is invalid: no common name`},
		"the request has just failed": {
			cert: issuing(), request: request(1).failed(0, "signing error"),
			want: `CertificateRequest "web-1" failed: signing error`},
		"the failure is older than the present attempt": {
			cert: issuing().failed(1, -time.Hour), request: request(1).failed(-time.Hour, "signing error"),
			want: "waiting for its CertificateRequest"},
		"the request failed, and the issuer is missing by now": {
			cert:    cert().ready(false, 0, "no Secret").issuing(false, 0, "will be retried").failed(2, -time.Hour),
			request: request(1).failed(-time.Hour, "signing error"), issuer: &Issuer{Missing: true},
			want: `CertificateRequest "web-1" failed: signing error, ` +
				`next try at 2026-03-01T13:00:00Z by cert-manager's default backoff`},
		"issuance failed, and its request is gone": {
			cert: cert().ready(false, 0, "no Secret").issuing(false, 0, "will be retried: signing error").failed(1, 0),
			want: `issuance failed: will be retried: signing error, ` +
				`next try at 2026-03-01T13:00:00Z by cert-manager's default backoff`},
		"the backoff has an upper bound": {
			cert: cert().ready(false, 0, "no Secret").issuing(false, 0, "will be retried").failed(99, 0),
			want: `issuance failed: will be retried, next try at 2026-03-02T20:00:00Z by cert-manager's default backoff`},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.issuer == nil && !tt.unknown {
				tt.issuer = &Issuer{Conditions: issuerConditions(true, "")}
			}
			want := State{Ready: tt.ready, Message: tt.want}
			if tt.cert.Status.NotAfter != nil {
				want.NotAfter = tt.cert.Status.NotAfter.Time
			}
			var request *cmapi.CertificateRequest
			if tt.request != nil {
				request = tt.request.object()
			}
			if diff := cmp.Diff(want, Describe(tt.cert.object(), request, tt.issuer, now)); diff != "" {
				t.Errorf("Describe (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDescribeRepeatsItselfWhileNothingChanges(t *testing.T) {
	messages := map[string]bool{}
	for waited := range 3600 {
		messages[Describe(cert().object(), nil, nil, now.Add(time.Duration(waited)*time.Second)).Message] = true
	}
	if len(messages) > 12 {
		t.Errorf("%d messages in an hour of waiting for the same thing", len(messages))
	}
}
