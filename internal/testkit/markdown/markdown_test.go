package markdown

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const page = "# One `Two`: three\n" +
	"See [a](b.md#c), [d](<e> \"f\") and `[no](link.md)`.\n" +
	"1. Step\n" +
	"   ```console\n" +
	"   $ first \\\n" +
	"       second\n" +
	"     indented [no](link.md)\n" +
	"   ```\n" +
	"## Twice\n" +
	"## Twice\n" +
	"#hashtag `code that\n" +
	"goes on`\n"

func TestParse(t *testing.T) {
	got := Parse(page)
	want := Page{
		Blocks:   []Block{{Language: "console", Line: 5, Text: "$ first \\\n    second\n  indented [no](link.md)\n"}},
		Headings: []string{"One `Two`: three", "Twice", "Twice"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Page{})); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b.md#c", "<e>"}, got.Links()); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"$ first      second", "  indented [no](link.md)", "", "Two", "[no](link.md)", "code that goes on"}, got.Code()); diff != "" {
		t.Errorf("code (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]bool{"one-two-three": true, "twice": true, "twice-1": true}, got.Anchors()); diff != "" {
		t.Errorf("anchors (-want +got):\n%s", diff)
	}
}

func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"Who may write what in a region's cluster":   "who-may-write-what-in-a-regions-cluster",
		"DeclareLost: a region is gone for good":     "declarelost-a-region-is-gone-for-good",
		"A new region: `join`":                       "a-new-region-join",
		"使用 [Helm](https://helm.sh) 安装（可选）":          "使用-helm-安装可选",
		"What this version does not do yet, or_ever": "what-this-version-does-not-do-yet-or_ever",
	} {
		if got := Anchor(heading); got != want {
			t.Errorf("anchor of %q: got %q, want %q", heading, got, want)
		}
	}
}
