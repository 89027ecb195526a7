package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var mention = regexp.MustCompile(`\bdocs/[A-Za-z0-9_/-]+\.md(?:#[a-z0-9-]+)?`)

// TestDocsMentions looks for the pages and headings that code, charts and examples send people to.
func TestDocsMentions(t *testing.T) {
	anchors := map[string]map[string]bool{}
	for _, p := range pages(t) {
		anchors[p.Path] = p.Anchors()
	}
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "bin" || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".yaml", ".txt", ".tpl", ".sh", ".json", ""}, filepath.Ext(path)):
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range mention.FindAllString(string(content), -1) {
			seen++
			page, heading, _ := strings.Cut(m, "#")
			if known, there := anchors[page]; !there || heading != "" && !known[heading] {
				t.Errorf("%s sends people to %s, which is not there", path, m)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("only %d mentions of pages were found", seen)
	}
}
