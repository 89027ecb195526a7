package chart_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/testkit/markdown"
)

var (
	installs = regexp.MustCompile(`helm (?:install|upgrade --install) (\S+ charts/multiactive .*)`)
	heredoc  = regexp.MustCompile(`(?s)cat > (\S+\.yaml) <<END\n(.*?)\nEND\n`)
	nodes    = regexp.MustCompile(`\$\(address (\w+)\)`)
)

// TestDocsReleases renders every release that a page installs, with the values that the page gives it.
func TestDocsReleases(t *testing.T) {
	pages, err := markdown.Pages(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	rendered := 0
	for _, p := range pages {
		// What a page says to copy, and what it has the reader write.
		files := map[string]string{"coordination.yaml": filepath.Join("examples", "coordination", "values.yaml")}
		for _, b := range p.Blocks {
			for _, m := range heredoc.FindAllStringSubmatch(b.Text, -1) {
				files[m[1]] = filepath.Join(t.TempDir(), m[1])
				if err := os.WriteFile(files[m[1]], []byte(nodes.ReplaceAllString(m[2], "$1.example.com")), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, code := range p.Code() {
			m := installs.FindStringSubmatch(code)
			if m == nil || strings.Contains(code, "…") {
				continue
			}
			rendered++
			arguments := []string{"template", "--kube-version", kubeVersion}
			words := strings.Fields(strings.ReplaceAll(m[1], "$region", "beijing"))
			for i := 0; i < len(words); i++ {
				switch word := strings.Trim(words[i], "'"); {
				case word == "--kube-context":
					i++ // there is no cluster
				case word == "--create-namespace":
				case files[word] != "":
					arguments = append(arguments, files[word])
				default:
					arguments = append(arguments, word)
				}
			}
			if out, err := command(t, "helm", arguments...).CombinedOutput(); err != nil {
				t.Errorf("%s: %s: %v\n%s", p.Path, code, err, out)
			}
		}
	}
	if rendered < 8 {
		t.Errorf("only %d releases were found in the pages", rendered)
	}
}
