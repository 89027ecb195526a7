package lint_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/lint"
)

// TestPartial takes parts out of a whole declaration: files need not be what the API server would let pass, and a
// webhook must not fall over them. Each finding must still be whole, and the same when it is asked for again.
func TestPartial(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../examples/user/multiactiveservice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		var tree map[string]any
		if err := yaml.Unmarshal(example, &tree); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 6).Draw(t, "cuts") {
			cut(t, tree["spec"])
		}
		raw, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var mas v1alpha1.MultiActiveService
		if err := json.Unmarshal(raw, &mas); err != nil {
			t.Fatal(err)
		}
		in := lint.Context{Service: &mas, Complete: rapid.Bool().Draw(t, "complete")}
		result := lint.Check(in)
		for _, f := range result.Findings {
			seen[f.Code] = true
			if f.Path == "" || f.Message == "" || f.Consequence == "" || f.Fix == "" {
				t.Errorf("not whole: %+v", f)
			}
		}
		if diff := cmp.Diff(result, lint.Check(in)); diff != "" {
			t.Errorf("another time, another result:\n%s", diff)
		}
	})
	if len(seen) == 0 {
		t.Error("nothing was found in any of them")
	}
}

// cut goes down a random way and takes out what is there.
func cut(t *rapid.T, node any) {
	switch n := node.(type) {
	case map[string]any:
		if len(n) == 0 {
			return
		}
		key := rapid.SampledFrom(slices.Sorted(maps.Keys(n))).Draw(t, "key")
		if _, list := n[key].([]any); list || rapid.Bool().Draw(t, "deeper") {
			cut(t, n[key])
			return
		}
		delete(n, key)
	case []any:
		if len(n) > 0 {
			cut(t, n[rapid.IntRange(0, len(n)-1).Draw(t, "element")])
		}
	}
}
