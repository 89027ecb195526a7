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

// row is a line of a table of the page that begins with a word in code.
var row = regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)` \\|")

// TestDocsReasons compares the reasons of conditions with the page that explains them: each has one row there.
func TestDocsReasons(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "docs", "guides", "debug.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	rows := map[string]int{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		rows[m[1]]++
	}
	reasons := constants(t, "Reason")
	for name, value := range reasons {
		switch rows[value] {
		case 1:
		case 0:
			t.Errorf("debug.md has no row for %s (%s): say what it means and what to do", value, name)
		default:
			t.Errorf("debug.md has %d rows for %s", rows[value], value)
		}
		delete(rows, value)
	}
	for value := range rows {
		t.Errorf("debug.md explains %s, and no condition has that reason", value)
	}
	for name, value := range constants(t, "Condition") {
		if !strings.Contains(page, "`"+value+"`") {
			t.Errorf("debug.md does not name the condition %s (%s)", value, name)
		}
	}
}

// constants returns the API's string constants whose names begin with the prefix.
func constants(t *testing.T, prefix string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api", "v1alpha1", "conditions.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is no literal", spec.Names[0].Name)
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		out[spec.Names[0].Name] = value
		return true
	})
	if len(out) == 0 {
		t.Fatalf("there are no constants %s…", prefix)
	}
	return out
}
