package reaper

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/essential-containers/essential-containers/api"
	"github.com/essential-containers/essential-containers/test/reference"
)

func TestReferenceListsTheMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	newMetrics(registry, newNotices())
	reference.Table(t, "### Reaper", reference.Metrics(t, registry))
}

// Reasons are constants whose names end so.
func TestReferenceListsTheEvents(t *testing.T) {
	want := []string{api.FailedReason}
	file, err := parser.ParseFile(token.NewFileSet(), "report.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasSuffix(spec.Names[0].Name, "Reason") {
			reason, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, reason)
		}
		return true
	})
	got := reference.FirstColumn(t, "## Events")
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons of the code (-) and of docs/reference.md (+):\n%s", diff)
	}
}
