package certmanager

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	apiutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// cert-manager's defaults for the time from one failed issuance to the next
// try; its operator may have set others, which the API does not show.
const (
	firstBackoff = time.Hour
	maxBackoff   = 32 * time.Hour
)

// ongoing returns the request if it belongs to an issuance that has not ended
// well: neither the one that gave the present certificate, nor one that failed
// before the present attempt, which cert-manager is about to replace.
func ongoing(cert *cmapi.Certificate, request *cmapi.CertificateRequest) *cmapi.CertificateRequest {
	if request == nil || cert.Status.Revision != nil && revision(request) <= *cert.Status.Revision {
		return nil
	}
	started := apiutil.GetCertificateCondition(cert, cmapi.CertificateConditionIssuing)
	if issuing(cert) && failed(request) && request.Status.FailureTime.Before(started.LastTransitionTime) {
		return nil
	}
	return request
}

func failed(request *cmapi.CertificateRequest) bool {
	return apiutil.CertificateRequestReadyReason(request) == cmapi.CertificateRequestReasonFailed
}

// issuance is one attempt to get a certificate.
type issuance struct {
	cert    *cmapi.Certificate
	request *cmapi.CertificateRequest // of this attempt; nil: none yet
	issuer  *Issuer
	now     time.Time
}

// obstacle returns what blocks the attempt: the deepest cause known.
func (i issuance) obstacle() string {
	if verdict := i.verdict(); verdict != "" {
		return verdict + i.nextTry()
	}
	if problem := i.issuerProblem(); problem != "" {
		return problem
	}
	if i.request != nil {
		return i.pending() + i.waiting(&i.request.CreationTimestamp)
	}
	return i.unrequested()
}

// verdict returns how the attempt failed, or "".
func (i issuance) verdict() string {
	about := func(conditionType cmapi.CertificateRequestConditionType) string {
		if c := apiutil.GetCertificateRequestCondition(i.request, conditionType); c != nil {
			return because(c.Message)
		}
		return ""
	}
	switch {
	case i.request == nil:
		condition := apiutil.GetCertificateCondition(i.cert, cmapi.CertificateConditionIssuing)
		if i.cert.Status.LastFailureTime == nil || issuing(i.cert) || condition == nil {
			return ""
		}
		return "issuance failed" + because(condition.Message)
	case apiutil.CertificateRequestIsDenied(i.request):
		return i.requestName() + " was denied" + about(cmapi.CertificateRequestConditionDenied)
	case apiutil.CertificateRequestHasInvalidRequest(i.request):
		return i.requestName() + " is invalid" + about(cmapi.CertificateRequestConditionInvalidRequest)
	case failed(i.request):
		return i.requestName() + " failed" + about(cmapi.CertificateRequestConditionReady)
	}
	return ""
}

// nextTry returns when cert-manager will try again after a failure.
func (i issuance) nextTry() string {
	if i.cert.Status.LastFailureTime == nil || issuing(i.cert) {
		return "" // cert-manager has not taken note of the failure yet
	}
	backoff := firstBackoff
	if attempts := i.cert.Status.FailedIssuanceAttempts; attempts != nil && *attempts > 0 {
		backoff = time.Duration(min(float64(maxBackoff), float64(firstBackoff)*math.Pow(2, float64(*attempts-1))))
	}
	return fmt.Sprintf(", next try at %s by cert-manager's default backoff",
		utc(i.cert.Status.LastFailureTime.Add(backoff)))
}

func (i issuance) issuerProblem() string {
	if i.issuer == nil {
		return ""
	}
	if i.issuer.Missing {
		return i.issuerName() + " not found"
	}
	at := slices.IndexFunc(i.issuer.Conditions, func(c cmapi.IssuerCondition) bool {
		return c.Type == cmapi.IssuerConditionReady
	})
	switch {
	case at < 0:
		return i.issuerName() + " is not ready: cert-manager has not looked at it yet"
	case i.issuer.Conditions[at].Status != cmmeta.ConditionTrue:
		return i.issuerName() + " is not ready" + because(i.issuer.Conditions[at].Message)
	}
	return ""
}

// pending returns what a request that is neither signed nor refused waits for.
func (i issuance) pending() string {
	ready := apiutil.GetCertificateRequestCondition(i.request, cmapi.CertificateRequestConditionReady)
	switch {
	case !apiutil.CertificateRequestIsApproved(i.request):
		return i.requestName() + " waits for approval"
	case ready == nil:
		return i.requestName() + " waits for " + i.issuerName() + " to sign it"
	case ready.Status == cmmeta.ConditionTrue:
		return fmt.Sprintf("%s is signed, waiting for Secret %q", i.requestName(), i.cert.Spec.SecretName)
	}
	return i.requestName() + " is pending" + because(ready.Message)
}

// unrequested returns why there is no request yet.
func (i issuance) unrequested() string {
	ready := apiutil.GetCertificateCondition(i.cert, cmapi.CertificateConditionReady)
	started := apiutil.GetCertificateCondition(i.cert, cmapi.CertificateConditionIssuing)
	switch {
	case issuing(i.cert):
		return "waiting for its CertificateRequest" + i.waiting(started.LastTransitionTime)
	case ready == nil:
		return "cert-manager has not looked at it yet" + i.waiting(&i.cert.CreationTimestamp)
	case ready.ObservedGeneration != i.cert.Generation:
		return "cert-manager has not looked at its latest change yet"
	case ready.Status == cmmeta.ConditionTrue:
		return "cert-manager has not begun to renew it"
	}
	return "issuance has not begun" + because(ready.Message) + i.waiting(ready.LastTransitionTime)
}

// waiting returns how long something has lasted: "" below 5 seconds, and then
// the longest of 5 s, 10 s, 20 s, ... that has passed.
func (i issuance) waiting(since *metav1.Time) string {
	step := 5 * time.Second
	if since.IsZero() || i.now.Sub(since.Time) < step {
		return ""
	}
	for i.now.Sub(since.Time) >= 2*step {
		step *= 2
	}
	return ", for more than " + duration.HumanDuration(step)
}

func (i issuance) requestName() string {
	return fmt.Sprintf("CertificateRequest %q", i.request.Name)
}

func (i issuance) issuerName() string {
	kind := apiutil.IssuerKind(i.cert.Spec.IssuerRef)
	switch kind {
	case cmapi.IssuerKind:
		kind = "issuer"
	case cmapi.ClusterIssuerKind:
		kind = "cluster issuer"
	}
	return fmt.Sprintf("%s %q", kind, i.cert.Spec.IssuerRef.Name)
}

// because appends a message of cert-manager's as a part of our sentence.
func because(message string) string {
	message = strings.TrimRight(strings.Join(strings.Fields(message), " "), ".")
	if message == "" {
		return ""
	}
	return ": " + message
}
