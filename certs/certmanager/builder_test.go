package certmanager

import (
	"strconv"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// now is a full second, as times in the API are.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(offset time.Duration) *metav1.Time {
	t := metav1.NewTime(now.Add(offset))
	return &t
}

func status(is bool) cmmeta.ConditionStatus {
	if is {
		return cmmeta.ConditionTrue
	}
	return cmmeta.ConditionFalse
}

type certificate struct{ cmapi.Certificate }

// cert is a Certificate as it has just been created.
func cert() *certificate {
	c := &certificate{}
	c.Namespace, c.Name, c.UID, c.Generation = "ns", "web", "web-uid", 3
	c.CreationTimestamp = *at(0)
	c.Spec.SecretName = "web-tls"
	c.Spec.IssuerRef.Name = "ca"
	return c
}

func (c *certificate) created(offset time.Duration) *certificate {
	c.CreationTimestamp = *at(offset)
	return c
}

func (c *certificate) issuerKind(kind, group string) *certificate {
	c.Spec.IssuerRef.Kind, c.Spec.IssuerRef.Group = kind, group
	return c
}

func (c *certificate) condition(kind cmapi.CertificateConditionType, is bool, since time.Duration, message string) *certificate {
	c.Status.Conditions = append(c.Status.Conditions, cmapi.CertificateCondition{
		Type: kind, Status: status(is), LastTransitionTime: at(since), Message: message, ObservedGeneration: c.Generation})
	return c
}

func (c *certificate) ready(is bool, since time.Duration, message string) *certificate {
	return c.condition(cmapi.CertificateConditionReady, is, since, message)
}

func (c *certificate) issuing(is bool, since time.Duration, message string) *certificate {
	return c.condition(cmapi.CertificateConditionIssuing, is, since, message)
}

func (c *certificate) changed() *certificate {
	c.Generation++
	return c
}

// issued sets what a successful issuance leaves in the status.
func (c *certificate) issued(revision int, notAfter, renewal time.Duration) *certificate {
	c.Status.Revision, c.Status.NotAfter, c.Status.RenewalTime = &revision, at(notAfter), at(renewal)
	return c
}

func (c *certificate) failed(attempts int, since time.Duration) *certificate {
	c.Status.FailedIssuanceAttempts, c.Status.LastFailureTime = &attempts, at(since)
	return c
}

func (c *certificate) object() *cmapi.Certificate { return c.DeepCopy() }

type certificateRequest struct{ cmapi.CertificateRequest }

// request is an approved request of cert's with this revision.
func request(revision int) *certificateRequest {
	r := &certificateRequest{}
	r.Namespace, r.Name = "ns", "web-"+strconv.Itoa(revision)
	r.CreationTimestamp = *at(0)
	r.Annotations = map[string]string{cmapi.CertificateRequestRevisionAnnotationKey: strconv.Itoa(revision)}
	r.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cert(), cmapi.SchemeGroupVersion.WithKind("Certificate"))}
	return r.condition(cmapi.CertificateRequestConditionApproved, true, "", "approved")
}

func (r *certificateRequest) named(name string) *certificateRequest {
	r.Name = name
	return r
}

func (r *certificateRequest) ownedBy(uid types.UID) *certificateRequest {
	r.OwnerReferences[0].UID = uid
	return r
}

func (r *certificateRequest) created(offset time.Duration) *certificateRequest {
	r.CreationTimestamp = *at(offset)
	return r
}

func (r *certificateRequest) condition(kind cmapi.CertificateRequestConditionType, is bool, reason, message string) *certificateRequest {
	r.Status.Conditions = append(r.Status.Conditions, cmapi.CertificateRequestCondition{
		Type: kind, Status: status(is), Reason: reason, Message: message})
	return r
}

func (r *certificateRequest) ready(is bool, reason, message string) *certificateRequest {
	return r.condition(cmapi.CertificateRequestConditionReady, is, reason, message)
}

func (r *certificateRequest) unapproved() *certificateRequest {
	r.Status.Conditions = nil
	return r
}

func (r *certificateRequest) failed(since time.Duration, message string) *certificateRequest {
	r.Status.FailureTime = at(since)
	return r.ready(false, cmapi.CertificateRequestReasonFailed, message)
}

func (r *certificateRequest) denied(since time.Duration, message string) *certificateRequest {
	r.Status.FailureTime = at(since)
	return r.unapproved().condition(cmapi.CertificateRequestConditionDenied, true, "", message).
		ready(false, cmapi.CertificateRequestReasonDenied, "denied by an approval controller")
}

func (r *certificateRequest) object() *cmapi.CertificateRequest { return r.DeepCopy() }

func issuerConditions(is bool, message string) []cmapi.IssuerCondition {
	return []cmapi.IssuerCondition{{Type: cmapi.IssuerConditionReady, Status: status(is), Message: message}}
}
