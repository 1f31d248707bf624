// Package webhook answers admission reviews over HTTPS, by the rules of package
// admission. One webhook mutates pods at creation, one mutates the status of tracked
// pods that fail, one validates workloads. None calls an API or keeps state.
package webhook

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/essential-containers/essential-containers/internal/admission"
	"github.com/essential-containers/essential-containers/internal/essential"
)

// Where the server of [Run] answers admission reviews.
const (
	PodsPath      = "/mutate-pods"        // of pods
	StatusesPath  = "/mutate-pod-status"  // of a pod's status
	WorkloadsPath = "/validate-workloads" // of what creates pods from a template
)

// maxText bounds what is logged or answered of a text that a request can make
// as long as it likes.
const maxText = 1024

// endpoint is what is reviewed on one path, and how.
type endpoint struct {
	resource    string                  // value of the metrics' label
	kinds       []admission.Kind        // all others are refused
	objects     int64                   // in a review: the old one too, or not
	subResource string                  // in which there is something to decide
	operations  []admissionv1.Operation // likewise
	decide      func(*request, essential.Policies) admission.Answer
	asItIs      admission.Result   // the result of admitting an object as it is
	results     []admission.Result // every one
}

var endpoints = map[string]*endpoint{
	PodsPath: {
		resource:   "pods",
		kinds:      admission.PodKinds,
		objects:    1,
		operations: []admissionv1.Operation{admissionv1.Create},
		decide: func(r *request, defaults essential.Policies) admission.Answer {
			return admission.Pod(r.Object, defaults)
		},
		asItIs:  untracked,
		results: []admission.Result{admission.Tracked, admission.Native, admission.Fallback, untracked, denied, malformed, failed},
	},
	StatusesPath: {
		resource:    "pods/status",
		kinds:       admission.PodKinds,
		objects:     2,
		subResource: "status",
		operations:  []admissionv1.Operation{admissionv1.Update},
		decide: func(r *request, defaults essential.Policies) admission.Answer {
			return admission.Status(r.Object, r.OldObject, r.UserInfo.Groups, defaults)
		},
		asItIs:  unchanged,
		results: []admission.Result{admission.Succeeded, admission.Explained, admission.Kept, unchanged, denied, malformed, failed},
	},
	WorkloadsPath: {
		resource:   "workloads",
		kinds:      admission.WorkloadKinds,
		objects:    2,
		operations: []admissionv1.Operation{admissionv1.Create, admissionv1.Update},
		decide: func(r *request, defaults essential.Policies) admission.Answer {
			return admission.Workload(r.kind, r.Object, r.OldObject, defaults)
		},
		asItIs:  allowed,
		results: []admission.Result{allowed, denied, malformed, failed},
	},
}

// NewHandlers returns the handlers of [PodsPath], [StatusesPath] and [WorkloadsPath], which
// answer AdmissionReview v1 requests. A request that is no review of what the
// path is for gets an HTTP error with one line of text: unlike an admission
// answer, it cannot be mistaken for a decision about an object.
//
// Pods that say nothing themselves have the policies defaults.
//
// They log to the logger of the request's context. Their metrics are registered
// with registerer, once: it panics if they already are.
func NewHandlers(registerer prometheus.Registerer, defaults essential.Policies) map[string]http.Handler {
	metrics := newMetrics(registerer)
	turns := newTurns()
	handlers := make(map[string]http.Handler, len(endpoints))
	for path, e := range endpoints {
		metrics.start(e.resource, e.results)
		handlers[path] = &handler{endpoint: e, defaults: defaults, metrics: metrics, turns: turns}
	}
	return handlers
}

type handler struct {
	*endpoint
	defaults essential.Policies
	metrics  *metrics
	turns    *turns
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	result := failed
	defer func() {
		// net/http recovers too, but then drops the connection without an answer,
		// which the API server reports as a fault of the network.
		if cause := recover(); cause != nil {
			h.fail(w, r, fmt.Errorf("panic: %s", shorten(fmt.Sprint(cause))), "stack", string(debug.Stack()))
		}
		h.metrics.observe(h.resource, result, time.Since(start))
	}()
	result = h.admit(w, r)
}

func (h *handler) admit(w http.ResponseWriter, r *http.Request) admission.Result {
	request, refused, release := h.readRequest(w, r)
	defer release()
	if refused != nil {
		logr.FromContextOrDiscard(r.Context()).Info("Refused a request that is no review of its path's objects",
			"resource", h.resource, "reason", refused.reason, "status", refused.status, "remoteAddress", r.RemoteAddr)
		http.Error(w, refused.reason, refused.status)
		if refused == busy {
			return failed
		}
		return malformed
	}
	result, answer := h.asItIs, admission.Answer{}
	if request.kind != nil {
		answer = h.decide(request, h.defaults)
		result = h.result(&answer)
		log(r, request, result, &answer)
	}
	body, err := encode(&answer, request.UID)
	if err != nil {
		h.fail(w, r, err)
		return failed
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(body); err != nil {
		logr.FromContextOrDiscard(r.Context()).Info("Could not write the answer", "reason", err.Error())
	}
	return result
}

func (e *endpoint) result(answer *admission.Answer) admission.Result {
	switch {
	case len(answer.Denial) > 0:
		return denied
	case answer.Result != "":
		return answer.Result
	}
	return e.asItIs
}

// log writes a line about a denial, and at verbosity 1 about every decision. The
// names have not been validated yet, so it shortens them.
func log(r *http.Request, request *request, result admission.Result, answer *admission.Answer) {
	logger := logr.FromContextOrDiscard(r.Context())
	if result != denied {
		logger = logger.V(1)
	}
	if !logger.Enabled() {
		return
	}
	logger = logger.WithValues("resource", request.Resource.Resource, "namespace", shorten(request.Namespace),
		"name", shorten(request.Name), "generateName", shorten(request.Object.Metadata.GenerateName))
	if result == denied {
		logger.Info("Denied an object", "reason", shorten(answer.Denial[0].Error()), "errors", len(answer.Denial))
	} else {
		logger.Info("Admitted an object", "result", result, "warnings", answer.Warnings)
	}
}

func (e *endpoint) fail(w http.ResponseWriter, r *http.Request, err error, details ...any) {
	logr.FromContextOrDiscard(r.Context()).Error(err, "Admission failed", append(details, "resource", e.resource)...)
	http.Error(w, "internal error", http.StatusInternalServerError)
}

func shorten(text string) string { return essential.Shorten(text, maxText) }
