package sim_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership/sim"
)

// TestDocument holds the tables of docs/concepts/simulation.md to the code.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "concepts", "simulation.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z][A-Za-z]+)` \\|").FindAllSubmatch(page, -1) {
		rows = append(rows, string(row[1]))
	}
	var want []string
	for _, i := range sim.Invariants() {
		want = append(want, string(i))
	}
	for _, m := range sim.Mutants() {
		want = append(want, string(m))
	}
	slices.Sort(rows)
	slices.Sort(want)
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows of the tables (-code +page):\n%s", diff)
	}
}
