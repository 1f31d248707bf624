// Package webhook is the mutating admission webhook for pods: it checks that
// the label names containers that exist, rejects the pod if not, and adds the
// tracking annotation. It calls no API and keeps no state.
package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// PodsPath is where the server of [Run] answers admission reviews of pods.
const PodsPath = "/mutate-pods"

// maxText bounds what is logged or answered of a text that a request can make
// as long as it likes.
const maxText = 1024

// Handler answers AdmissionReview v1 requests about pods. A request that is no
// such review gets an HTTP error with one line of text: unlike an admission
// answer, that cannot be taken for a decision about a pod.
//
// It logs to the logger of the request's context.
type Handler struct {
	metrics *metrics
}

// NewHandler returns a Handler whose metrics are registered with registerer,
// once: it panics if they already are.
func NewHandler(registerer prometheus.Registerer) *Handler {
	return &Handler{metrics: newMetrics(registerer)}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	result := failed
	defer func() {
		// net/http recovers too, but then drops the connection without an answer,
		// which the API server reports as a fault of the network.
		if cause := recover(); cause != nil {
			fail(w, r, fmt.Errorf("panic: %s", shorten(fmt.Sprint(cause))))
		}
		h.metrics.observe(result, time.Since(start))
	}()
	result = admit(w, r)
}

func admit(w http.ResponseWriter, r *http.Request) outcome {
	request, refused := readRequest(w, r)
	if refused != nil {
		logr.FromContextOrDiscard(r.Context()).Info("Refused a request that is no review of a pod",
			"reason", refused.reason, "status", refused.status, "remoteAddress", r.RemoteAddr)
		http.Error(w, refused.reason, refused.status)
		return malformed
	}
	result, v := untracked, verdict{}
	if request.creation() {
		v = mutate(request.Object)
		result = v.outcome()
		log(r, request, result, &v)
	}
	body, err := v.encode(request.UID)
	if err != nil {
		fail(w, r, err)
		return failed
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(body); err != nil {
		logr.FromContextOrDiscard(r.Context()).Info("Could not write the answer", "reason", err.Error())
	}
	return result
}

// log tells a denial, and at verbosity 1 every decision. Nobody has validated
// the names yet either.
func log(r *http.Request, request *request, result outcome, v *verdict) {
	logger := logr.FromContextOrDiscard(r.Context())
	if result != denied {
		logger = logger.V(1)
	}
	if !logger.Enabled() {
		return
	}
	logger = logger.WithValues("namespace", shorten(request.Namespace), "name", shorten(request.Name),
		"generateName", shorten(request.Object.Metadata.GenerateName))
	if result == denied {
		logger.Info("Denied a pod", "reason", shorten(v.denial[0].Error()), "errors", len(v.denial))
	} else {
		logger.Info("Admitted a pod", "result", result, "warnings", v.warnings)
	}
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	logr.FromContextOrDiscard(r.Context()).Error(err, "Admission failed")
	http.Error(w, "internal error", http.StatusInternalServerError)
}

func shorten(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "..."
}
