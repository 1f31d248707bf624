package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/essential-containers/essential-containers/internal/admission"
)

// maxObject bounds an object of a review, and what comes with it: the API server
// takes requests of up to 3 MiB, and stores no more than half of that.
const maxObject = 3 << 20

var reviewType = metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "AdmissionReview"}

// review is what admission reads of an AdmissionReview. The objects are decoded
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
	UserInfo    authenticationv1.UserInfo   `json:"userInfo"`
	Object      *admission.Object           `json:"object"`
	OldObject   *admission.Object           `json:"oldObject"`

	kind *admission.Kind // of the object, if there is something to decide
}

// refusal is why a request gets an HTTP error instead of an admission answer.
type refusal struct {
	status int
	reason string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status: status, reason: shorten(fmt.Sprintf(format, args...))}
}

// readRequest returns the review's request, or why there is none. What that takes
// of the memory is given back by release, when the answer is written.
func (h *handler) readRequest(w http.ResponseWriter, r *http.Request) (q *request, refused *refusal, release func()) {
	nothing := func() {}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refuse(http.StatusMethodNotAllowed, "method must be POST"), nothing
	}
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be application/json"), nothing
	}
	switch most := h.objects * maxObject; {
	case r.ContentLength < 0:
		return nil, refuse(http.StatusLengthRequired, "the request must have a Content-Length"), nothing
	case r.ContentLength > most:
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body must not exceed %d bytes", most), nothing
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.turns.wait)
	defer cancel()
	body, refused, releaseBody := h.turns.read(ctx, w, r)
	if refused != nil {
		return nil, refused, releaseBody
	}
	n := elements(body, maxElements)
	if n > maxElements {
		return nil, refuse(http.StatusRequestEntityTooLarge, "the body must not have more than %d elements, nor more than %d levels", maxElements, maxDepth), releaseBody
	}
	releaseDecoded, err := h.turns.decode(ctx, n)
	release = func() { releaseDecoded(); releaseBody() }
	if err != nil {
		return nil, busy, release
	}
	var review review
	if err := utiljson.Unmarshal(body, &review); err != nil {
		return nil, refuse(http.StatusBadRequest, "decoding the AdmissionReview: %v", err), release
	}
	if q = review.Request; q != nil && q.Object != nil {
		q.Object.RawContainers = func() ([]json.RawMessage, error) { return rawContainers(body) }
	}
	return q, h.check(&review), release
}

// busy is the refusal of a review whose turn did not come. The API server treats
// it as a webhook that cannot be reached.
var busy = refuse(http.StatusServiceUnavailable, "too many large reviews at a time: try again")

// check refuses a review that asks about something else, and finds the kind of
// the object.
func (e *endpoint) check(r *review) *refusal {
	switch {
	case r.TypeMeta != reviewType:
		return refuse(http.StatusBadRequest, "the body must be an AdmissionReview of admission.k8s.io/v1, not %q of %q",
			r.Kind, r.APIVersion)
	case r.Request == nil:
		return refuse(http.StatusBadRequest, "the AdmissionReview has no request")
	}
	resource, object := r.Request.Resource, r.Request.Kind
	i := slices.IndexFunc(e.kinds, func(k admission.Kind) bool { return k.IsResource(resource) })
	switch {
	case i < 0:
		return refuse(http.StatusBadRequest, "the request must be about %s, not %q of %q",
			e.list(), resource.Resource, schema.GroupVersion{Group: resource.Group, Version: resource.Version})
	case r.Request.SubResource != e.subResource || !slices.Contains(e.operations, r.Request.Operation):
		return nil
	case !e.kinds[i].IsKind(object):
		return refuse(http.StatusBadRequest, "the object must be a %s of %s, not %q of %q",
			e.kinds[i].Kind, e.kinds[i].GroupVersion, object.Kind, schema.GroupVersion{Group: object.Group, Version: object.Version})
	case r.Request.Object == nil:
		return refuse(http.StatusBadRequest, "the request has no object")
	}
	r.Request.kind = &e.kinds[i]
	return nil
}

// list is what may be reviewed, for people.
func (e *endpoint) list() string {
	resources := make([]string, len(e.kinds))
	for i, k := range e.kinds {
		resources[i] = fmt.Sprintf("%s of %s", k.Resource, k.GroupVersion)
	}
	return strings.Join(resources, " or ")
}

// rawContainers returns the containers of the pod of a review.
func rawContainers(body []byte) ([]json.RawMessage, error) {
	var review struct {
		Request struct {
			Object struct {
				Spec struct {
					Containers []json.RawMessage `json:"containers"`
				} `json:"spec"`
			} `json:"object"`
		} `json:"request"`
	}
	err := utiljson.Unmarshal(body, &review) // keys are case sensitive, as everywhere
	return review.Request.Object.Spec.Containers, err
}

// encode returns the body of the review that answers the request uid.
func encode(answer *admission.Answer, uid types.UID) ([]byte, error) {
	response := &admissionv1.AdmissionResponse{UID: uid, Allowed: len(answer.Denial) == 0, Warnings: answer.Warnings}
	if !response.Allowed {
		// No Details: if there are any, kubectl drops the message and with it the
		// name of the webhook that rejected the object.
		response.Result = &metav1.Status{
			Status:  metav1.StatusFailure,
			Code:    http.StatusUnprocessableEntity,
			Reason:  metav1.StatusReasonInvalid,
			Message: answer.Denial.ToAggregate().Error(),
		}
	}
	if len(answer.Patch) > 0 {
		patch, err := json.Marshal(answer.Patch)
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
