// Package image_test looks into the container image, as each way of building it leaves it, and runs
// its programs where nothing else is: in the image's root directory, as the image's user.
package image_test

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/testkit/binaries"
)

const (
	certificates = "etc/ssl/certs/ca-certificates.crt"
	// bill is the bill of materials.
	bill = "sbom.cdx.json"
	// helpTimeout is for a program that takes --help for something else.
	helpTimeout = 30 * time.Second
)

func TestImage(t *testing.T) {
	tests := map[string]struct {
		// build returns the image as a file, and the version that its programs tell.
		build func(*testing.T) (archive, version string)
		// prebuilt images hold the very programs of bin/.
		prebuilt bool
		// want is what the image holds besides programs and their bill of materials.
		want map[string]string
	}{
		"make image-tar":       {build: tarFromMake, prebuilt: true},
		"Dockerfile, prebuilt": {build: tarFromPrebuilt, prebuilt: true},
		"Dockerfile": {
			build: tarFromSources,
			want: map[string]string{
				"etc/": "drwxr-xr-x 0:0", "etc/ssl/": "drwxr-xr-x 0:0", "etc/ssl/certs/": "drwxr-xr-x 0:0",
				certificates: "-rw-r--r-- 0:0",
			},
		},
	}
	programs := programs(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			archive, version := tt.build(t)
			img := read(t, archive)
			if diff := cmp.Diff(config{User: "65532:65532", Entrypoint: []string{"/manager"}}, img.config); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
			if want := "linux/" + runtime.GOARCH; img.platform != want {
				t.Errorf("the image is for %s, want %s", img.platform, want)
			}
			if img.layers != 1 {
				t.Errorf("%d layers, want one", img.layers)
			}
			want := map[string]string{bill: "-rw-r--r-- 0:0"}
			maps.Copy(want, tt.want)
			for _, program := range programs {
				want[program] = "-rwxr-xr-x 0:0"
			}
			if diff := cmp.Diff(want, img.files); diff != "" {
				t.Fatalf("files (-want +got):\n%s", diff)
			}
			for _, program := range programs {
				img.checkProgram(t, program, tt.prebuilt)
			}
			img.checkBill(t, programs)
			if got := img.run(t, img.config.Entrypoint[0], "--version"); got != version+"\n" {
				t.Errorf("%s --version says %q, want %q", img.config.Entrypoint[0], got, version)
			}
		})
	}
}

// checkProgram checks that a program needs nothing else from the image, and that it runs.
func (img image) checkProgram(t *testing.T, name string, prebuilt bool) {
	t.Helper()
	path := filepath.Join(img.root, name)
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	interpreted := slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	libraries, err := file.ImportedLibraries()
	if interpreted || err != nil || len(libraries) > 0 {
		t.Errorf("%s is not static: interpreter %t, libraries %v (%v)", name, interpreted, libraries, err)
	}
	if built := filepath.Join(root(t), "bin", name); prebuilt && hash(t, path) != hash(t, built) {
		t.Errorf("%s is not the one in bin/: run `make image-tar`", name)
	}
	// A plugin calls itself as kubectl's users do.
	if help := img.run(t, "/"+name, "--help"); !strings.HasPrefix(help, strings.ReplaceAll(name, "-", " ")+" ") {
		t.Errorf("%s --help says %q", name, help)
	}
}

// run returns what a program says when it runs as in a container of the image.
func (img image) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	uid, gid := img.user(t)
	ctx, cancel := context.WithTimeout(t.Context(), helpTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     img.root,
		Credential: &syscall.Credential{Uid: uid, Gid: gid},
	}
	if os.Getuid() != 0 {
		// Only root may change its root directory: a namespace where this user is the image's.
		cmd.SysProcAttr.Credential.NoSetGroups = true
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: int(uid), HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: int(gid), HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s in the image: %v (without root it takes user namespaces)\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (img image) user(t *testing.T) (uid, gid uint32) {
	t.Helper()
	user, group, _ := strings.Cut(img.config.User, ":")
	u, err := strconv.ParseUint(user, 10, 32)
	if err != nil || u == 0 {
		t.Fatalf("the user is %q, want numbers and not root, or runAsNonRoot refuses it", img.config.User)
	}
	g, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		t.Fatalf("the user is %q, want numbers: the image has no list of groups", img.config.User)
	}
	return uint32(u), uint32(g)
}

// programs are those that the image is for, as far as they exist.
func programs(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, name := range []string{"manager", "gateway", "mirror", "kubectl-multiactive"} {
		if _, err := os.Stat(filepath.Join(root(t), "cmd", name)); err == nil {
			names = append(names, name)
		}
	}
	return names
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func hash(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
