package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const (
	// maxBody bounds a request. The API server takes objects of up to 3 MiB, and
	// a review holds two.
	maxBody = 8 << 20

	// presize bounds what is set aside on the word of a Content-Length.
	presize = 64 << 10
)

var (
	reviewType   = metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"}
	podKind      = metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	podsResource = metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
)

// review is what admission reads of an AdmissionReview. The object is decoded
// in the same pass: a second one would cost as much again.
type review struct {
	metav1.TypeMeta `json:",inline"`
	Request         *request `json:"request"`
}

type request struct {
	UID         types.UID                   `json:"uid"`
	Kind        metav1.GroupVersionKind     `json:"kind"`
	Resource    metav1.GroupVersionResource `json:"resource"`
	SubResource string                      `json:"subResource"`
	Namespace   string                      `json:"namespace"`
	Name        string                      `json:"name"`
	Operation   admissionv1.Operation       `json:"operation"`
	Object      *pod                        `json:"object"`
}

// creation reports whether the request creates a pod: the only one in which
// there is something to decide.
func (r *request) creation() bool {
	return r.Operation == admissionv1.Create && r.SubResource == ""
}

// refusal is why a request gets an HTTP error instead of an admission answer.
type refusal struct {
	status int
	reason string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: shorten(fmt.Sprintf(format, args...))}
}

// readRequest returns the review's request, or why there is none.
func readRequest(w http.ResponseWriter, r *http.Request) (*request, *refusal) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refuse(http.StatusMethodNotAllowed, "method must be POST")
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/json")
	}
	body, refused := readBody(w, r)
	if refused != nil {
		return nil, refused
	}
	var review review
	if err := utiljson.Unmarshal(body, &review); err != nil {
		return nil, refuse(http.StatusBadRequest, "decoding the AdmissionReview: %v", err)
	}
	return review.Request, review.check()
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), presize)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body must not exceed %d bytes", tooLarge.Limit)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "reading the body: %v", err)
	}
	return body.Bytes(), nil
}

// check refuses a review that does not ask about a pod.
func (r *review) check() *refusal {
	switch {
	case r.TypeMeta != reviewType:
		return refuse(http.StatusBadRequest, "the body must be an AdmissionReview of admission.k8s.io/v1, not %q of %q",
			r.Kind, r.APIVersion)
	case r.Request == nil:
		return refuse(http.StatusBadRequest, "the AdmissionReview has no request")
	}
	resource, kind := r.Request.Resource, r.Request.Kind
	switch {
	case resource != podsResource:
		return refuse(http.StatusBadRequest, "the request must be about pods of v1, not %q of %q",
			resource.Resource, schema.GroupVersion{Group: resource.Group, Version: resource.Version})
	case !r.Request.creation():
		return nil
	case kind != podKind:
		return refuse(http.StatusBadRequest, "the object must be a Pod of v1, not %q of %q",
			kind.Kind, schema.GroupVersion{Group: kind.Group, Version: kind.Version})
	case r.Request.Object == nil:
		return refuse(http.StatusBadRequest, "the request has no object")
	}
	return nil
}

// encode returns the body of the review that answers the request uid.
func (v *verdict) encode(uid types.UID) ([]byte, error) {
	response := &admissionv1.AdmissionResponse{UID: uid, Allowed: len(v.denial) == 0, Warnings: v.warnings}
	if !response.Allowed {
		// No Details: beside them, kubectl drops the message and with it the
		// name of the webhook that rejected the pod.
		response.Result = &metav1.Status{
			Status:  metav1.StatusFailure,
			Code:    http.StatusUnprocessableEntity,
			Reason:  metav1.StatusReasonInvalid,
			Message: v.denial.ToAggregate().Error(),
		}
	}
	if len(v.operations) > 0 {
		patch, err := json.Marshal(v.operations)
		if err != nil {
			return nil, fmt.Errorf("encoding the patch: %w", err)
		}
		response.Patch, response.PatchType = patch, new(admissionv1.PatchTypeJSONPatch)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: reviewType, Response: response})
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	return body, nil
}
