package docs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/testkit/markdown"
)

// TestDocsTranslations holds translations to the commands, declarations and outputs of what they translate.
func TestDocsTranslations(t *testing.T) {
	byPath := map[string]markdown.Page{}
	for _, p := range pages(t) {
		byPath[p.Path] = p
	}
	for translation, original := range map[string]string{
		"README.zh-CN.md":          "README.md",
		"docs/zh-CN/quickstart.md": "docs/quickstart.md",
	} {
		want, got := texts(byPath[original]), texts(byPath[translation])
		if len(want) == 0 {
			t.Fatalf("%s has no blocks", original)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the blocks of %s differ from those of %s (-original +translation):\n%s", translation, original, diff)
		}
	}
}

func texts(p markdown.Page) []string {
	var out []string
	for _, b := range p.Blocks {
		out = append(out, b.Text)
	}
	return out
}
