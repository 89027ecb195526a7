package gateway

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"strconv"
	"testing"
)

// TestReasonsAreComplete reads the declared constants, so that none is forgotten in the table.
func TestReasonsAreComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[Reason]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Reason" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared[Reason(text)] = true
		}
		return true
	})
	if len(declared) != len(reasons) {
		t.Errorf("%d reasons are declared, %d are in the table", len(declared), len(reasons))
	}
	for reason := range declared {
		info, ok := reasons[reason]
		if !ok || http.StatusText(info.status) == "" || info.title == "" || info.grpc == 0 {
			t.Errorf("reason %s has no complete entry: %+v", reason, info)
		}
		if info.status < http.StatusInternalServerError && (info.retryAfter > 0 || info.affected && reason != ReasonRegenerate) {
			t.Errorf("reason %s is the request's own fault, and its entry says otherwise", reason)
		}
	}
}

// TestEveryRefusalIsExplained checks that no decision is refused with a bare title.
func TestEveryRefusalIsExplained(t *testing.T) {
	r := mustCompile(t, testConfig())
	for _, reason := range []Reason{
		ReasonShed, ReasonClosed, ReasonHomeLost, ReasonHomeReturning, ReasonHomeDrained, ReasonHomeAbsent,
		ReasonHomeExcluded, ReasonNoHome, ReasonFenced, ReasonSecondHop, ReasonNoPeerKey, ReasonNoEndpoint,
	} {
		if got := r.describe(decision{reason: reason, region: 1}, 0); got == reasons[reason].title {
			t.Errorf("%s is not explained", reason)
		}
	}
}
