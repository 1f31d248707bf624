// Package prose checks comments, messages and documents: every text is plain English,
// as the Kubernetes documentation writes it. It finds what a list of words, the length
// of a sentence and a question mark can show.
package prose

import (
	"fmt"
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

// maxWords bounds a sentence of a document, or a part of it before a colon or a
// semicolon. The aim is 25.
const maxWords = 35

var (
	code        = regexp.MustCompile("`[^`]*`")
	sentenceEnd = regexp.MustCompile(`[.!?:;]["*)]*\s`)
	// Not the conditional operators of CEL and the optional fields.
	question = regexp.MustCompile(`\w["']?\?(["` + "`" + `\s]|$)`)
	product  = regexp.MustCompile(`^(api|certs|charts|cmd|internal|reaper|webhook)/`)
)

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
			for _, f := range findings(name, p.text) {
				t.Errorf("%s:%d: %s", name, p.line, f)
			}
		}
	}
}

func TestFindings(t *testing.T) {
	long := "The reaper" + strings.Repeat(" very", maxWords-2)
	for _, c := range []struct {
		file, text string
		want       int
	}{
		{"a.go", "The reaper stops the pod.", 0},
		{"a.go", "Nobody stops it, and it goes on for ever.", 3},
		{"a.go", "Containers beside main", 1},
		{"a.go", "Besides, a standard term", 0},
		{"a.go", "what containers came\nto", 1},
		{"a.md", long + ".", 0},
		{"a.md", long + " slowly.", 1},
		{"a.md", long + ": slowly. " + long + "; slowly.", 0},
		{"a.md", long + " `a literal of some words`", 1},
		{"a.go", long + " slowly.", 0},
		{"reaper/a.go", `"is the API server reachable?"`, 1},
		{"reaper/a.go", `"is it %q? Check it"`, 1},
		{"reaper/a.go", `"did you mean %q?"`, 0},
		{"reaper/a_test.go", `"is it?"`, 0},
		{"charts/a.yaml", `object.?metadata.?labels[?"key"] ? "a" : "b"`, 0},
		{"docs/a.md", "Is it?", 0},
	} {
		if got := findings(c.file, c.text); len(got) != c.want {
			t.Errorf("%s: %q: %q, want %d", c.file, c.text, got, c.want)
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

func TestProseOfMarkdown(t *testing.T) {
	page := "# Title\n\nOne,\ntwo.\n- item\n  more\n- item\n\n| a | b |\n```sh\n# code\n\nls\n```\n"
	want := []text{{1, "# Title"}, {3, "One, two."}, {5, "- item more"}, {7, "- item"}, {9, "| a | b |"}, {11, "# code"}, {13, "ls"}}
	if got := prose("p.md", []byte(page)); !slices.Equal(got, want) {
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

// prose are the comments and the strings of Go source, the paragraphs and the lines of
// code and tables in Markdown, and all lines of other files.
func prose(name string, content []byte) (found []text) {
	switch filepath.Ext(name) {
	case ".go":
		return proseOfGo(name, content)
	case ".md":
		return proseOfMarkdown(content)
	}
	for i, line := range strings.Split(string(content), "\n") {
		found = append(found, text{i + 1, line})
	}
	return found
}

// alone is a line of Markdown that starts a text of its own.
var alone = regexp.MustCompile(`^(#|\||\s*([-*]|[0-9]+\.)\s)`)

func proseOfMarkdown(content []byte) (found []text) {
	inCode, continues := false, false
	for i, line := range strings.Split(string(content), "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inCode, continues = !inCode, false
		case line == "":
			continues = false
		case continues && !inCode && !alone.MatchString(line):
			found[len(found)-1].text += " " + strings.TrimSpace(line)
		default:
			found = append(found, text{i + 1, line})
			continues = !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "|")
		}
	}
	return found
}

func proseOfGo(name string, content []byte) (found []text) {
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

// findings are what is wrong with a text of the file, each with the advice.
func findings(name, text string) (found []string) {
	for _, r := range replaced {
		for _, match := range r.words.FindAllString(text, -1) {
			found = append(found, strings.Join(strings.Fields(match), " ")+": write "+r.advice)
		}
	}
	if strings.HasSuffix(name, ".md") && !strings.HasPrefix(text, "|") {
		for _, sentence := range sentenceEnd.Split(code.ReplaceAllString(text, "code"), -1) {
			if words := len(strings.Fields(sentence)); words > maxWords {
				found = append(found, fmt.Sprintf("%d words in one sentence: write several", words))
			}
		}
	}
	// A suggestion is no question.
	if isProduct(name) && question.MatchString(strings.ReplaceAll(text, "did you mean %q?", "")) {
		found = append(found, "a question: write what is wrong, and what to do instead")
	}
	return found
}

// isProduct reports whether users read the messages of the file.
func isProduct(name string) bool {
	return product.MatchString(name) && !strings.HasSuffix(name, "_test.go")
}
