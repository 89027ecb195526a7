package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	wrong := filepath.Join(dir, "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("origin: Beijing_1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		arguments []string
		code      int
		say       string
	}{
		"help teaches":            {[]string{"--help"}, 0, "origin: beijing"},
		"its version":             {[]string{"--version"}, 0, version},
		"no configuration":        {nil, 2, "--config is needed"},
		"an unknown flag":         {[]string{"--wild"}, 2, "wild"},
		"an argument":             {[]string{"--config", wrong, "x"}, 2, `"x"`},
		"a missing configuration": {[]string{"--config", filepath.Join(dir, "none"), "--listen", "127.0.0.1:0"}, 2, "none"},
		"a wrong configuration":   {[]string{"--config", wrong, "--listen", "127.0.0.1:0"}, 2, "Beijing_1"},
		"a tiny buffer":           {[]string{"--config", wrong, "--buffer-bytes", "5"}, 2, "--buffer-bytes is 5"},
		"a wild address":          {[]string{"--config", wrong, "--listen", "nowhere"}, 1, "--listen"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			if code := run(t.Context(), tt.arguments, &said, &said); code != tt.code || !strings.Contains(said.String(), tt.say) {
				t.Errorf("exit status %d, said %q; want %d and %q", code, said.String(), tt.code, tt.say)
			}
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mirror.yaml")
	// Nothing listens on these ports: a mirror waits for its clusters, and
	// stops when told to all the same.
	if err := os.WriteFile(path, []byte(`{origin: beijing, source: {brokers: ["127.0.0.1:1"]}, target: {brokers: ["127.0.0.1:2"]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var said strings.Builder
	if code := run(ctx, []string{"--config", path, "--listen", "127.0.0.1:0"}, io.Discard, &said); code != 0 {
		t.Errorf("exit status %d after a signal, said %q", code, said.String())
	}
}
