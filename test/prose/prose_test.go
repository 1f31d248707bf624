// Package prose checks the words of comments, messages and documents against the
// project's list: every text is plain English, as the Kubernetes documentation writes it.
package prose

import (
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// replaced are words that a reader has to decode, and what to write instead.
var replaced = []struct {
	words  *regexp.Regexp
	advice string
}{
	{word(`nobody|somebody|anybody|everybody|whoever|no one|those who`), "name the actor: the kubelet, the API server, the user, the cluster admin, the reaper"},
	{word(`beside`), "next to, compared with, or in addition to"},
	{word(`tells?|told|telling`), "logs, reports, emits an event, returns, shows"},
	{word(`stands|stood`), "is"},
	{word(`comes about|came about`), "happens"},
	{word(`goes by|go by|went by`), "follows, passes"},
	{word(`goes on|go on|went on`), "keeps running, continues"},
	{word(`lets? (it|them|the pod|a pod) go`), "opts out, releases"},
	{word(`came to`), "the outcome"},
	{word(`takes? for|taken for|took for`), "treats as"},
	{word(`sets? aside`), "reserves"},
	{word(`puts? up with`), "tolerates"},
	{word(`meanwhile`), "while that happens"},
	{word(`anew`), "again"},
	{word(`for ever`), "forever"},
	{word(`the begin`), "the start"},
}

func word(alternatives string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(` + strings.ReplaceAll(alternatives, " ", `\s+`) + `)\b`)
}

// text is prose in a file.
type text struct {
	line int
	text string
}

func TestWords(t *testing.T) {
	names := files(t)
	if len(names) < 100 {
		t.Fatalf("git lists only %d files", len(names))
	}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range prose(name, content) {
			for _, f := range findings(p.text) {
				t.Errorf("%s:%d: %s", name, p.line, f)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	for sentence, want := range map[string]int{
		"The reaper stops the pod.":                 0,
		"Nobody stops it, and it goes on for ever.": 3,
		"Containers beside main":                    1,
		"Besides, a standard term":                  0,
		"what containers came\nto":                  1,
	} {
		if got := findings(sentence); len(got) != want {
			t.Errorf("%q: %q, want %d", sentence, got, want)
		}
	}
}

func TestProseOfGo(t *testing.T) {
	source := "package p\n\n// beside is a comment.\nvar beside = \"a message\" + `raw`\n"
	want := []text{{3, "// beside is a comment."}, {4, `"a message"`}, {4, "`raw`"}}
	if got := prose("p.go", []byte(source)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

const root = "../.."

// files are the project's own texts. This package names the words.
func files(t *testing.T) []string {
	t.Helper()
	output, err := exec.Command("git", "-C", root, "ls-files", "--",
		"*.go", "*.md", "*.yaml", "*.yml", "*.json", "*.tpl", "*.txt", "*.sh", "Makefile", "*Dockerfile",
		":!test/prose", ":!**/testdata/**", ":!docs/performance/results.json").Output()
	if err != nil {
		t.Fatalf("listing the files: %v", err)
	}
	return strings.Fields(string(output))
}

// prose are the comments and the strings of Go source, and all lines of other files.
func prose(name string, content []byte) (found []text) {
	if filepath.Ext(name) != ".go" {
		for i, line := range strings.Split(string(content), "\n") {
			found = append(found, text{i + 1, line})
		}
		return found
	}
	set := token.NewFileSet()
	file := set.AddFile(name, -1, len(content))
	var s scanner.Scanner
	s.Init(file, content, nil, scanner.ScanComments)
	for {
		position, kind, literal := s.Scan()
		switch kind {
		case token.EOF:
			return found
		case token.COMMENT, token.STRING:
			found = append(found, text{file.Line(position), literal})
		}
	}
}

// findings are the replaced words of a text, each with the advice.
func findings(text string) (found []string) {
	for _, r := range replaced {
		for _, match := range r.words.FindAllString(text, -1) {
			found = append(found, strings.Join(strings.Fields(match), " ")+": write "+r.advice)
		}
	}
	return found
}
