package chart

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var update = flag.Bool("update", false, "write the golden files and the table of values in the chart's README")

// rendering is a release of the chart.
type rendering struct {
	name, release string
	args          []string // for helm template and helm install
	cluster       []string // for helm template: what Helm would learn from a cluster
}

var certManager = []string{"--api-versions=cert-manager.io/v1"}

// renderings are golden files. Together they take every branch of every template: see
// TestConditions. YAML reads the release name 007 as a number if it is not quoted.
var renderings = []rendering{
	{"most", "prod", []string{"--values=testdata/values/most.yaml"}, certManager},
	{"least", "007", []string{"--values=testdata/values/least.yaml"}, certManager},
	{"default", release, nil, nil},
}

// manifests returns what Helm renders from the chart in dir, or the error.
func (r rendering) manifests(t *testing.T, dir string) string {
	t.Helper()
	out, err := runHelm(t, slices.Concat([]string{"template", r.release, dir, "--namespace", namespace}, r.args, r.cluster)...)
	if err != nil {
		return err.Error()
	}
	return out
}

// notes returns what Helm prints after an installation of the chart in dir.
func (r rendering) notes(t *testing.T, dir string) string {
	t.Helper()
	out, err := runHelm(t, slices.Concat([]string{"install", r.release, dir, "--namespace", namespace, "--dry-run=client"}, r.args)...)
	if err != nil {
		return err.Error()
	}
	_, notes, found := strings.Cut(out, "\nNOTES:\n")
	if !found {
		t.Fatalf("no notes in:\n%s", out)
	}
	return notes
}

// A changed rendering is a changed golden file: go test ./test/chart -update
func TestGolden(t *testing.T) {
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			compare(t, "testdata/golden/"+r.name+".yaml", r.manifests(t, chartDir))
			compare(t, "testdata/golden/"+r.name+".txt", r.notes(t, chartDir))
		})
	}
}

// compare checks the content of a file, or writes it.
func compare(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if *update {
		err = os.WriteFile(file, []byte(got), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" && !*update {
		t.Errorf("%s: if the change is right, run go test ./test/chart -update (-want +got):\n%s", file, diff)
	}
}

// eachRendering runs a test with the objects of each rendering.
func eachRendering(t *testing.T, test func(t *testing.T, objects []client.Object)) {
	t.Helper()
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			test(t, decode(t, []byte(r.manifests(t, chartDir))))
		})
	}
}

// condition is an action of a template that decides what is rendered.
var condition = regexp.MustCompile(`(?s)(\{\{-? (?:else )?)(if|with|range) (\$\w+(?:, \$\w+)? := )?(.+?)( -?\}\})`)

// Every condition decides something in a golden file or about a refused value: it is
// false in one and true in another. So a new branch needs a value in testdata/values.
func TestConditions(t *testing.T) {
	cases := renderings
	for set := range refusedValues {
		cases = append(cases, rendering{release: release, args: []string{"--set-json", set}})
	}
	for path, source := range chartFiles() {
		if !strings.HasPrefix(path, "templates/") {
			continue
		}
		for _, at := range condition.FindAllStringSubmatchIndex(source, -1) {
			part := func(group int) string {
				if at[2*group] < 0 {
					return ""
				}
				return source[at[2*group]:at[2*group+1]]
			}
			forced := map[string][]string{"if": {"true", "false"}, "with": {`""`}, "range": {"list"}}[part(2)]
			for _, value := range forced {
				action := part(2) + " " + part(3) + value
				changed := source[:at[0]] + part(1) + action + part(5) + source[at[1]:]
				t.Run(path+"/"+part(0)+"/"+action, func(t *testing.T) {
					t.Parallel()
					if !changesARendering(t, cases, path, changed) {
						t.Errorf("%s: with %s, %s in place of %q, all golden files are the same", path, part(0), action, part(4))
					}
				})
			}
		}
	}
}

// changesARendering reports whether Helm renders anything else from a chart in
// which the file has this content.
func changesARendering(t *testing.T, cases []rendering, file, content string) bool {
	t.Helper()
	dir := filepath.Join(t.TempDir(), release)
	for path, original := range chartFiles() {
		target := filepath.Join(dir, path)
		if path == file {
			original = content
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, []byte(original), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	render := rendering.manifests
	if strings.HasSuffix(file, "NOTES.txt") {
		render = rendering.notes
	}
	return slices.ContainsFunc(cases, func(r rendering) bool {
		got := render(r, t, dir)
		if strings.Contains(got, "parse error") {
			t.Fatal(got)
		}
		return strings.ReplaceAll(got, dir, chartDir) != render(r, t, chartDir)
	})
}
