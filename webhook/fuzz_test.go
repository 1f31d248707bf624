package webhook

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"gomodules.xyz/jsonpatch/v2"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// FuzzAdmit: whatever the body, the handler answers; what it answers with 200
// is a review of the same request, and its patch touches only our annotations.
func FuzzAdmit(f *testing.F) {
	handler := NewHandler(prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, body []byte) {
		request := httptest.NewRequest(http.MethodPost, PodsPath, bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)

		switch recorder.Code {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if text := recorder.Body.Bytes(); bytes.Count(text, []byte("\n")) != 1 || len(text) > 2*maxText {
				t.Errorf("status %d with %q, want one short line", recorder.Code, text)
			}
			return
		case http.StatusOK:
		default:
			t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
		}

		var asked review
		if err := utiljson.Unmarshal(body, &asked); err != nil {
			t.Fatalf("undecodable body admitted: %v", err)
		}
		response := decodeResponse(t, recorder.Body.Bytes())
		if response.UID != asked.Request.UID {
			t.Errorf("answered request %q, asked %q", response.UID, asked.Request.UID)
		}
		if response.Allowed != (response.Result == nil) || !response.Allowed && response.Patch != nil {
			t.Errorf("contradictory response: %+v", response)
		}
		if response.Patch == nil {
			return
		}
		var operations []jsonpatch.Operation
		if err := utiljson.Unmarshal(response.Patch, &operations); err != nil {
			t.Fatal(err)
		}
		for _, operation := range operations {
			if !slices.Contains([]string{"/metadata/annotations", trackedPath, stoppedPath}, operation.Path) {
				t.Errorf("patch touches %s", operation.Path)
			}
			if operation.Path == "/metadata/annotations" && asked.Request.Object.Metadata.Annotations != nil {
				t.Error("patch replaces the annotations")
			}
		}
	})
}
