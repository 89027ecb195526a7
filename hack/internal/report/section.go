// Package report is what the benchmarks' pages have in common: where they were measured, and that each
// command writes a part of a page and leaves the others' alone.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Save puts a section into a page, in place of the one that the command wrote before. Without one it
// goes to the end; without a page it makes one.
func Save(page, command string, text []byte) error {
	content, err := os.ReadFile(page)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the page: %w", err)
	}
	content, err = Replace(content, command, text)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	if err := os.WriteFile(page, content, 0o644); err != nil { //nolint:gosec // a page for everybody
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// Replace is Save on what is in memory.
func Replace(page []byte, command string, text []byte) ([]byte, error) {
	first, last := fmt.Appendf(nil, "<!-- %s writes this: begin -->\n", command), fmt.Appendf(nil, "<!-- %s writes this: end -->\n", command)
	section := bytes.Join([][]byte{first, bytes.TrimSpace(text), []byte("\n"), last}, nil)
	before, rest, found := bytes.Cut(page, first)
	if !found {
		if len(page) == 0 {
			return section, nil
		}
		return bytes.Join([][]byte{bytes.TrimRight(page, "\n"), []byte("\n\n"), section}, nil), nil
	}
	_, after, found := bytes.Cut(rest, last)
	if !found {
		return nil, fmt.Errorf("the section of %s begins and does not end; mend its last line", command)
	}
	return bytes.Join([][]byte{before, section, after}, nil), nil
}
