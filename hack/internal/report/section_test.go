package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSave(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	for _, step := range []struct{ command, text, want string }{
		{"one", "# A\n", "<one># A\n</one>"},
		{"two", "\n# B\n\n", "<one># A\n</one>\n<two># B\n</two>"},
		{"one", "# A2", "<one># A2\n</one>\n<two># B\n</two>"},
		{"two", "# B2\nmore\n", "<one># A2\n</one>\n<two># B2\nmore\n</two>"},
	} {
		if err := Save(page, step.command, []byte(step.text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"one", "two"} {
			step.want = strings.ReplaceAll(step.want, "</"+command+">", "<!-- "+command+" writes this: end -->\n")
			step.want = strings.ReplaceAll(step.want, "<"+command+">", "<!-- "+command+" writes this: begin -->\n")
		}
		if string(got) != step.want {
			t.Errorf("after %s the page is %q, want %q", step.command, got, step.want)
		}
	}
}

// What nobody marked is a person's, and stays.
func TestReplaceKeepsOthers(t *testing.T) {
	got, err := Replace([]byte("# By hand\n"), "one", []byte("text"))
	if want := "# By hand\n\n<!-- one writes this: begin -->\ntext\n<!-- one writes this: end -->\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := Replace([]byte("<!-- one writes this: begin -->\nrest of the page"), "one", []byte("text")); err == nil {
		t.Error("a section without an end was replaced")
	}
}
