package essential

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/reference"
)

func TestReferenceListsTheKeys(t *testing.T) {
	want := slices.Concat([]string{api.Label, api.Label}, OwnAnnotations, PolicyAnnotations)
	got := reference.FirstColumn(t, "## Labels and annotations")
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys of the code (-) and of docs/reference.md (+):\n%s", diff)
	}
}
