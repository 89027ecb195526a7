// Package docs_test compares the pages of this repository with what they tell of: files, headings, resources,
// values of the chart, reasons. Commands are compared beside the plugin.
package docs_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit/markdown"
)

const root = "../.."

func pages(t *testing.T) []markdown.Page {
	t.Helper()
	out, err := markdown.Pages(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("found %d pages only: they are looked for in the wrong place", len(out))
	}
	return out
}

// TestDocsLinks follows every link that leads to a file or a heading of this repository.
func TestDocsLinks(t *testing.T) {
	all := pages(t)
	anchors := map[string]map[string]bool{}
	for _, p := range all {
		anchors[p.Path] = p.Anchors()
	}
	for _, p := range all {
		for _, link := range p.Links() {
			u, err := url.Parse(link)
			if err != nil {
				t.Errorf("%s: the link %q is none: %v", p.Path, link, err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			target := p.Path
			if u.Path != "" {
				target = path.Join(path.Dir(p.Path), u.Path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere: there is no %s", p.Path, link, target)
				continue
			}
			if u.Fragment != "" && anchors[target] != nil && !anchors[target][u.Fragment] {
				t.Errorf("%s: the link to %s leads nowhere: %s has no heading #%s", p.Path, link, target, u.Fragment)
			}
		}
	}
}

// TestDocsManifests reads every whole object of this project that a page shows, and knows every field of it.
func TestDocsManifests(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, p := range pages(t) {
		for _, b := range p.Blocks {
			if b.Language != "yaml" {
				continue
			}
			for _, document := range documents(t, b.Text) {
				if !bytes.Contains(document, []byte("apiVersion: "+v1alpha1.GroupVersion.Group)) {
					continue // a part of an object, or somebody else's
				}
				kind := struct{ APIVersion, Kind string }{}
				if err := yaml.Unmarshal(document, &kind); err != nil {
					t.Errorf("%s:%d: not YAML: %v", p.Path, b.Line, err)
					continue
				}
				seen++
				object, err := scheme.New(schema.FromAPIVersionAndKind(kind.APIVersion, kind.Kind))
				if err != nil {
					t.Errorf("%s:%d: %v", p.Path, b.Line, err)
				} else if err := yaml.UnmarshalStrict(document, object); err != nil {
					t.Errorf("%s:%d: %s: %v", p.Path, b.Line, kind.Kind, err)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d objects of %s were found in the pages", seen, v1alpha1.GroupVersion.Group)
	}
}

func documents(t *testing.T, text string) [][]byte {
	t.Helper()
	var out [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(document)) > 0 {
			out = append(out, document)
		}
	}
}

var set = regexp.MustCompile(`--set(?:-string|-json|-file)?[ =]'?"?([A-Za-z][\w.]*)(\[\d+\][\w.\[\]]*)?=`)

// TestDocsValues finds every value that a page sets among those of the chart.
func TestDocsValues(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "charts", "multiactive", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(content, &values); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, p := range pages(t) {
		for _, code := range p.Code() {
			for _, m := range set.FindAllStringSubmatch(code, -1) {
				seen++
				if !declares(values, strings.Split(m[1], ".")) {
					t.Errorf("%s: the chart has no value %s, which %q sets", p.Path, m[1], code)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d values were found in the pages", seen)
	}
}

// declares tells whether there is such a value, or one above it that holds what people like.
func declares(values map[string]any, names []string) bool {
	value, there := values[names[0]]
	if !there || len(names) == 1 {
		return there
	}
	below, isMap := value.(map[string]any)
	if !isMap {
		return false
	}
	return len(below) == 0 || declares(below, names[1:])
}
