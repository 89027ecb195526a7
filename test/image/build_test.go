package image_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// tarFromMake returns what `make image-tar` left.
func tarFromMake(t *testing.T) (archive, version string) {
	t.Helper()
	archive = filepath.Join(root(t), "bin", "image.tar")
	if _, err := os.Stat(archive); err != nil {
		t.Fatalf("%v: run `make image-tar`", err)
	}
	return archive, versionInBin(t)
}

// tarFromPrebuilt builds as `make image-scratch` does.
func tarFromPrebuilt(t *testing.T) (archive, version string) {
	t.Helper()
	b := newBuilder(t)
	b.run("build", "--target", "prebuilt", "--tag", "operator:prebuilt", ".")
	return b.save("operator:prebuilt"), versionInBin(t)
}

// tarFromSources builds as `make image` does, with a stand-in for the Go image: no registry is needed.
func tarFromSources(t *testing.T) (archive, version string) {
	t.Helper()
	b := newBuilder(t)
	volumes := b.goImage("go:here")
	b.run(append(append([]string{"build", "--build-arg", "GO_IMAGE=localhost/go:here", "--build-arg", "VERSION=v1.2.3-test"}, volumes...),
		"--tag", "operator:sources", ".")...)
	return b.save("operator:sources"), "v1.2.3-test"
}

func versionInBin(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(root(t), "bin", "manager"), "--version").Output()
	if err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	return strings.TrimSpace(string(out))
}

// builder is buildah with a storage of its own.
type builder struct {
	t   *testing.T
	dir string
}

func newBuilder(t *testing.T) builder {
	t.Helper()
	b := builder{t: t, dir: t.TempDir()}
	// An image's directories may be read-only, and are removed all the same.
	t.Cleanup(func() {
		if err := filepath.WalkDir(b.dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			return os.Chmod(path, 0o700)
		}); err != nil {
			t.Error(err)
		}
	})
	return b
}

// run runs buildah in the module's root directory.
func (b builder) run(args ...string) {
	b.t.Helper()
	path, err := exec.LookPath("buildah")
	if err != nil {
		b.t.Fatalf("%v: run `hack/ensure.sh packages buildah`", err)
	}
	// Plain directories work on every file system and in every sandbox, and so does a changed root.
	storage := []string{"--root", filepath.Join(b.dir, "storage"), "--runroot", filepath.Join(b.dir, "state"), "--storage-driver", "vfs"}
	cmd := exec.CommandContext(b.t.Context(), path, append(storage, args...)...)
	cmd.Dir = root(b.t)
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
	// The signal comes when the thread that started it ends, so it has to be this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if os.Getuid() == 0 {
		// Its mounts are seen by nobody else and end with it, however it ends: what removes the
		// storage afterwards must never meet one. Without root it makes such a namespace itself.
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// save returns an image as a file.
func (b builder) save(tag string) string {
	b.t.Helper()
	archive := filepath.Join(b.t.TempDir(), "image.tar")
	b.run("push", "--quiet", "localhost/"+tag, "docker-archive:"+archive+":localhost/"+tag)
	return archive
}

// goImage makes an image that looks like a Go image once this machine's toolchain, shell, modules and
// compiled packages are mounted into it, as the returned arguments do.
func (b builder) goImage(tag string) (volumes []string) {
	b.t.Helper()
	out, err := exec.CommandContext(b.t.Context(), "go", "env", "-json").Output()
	if err != nil {
		b.t.Fatalf("go env: %v", err)
	}
	var env map[string]string
	if err := json.Unmarshal(out, &env); err != nil {
		b.t.Fatal(err)
	}
	lines := []string{
		"FROM scratch",
		"ENV PATH=/goroot/bin:/usr/bin:/bin GOTOOLCHAIN=local GOMODCACHE=/gomodcache GOCACHE=/gocache",
	}
	for _, name := range []string{"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB"} {
		lines = append(lines, fmt.Sprintf("ENV %s=%q", name, env[name]))
	}
	// Makes the directory for scratch files.
	lines = append(lines, "WORKDIR /tmp")
	context := b.t.TempDir()
	dockerfile := filepath.Join(context, "Dockerfile")
	if err := os.WriteFile(dockerfile, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.run("build", "--file", dockerfile, "--tag", tag, context)

	volumes = []string{
		"--volume", env["GOROOT"] + ":/goroot:ro",
		"--volume", env["GOMODCACHE"] + ":/gomodcache",
		"--volume", env["GOCACHE"] + ":/gocache",
	}
	for _, dir := range []string{"/bin", "/lib", "/lib64", "/usr", "/etc/ssl"} {
		if _, err := os.Stat(dir); err == nil {
			volumes = append(volumes, "--volume", dir+":"+dir+":ro")
		}
	}
	return volumes
}
