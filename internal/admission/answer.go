// Package admission has the rules of admission: what the webhook answers about a
// pod at its creation ([Pod]), about a workload ([Workload]) and about a pod's status
// ([Status]). It does no I/O and knows nothing of HTTP, so that other programs can
// ask the same questions.
package admission

import (
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/essential-containers/essential-containers/internal/essential"
)

// Answer is the answer about one object. Its zero value admits the object as it is.
type Answer struct {
	Result   Result
	Patch    []jsonpatch.Operation // of a pod
	Warnings []string              // for the user, one sentence each
	Denial   field.ErrorList       // if not empty, the object is rejected
}

// Result says what becomes of the object. It is empty for an object that is admitted
// as it is, and means nothing for one that is rejected.
type Result string

// Results for a pod at its creation.
const (
	Tracked  Result = "tracked"  // the reaper will stop and delete it
	Native   Result = "native"   // its sidecars become native ones
	Fallback Result = "fallback" // as Tracked, although the operator's default is mode Native
)

// Results for a pod's status.
const (
	Succeeded Result = "succeeded" // the phase becomes Succeeded
	Explained Result = "explained" // the phase is Failed, and the reason names the container
	Kept      Result = "kept"      // the stored phase is kept over the kubelet's
)

// maxText bounds what an answer repeats of a text that a request can make as long as
// it likes.
const maxText = 1024

func shorten(text string) string { return essential.Shorten(text, maxText) }
