package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"multiactive.dev/operator/internal/testkit/markdown"
)

var (
	called = regexp.MustCompile(`kubectl multiactive((?: +[^\s|;>&#"'()\x60…]+| +"[^"]*"| +'[^']*')*)`)
	word   = regexp.MustCompile(`"[^"]*"|'[^']*'|\S+`)
)

// TestDocsCommands finds every command and flag that a page shows among those that there are.
func TestDocsCommands(t *testing.T) {
	pages, err := markdown.Pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range pages {
		for _, code := range p.Code() {
			for _, m := range called.FindAllStringSubmatch(code, -1) {
				root := newRoot(&terminal{})
				words := word.FindAllString(m[1], -1)
				name, wrong := unknown(root, words)
				seen[name] = true
				if wrong != "" {
					t.Errorf("%s: %q: %s", p.Path, strings.TrimSpace(m[0]), wrong)
				}
			}
		}
	}
	for _, c := range newRoot(&terminal{}).Commands() {
		if c.Name() != "help" && !seen[c.Name()] {
			t.Errorf("no page shows kubectl multiactive %s", c.Name())
		}
	}
}

func TestUnknown(t *testing.T) {
	for line, want := range map[string]string{
		"":                                     "",
		"drain beijing --yes -o yaml":          "",
		"coordination adopt --cluster-id=12":   "",
		"status -A --contexts bj,sh --watch":   "",
		"completion kubectl":                   "",
		"--help":                               "",
		"empty beijing":                        "there is no command empty",
		"coordination repair":                  "there is no command repair",
		"drain beijing --at-once":              "there is no flag --at-once",
		"status -X":                            "there is no flag -X",
		"incident beijing-4 --report=markdown": "",
	} {
		if _, got := unknown(newRoot(&terminal{}), strings.Fields(line)); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// unknown returns the name of the command that is called, and what is wrong with the call, if anything.
func unknown(root *cobra.Command, words []string) (name, wrong string) {
	command := root
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") && command.HasSubCommands() {
		next, _, err := command.Find(words[:1])
		if err != nil || next == command {
			return name, "there is no command " + words[0]
		}
		command, words = next, words[1:]
		if name == "" {
			name = command.Name()
		}
	}
	command.InitDefaultHelpFlag()
	for _, w := range words {
		flag, _, _ := strings.Cut(w, "=")
		short := len(flag) == 2 && strings.HasPrefix(flag, "-")
		switch {
		case flag == "-" || flag == "--" || !strings.HasPrefix(flag, "-"):
		case short && command.Flags().ShorthandLookup(flag[1:]) == nil,
			!short && command.Flags().Lookup(strings.TrimPrefix(flag, "--")) == nil:
			return name, "there is no flag " + flag
		}
	}
	return name, ""
}

// TestDocsLint has lint say of a guide's declarations what the guide shows.
func TestDocsLint(t *testing.T) {
	root := filepath.Join("..", "..")
	content, err := os.ReadFile(filepath.Join(root, "docs", "guides", "model-your-service.md"))
	if err != nil {
		t.Fatal(err)
	}
	regions, err := filepath.Glob(filepath.Join(root, "examples", "regions", "*.yaml"))
	if err != nil || len(regions) == 0 {
		t.Fatal("there are no Regions among the examples", err)
	}
	files := map[string]string{}
	for _, name := range regions {
		region, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Join("examples", "regions", filepath.Base(name))] = string(region)
	}
	declared, shown := "", 0
	for _, b := range markdown.Parse(string(content)).Blocks {
		command, want, _ := strings.Cut(b.Text, "\n")
		args, isLint := strings.CutPrefix(command, "$ kubectl multiactive lint ")
		switch {
		case b.Language == "yaml":
			declared = b.Text
		case isLint:
			shown++
			words := strings.Fields(args)
			files[words[1]] = declared
			if _, got, told := lintOf(t, files, "", words...); got+told != want {
				t.Errorf("lint %s (-guide +lint):\n%s", args, cmp.Diff(want, got+told))
			}
		}
	}
	if shown != 2 {
		t.Errorf("the guide shows %d outputs of lint, want 2", shown)
	}
}
