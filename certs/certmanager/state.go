// Package certmanager describes the state of a Certificate of cert-manager:
// ready or not, until when, and in one sentence what blocks it.
package certmanager

import (
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
)

// State is what people need to know about a Certificate.
type State struct {
	// Ready means that the Secret holds a certificate that matches the present
	// spec and has not expired.
	Ready bool
	// NotAfter is when the certificate in the Secret expires; zero: there is none.
	NotAfter time.Time
	// Message is one sentence without a full stop, to follow the Certificate's
	// name: until when it is valid and when it will be renewed, or what blocks
	// it. Waiting times in it grow in doubling steps, so that a caller who
	// shows each new message shows few.
	Message string
}

// Issuer is what is known of the Issuer or ClusterIssuer of a Certificate.
type Issuer struct {
	// Missing means that it does not exist.
	Missing    bool
	Conditions []cmapi.IssuerCondition
}

// Describe returns the state of the Certificate at the time now from its own
// status, its newest CertificateRequest (nil: it has none) and its issuer (nil:
// not known, as for issuers that are not cert-manager's own).
func Describe(cert *cmapi.Certificate, request *cmapi.CertificateRequest, issuer *Issuer, now time.Time) State {
	state := State{}
	if cert.Status.NotAfter != nil {
		state.NotAfter = cert.Status.NotAfter.Time
	}
	obstacle := issuance{cert, ongoing(cert, request), issuer, now}.obstacle()
	switch {
	case !state.NotAfter.IsZero() && !now.Before(state.NotAfter):
		state.Message = "expired at " + utc(state.NotAfter) + ": " + obstacle
	case !upToDate(cert):
		state.Message = obstacle
	default:
		state.Ready = true
		state.Message = "valid until " + utc(state.NotAfter) + ", " + renewal(cert, obstacle, now)
	}
	return state
}

// upToDate reports whether cert-manager has found the present spec fulfilled. A
// condition of an older spec says nothing.
func upToDate(cert *cmapi.Certificate) bool {
	ready := apiutil.GetCertificateCondition(cert, cmapi.CertificateConditionReady)
	return ready != nil && ready.Status == cmmeta.ConditionTrue &&
		ready.ObservedGeneration == cert.Generation && cert.Status.NotAfter != nil
}

func issuing(cert *cmapi.Certificate) bool {
	condition := cmapi.CertificateCondition{Type: cmapi.CertificateConditionIssuing, Status: cmmeta.ConditionTrue}
	return apiutil.CertificateHasCondition(cert, condition)
}

// renewal returns when a valid certificate is renewed, or how far that has come.
func renewal(cert *cmapi.Certificate, obstacle string, now time.Time) string {
	at := cert.Status.RenewalTime
	switch {
	case issuing(cert):
		return "renewal in progress: " + obstacle
	case cert.Status.LastFailureTime != nil:
		return "renewal failed: " + obstacle
	case at == nil:
		return "no renewal is scheduled"
	case now.After(at.Time):
		return "renewal is due since " + utc(at.Time)
	}
	return "to be renewed at " + utc(at.Time)
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
