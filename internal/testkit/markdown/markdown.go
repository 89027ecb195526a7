// Package markdown reads the pages of this repository for tests that compare them with the code: their
// links, headings and code. It knows what these pages use of Markdown, and no more.
package markdown

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Page is one page.
type Page struct {
	// Path is relative to the root that it was read from, with slashes.
	Path string
	// Blocks are its fenced blocks, in order.
	Blocks []Block
	// Headings are its headings' texts, in order.
	Headings []string
	// prose is the page without fenced blocks and headings' marks.
	prose string
}

// Block is a fenced block.
type Block struct {
	// Language is what stands behind the fence, such as yaml; empty without.
	Language string
	// Line is the number of the block's first line in the page, from 1.
	Line int
	// Text is the block without its indentation.
	Text string
}

var (
	span = regexp.MustCompile("`[^`]+`")
	link = regexp.MustCompile(`\]\(([^()\s]*(?:\([^()]*\)[^()\s]*)*)(?: "[^"]*")?\)`)
)

// Pages reads every page below root, but for what is built (bin) and hidden directories.
func Pages(root string) ([]Page, error) {
	var out []Page
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (d.Name() == "bin" || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		p := Parse(string(content))
		p.Path = filepath.ToSlash(name)
		out = append(out, p)
		return nil
	})
	return out, err
}

// Parse reads a page's text.
func Parse(text string) Page {
	var p Page
	var prose strings.Builder
	var block *Block
	indent := ""
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimLeft(line, " \t")
		switch {
		case strings.HasPrefix(trimmed, "```") && block == nil:
			indent = line[:len(line)-len(trimmed)]
			block = &Block{Language: strings.TrimSpace(strings.TrimLeft(trimmed, "`")), Line: i + 2}
		case strings.HasPrefix(trimmed, "```"):
			p.Blocks, block = append(p.Blocks, *block), nil
		case block != nil:
			block.Text += strings.TrimPrefix(line, indent) + "\n"
		default:
			if marks := len(line) - len(strings.TrimLeft(line, "#")); marks > 0 && strings.HasPrefix(line[marks:], " ") {
				line = strings.TrimSpace(line[marks:])
				p.Headings = append(p.Headings, line)
			}
			prose.WriteString(line + "\n")
		}
	}
	p.prose = prose.String()
	return p
}

// Links returns the targets of its links, those in code left out.
func (p Page) Links() []string {
	var out []string
	for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(p.prose, ""), -1) {
		out = append(out, m[1])
	}
	return out
}

// Code returns the lines of its blocks, those that a backslash continues as one, and its spans of code.
func (p Page) Code() []string {
	var out []string
	for _, b := range p.Blocks {
		out = append(out, strings.Split(strings.ReplaceAll(b.Text, "\\\n", " "), "\n")...)
	}
	for _, s := range span.FindAllString(strings.ReplaceAll(p.prose, "\n", " "), -1) {
		out = append(out, strings.Trim(s, "`"))
	}
	return out
}

// Anchors returns what can stand behind # in a link to the page, as GitHub makes it from headings.
func (p Page) Anchors() map[string]bool {
	out := map[string]bool{}
	for _, h := range p.Headings {
		anchor := Anchor(h)
		for n := 1; out[anchor]; n++ {
			anchor = Anchor(h) + "-" + strconv.Itoa(n)
		}
		out[anchor] = true
	}
	return out
}

// Anchor returns a heading's anchor: its text in lower case, without marks and punctuation, with hyphens for spaces.
func Anchor(heading string) string {
	heading = link.ReplaceAllString(heading, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}
