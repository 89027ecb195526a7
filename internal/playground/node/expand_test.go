package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	lookup := func(name string) (string, bool) {
		value, known := map[string]string{"IP": "127.1.2.3", "EMPTY": ""}[name]
		return value, known
	}
	for in, want := range map[string]string{
		"$(IP):80":    "127.1.2.3:80",
		"x$(EMPTY)y":  "xy",
		"$(UNKNOWN)":  "$(UNKNOWN)",
		"$$(IP)":      "$(IP)",
		"$IP":         "$IP",
		"$(IP":        "$(IP",
		"a$(IP)$(IP)": "a127.1.2.3127.1.2.3",
		"":            "",
		"100$":        "100$",
	} {
		if got := expand(in, lookup); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRelocate(t *testing.T) {
	t.Parallel()
	mounts := []mount{{"/etc/app", "/w/config"}, {"/etc/app/tls", "/w/tls"}, {"/data", "/w/data"}}
	for in, want := range map[string]string{
		"--config=/etc/app/a.yaml": "--config=/w/config/a.yaml",
		"/etc/app/tls/ca.crt":      "/w/tls/ca.crt",
		"/etc/apple":               "/etc/apple",
		"/etc/app":                 "/w/config",
		"http://host/data/x":       "http://host/data/x",
		"A=/data:/etc/app":         "A=/w/data:/w/config",
		"/database":                "/database",
		"nothing":                  "nothing",
	} {
		if got := relocate(in, mounts); got != want {
			t.Errorf("relocate(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFindProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	if err := os.WriteFile(tool, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	programs := Programs{"r.example.com:5000/shop:v1": tool, "r.example.com/any": tool, "r.example.com/all:1": dir}
	for name, c := range map[string]struct {
		image   string
		command []string
		want    string // of the path, or part of the error
	}{
		"exact tag":             {"r.example.com:5000/shop:v1", nil, tool},
		"another tag":           {"r.example.com:5000/shop:v2", nil, "--program r.example.com:5000/shop:v2=COMMAND"},
		"any tag":               {"r.example.com/any:7", nil, tool},
		"digest":                {"r.example.com/any@sha256:00", nil, tool},
		"directory and command": {"r.example.com/all:1", []string{"/tool"}, tool},
		"directory, not in it":  {"r.example.com/all:1", []string{"/other"}, "build it first"},
		"directory, no command": {"r.example.com/all:1", nil, "no command"},
		"port is no tag":        {"r.example.com:5000/shop", nil, "no program stands for image"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := programs.find(c.image, c.command)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
