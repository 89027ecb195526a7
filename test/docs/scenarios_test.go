package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// notShown are the words by which the page owns up to a gap.
const notShown = "Not shown yet:"

var (
	// story is a scenario's heading, and what follows until the next.
	story = regexp.MustCompile(`(?m)^## (\d+)\. (.+)$`)
	// shownBy is a line of a scenario's table.
	shownBy = regexp.MustCompile("(?m)^\\| `(Test[^`]+)` \\| `([^`]+)` \\| \\S")
)

// TestDocsScenarios finds every test that the page of scenarios names, and a test or a word of its absence for every
// scenario.
func TestDocsScenarios(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "docs", "scenarios.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, packages := string(content), map[string]testsOf{}
	headings := story.FindAllStringSubmatchIndex(page, -1)
	if len(headings) < 20 {
		t.Fatalf("docs/scenarios.md has %d scenarios: their headings are not read as they are written", len(headings))
	}
	for i, h := range headings {
		number, title, end := page[h[2]:h[3]], page[h[4]:h[5]], len(page)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		if number != strconv.Itoa(i+1) {
			t.Errorf("scenario %s, %s, should be number %d", number, title, i+1)
		}
		text := page[h[1]:end]
		rows := shownBy.FindAllStringSubmatch(text, -1)
		if len(rows) == 0 && !strings.Contains(text, notShown) {
			t.Errorf("scenario %s, %s, has no test: name one, or begin a sentence with %q", number, title, notShown)
		}
		if lines := strings.Count(text, "\n| `"); lines != len(rows) {
			t.Errorf("scenario %s, %s, has %d lines of tests, of which %d can be read: | `test` | `package` | what it shows |", number, title, lines, len(rows))
		}
		for _, row := range rows {
			dir := row[2]
			if packages[dir].names == nil {
				packages[dir] = testsIn(t, dir)
			}
			if why := packages[dir].lacks(row[1]); why != "" {
				t.Errorf("scenario %s names %s in %s: %s", number, row[1], dir, why)
			}
		}
	}
}

// testsOf are a package's tests, and the texts that may name their parts.
type testsOf struct{ names, texts map[string]bool }

// lacks says what of a test's name is not there; empty: nothing.
func (p testsOf) lacks(test string) string {
	name, part, _ := strings.Cut(test, "/")
	switch {
	case !p.names[name]:
		return "there is no such test"
	case part != "" && !p.texts[part]:
		return "nothing there is named like that part of it"
	}
	return ""
}

// testsIn reads the tests of a directory, whatever tags they need.
func testsIn(t *testing.T, dir string) testsOf {
	t.Helper()
	out := testsOf{map[string]bool{}, map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && strings.HasPrefix(n.Name.Name, "Test") {
					out.names[n.Name.Name] = true
				}
			case *ast.BasicLit:
				// go test writes names of parts with lines in place of spaces.
				if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
					out.texts[strings.ReplaceAll(text, " ", "_")] = true
				}
			}
			return true
		})
	}
	return out
}
