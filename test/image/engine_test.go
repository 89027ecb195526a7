package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Clients answer nothing useful when no engine is behind them; buildah is its own engine.
func TestBuilds(t *testing.T) {
	const (
		// here are programs that tell how they were called to build; away are those without an engine.
		here = `if [ "$1" = build ]; then echo "${0##*/} $* DOCKER_BUILDKIT=$DOCKER_BUILDKIT BUILDAH_ISOLATION=$BUILDAH_ISOLATION"; fi`
		away = `exit 1`
	)
	tests := map[string]struct {
		programs map[string]string
		// want is how the builder is called; empty when there is none.
		want string
	}{
		"docker": {
			programs: map[string]string{"docker": here, "podman": here, "buildah": here},
			want:     "docker build --tag a:b . DOCKER_BUILDKIT=1 BUILDAH_ISOLATION=",
		},
		"docker's client, podman": {
			programs: map[string]string{"docker": away, "podman": here, "buildah": here, "crun": here},
			want:     "podman build --tag a:b . DOCKER_BUILDKIT= BUILDAH_ISOLATION=",
		},
		"clients, buildah without a runtime": {
			programs: map[string]string{"docker": away, "podman": away, "buildah": here},
			want:     "buildah build --tag a:b . DOCKER_BUILDKIT= BUILDAH_ISOLATION=chroot",
		},
		"clients": {programs: map[string]string{"docker": away, "podman": away}},
		"nothing": {},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			for program, script := range tt.programs {
				if err := os.WriteFile(filepath.Join(path, program), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for _, program := range []string{"bash", "dirname", "timeout"} {
				found, err := exec.LookPath(program)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(found, filepath.Join(path, program)); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "hack", "image.sh"), "build", "--tag", "a:b")
			cmd.Env = []string{"PATH=" + path}
			out, err := cmd.Output()
			if (err != nil) != (tt.want == "") {
				t.Errorf("hack/image.sh: %v", err)
			}
			if got := strings.TrimSpace(string(out)); got != tt.want {
				t.Errorf("called\n%s, want\n%s", got, tt.want)
			}
		})
	}
}
