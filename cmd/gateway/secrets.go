package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// secretsEvery is how often the Secret's files are looked at: they change under a running gateway.
const secretsEvery = 10 * time.Second

// secretDir has the files of the gateway's Secret, for whatever needs one; empty: there is none.
type secretDir string

// read returns a file's content without the line break at its end, "" when there is none.
func (d secretDir) read(name string) string {
	if d == "" {
		return ""
	}
	content, _ := os.ReadFile(filepath.Join(string(d), name)) //nolint:gosec // the directory is a flag's; a missing file is empty
	return strings.TrimRight(string(content), "\r\n")
}
