// Package bill writes the bill of materials of programs. It imports nothing but Go's own library, so that it is compiled
// wherever the programs are, and nothing is fetched for it.
package bill

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// Name is the path of the bill of materials in an image.
const Name = "sbom.cdx.json"

// document is a software bill of materials in CycloneDX 1.6, as far as the programs themselves say what is in them: Go
// modules and Go's own library. It has no time and no serial number, so that equal programs have equal bills.
type document struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

// component is a program (application), or a module (library) that is in one.
type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// URL names the package (purl), by which scanners look up what is known of it.
	URL string `json:"purl,omitempty"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// Of reads what programs were built from, and returns that as CycloneDX.
func Of(programs []string) ([]byte, error) {
	out := document{Format: "CycloneDX", SpecVersion: "1.6", Version: 1}
	modules := map[string]component{}
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return nil, fmt.Errorf("reading how %s was built: %w", program, err)
		}
		name := filepath.Base(program)
		uses := dependency{Ref: name}
		for _, m := range append(info.Deps, &debug.Module{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")}) {
			if m.Replace != nil {
				m = m.Replace
			}
			url := "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B")
			modules[url] = component{Type: "library", Ref: url, Name: m.Path, Version: m.Version, URL: url}
			uses.DependsOn = append(uses.DependsOn, url)
		}
		slices.Sort(uses.DependsOn)
		out.Components = append(out.Components, component{Type: "application", Ref: name, Name: name})
		out.Dependencies = append(out.Dependencies, uses)
	}
	out.Components = append(out.Components, slices.SortedFunc(maps.Values(modules), func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })...)
	content, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the bill of materials: %w", err)
	}
	return append(content, '\n'), nil
}
