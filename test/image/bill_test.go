package image_test

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkBill checks that the bill of materials has every program with all modules that it was built from.
func (img image) checkBill(t *testing.T, programs []string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(img.root, bill))
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		BOMFormat, SpecVersion string
		Components             []struct {
			Type, Name, Version, PURL string
			Ref                       string `json:"bom-ref"`
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	decode(t, content, &read)
	if read.BOMFormat != "CycloneDX" || read.SpecVersion != "1.6" {
		t.Errorf("the bill is of format %s %s", read.BOMFormat, read.SpecVersion)
	}
	known := map[string]bool{}
	for _, c := range read.Components {
		if known[c.Ref] || c.Type == "library" && c.PURL != "pkg:golang/"+c.Name+"@"+strings.ReplaceAll(c.Version, "+", "%2B") {
			t.Errorf("component %+v is there twice, or is named wrongly", c)
		}
		known[c.Ref] = true
	}
	uses := map[string][]string{}
	for _, d := range read.Dependencies {
		uses[d.Ref] = d.DependsOn
	}
	for _, name := range programs {
		info, err := buildinfo.ReadFile(filepath.Join(img.root, name))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"pkg:golang/stdlib@" + strings.TrimPrefix(info.GoVersion, "go")}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			want = append(want, "pkg:golang/"+m.Path+"@"+strings.ReplaceAll(m.Version, "+", "%2B"))
		}
		slices.Sort(want)
		if !known[name] || !slices.Equal(uses[name], want) {
			t.Errorf("the bill has of %s: %v, want %v", name, uses[name], want)
		}
		for _, ref := range uses[name] {
			if !known[ref] {
				t.Errorf("%s needs %s, which is no component", name, ref)
			}
		}
	}
}
