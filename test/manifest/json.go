package manifest

import (
	"encoding/json"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// T is what helpers need of a test, a property's too.
type T interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// Encode returns the JSON of a value.
func Encode(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// Apply returns the document after the patch.
func Apply(t T, document, patch string) string {
	t.Helper()
	decoded, err := jsonpatch.DecodePatch([]byte(patch))
	if err != nil {
		t.Fatalf("decoding patch %s: %v", patch, err)
	}
	patched, err := decoded.Apply([]byte(document))
	if err != nil {
		t.Fatalf("applying %s to %s: %v", patch, document, err)
	}
	return string(patched)
}

// Tree decodes a document so that numbers stay what they are.
func Tree(t T, text string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var out map[string]any
	if err := decoder.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}
