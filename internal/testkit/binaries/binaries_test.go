package binaries_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/testkit/binaries"
)

// module makes a module root with the given programs under bin/kubernetes and works in a folder below.
func module(t *testing.T, programs ...string) (root string) {
	t.Helper()
	root = t.TempDir()
	write(t, filepath.Join(root, "go.mod"), 0o600)
	for _, program := range programs {
		write(t, filepath.Join(root, "bin", "kubernetes", program), 0o700)
	}
	below := filepath.Join(root, "internal", "deep")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	return root
}

func write(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
}

func TestFindPrefersTheAssetsDirectory(t *testing.T) {
	root := module(t, binaries.Etcd, binaries.Kubectl)
	assets := t.TempDir()
	write(t, filepath.Join(assets, binaries.Etcd), 0o700)
	t.Setenv(binaries.EnvAssets, assets)
	for name, want := range map[string]string{
		binaries.Etcd:    filepath.Join(assets, binaries.Etcd),
		binaries.Kubectl: filepath.Join(root, "bin", "kubernetes", binaries.Kubectl),
	} {
		if got, err := binaries.Find(name); err != nil || got != want {
			t.Errorf("%s: got %q and error %v, want %q", name, got, err, want)
		}
	}
}

func TestFindSaysWhatToDo(t *testing.T) {
	root := module(t)
	t.Setenv(binaries.EnvAssets, "")
	write(t, filepath.Join(root, "bin", "kubernetes", binaries.KubeAPIServer), 0o600) // not executable
	_, err := binaries.Find(binaries.KubeAPIServer)
	if !errors.Is(err, binaries.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	for _, want := range []string{binaries.KubeAPIServer, root, "make tools", binaries.EnvAssets} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not mention %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the hint %q is longer than one line", err)
	}
}

func TestOutsideOfAModule(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv(binaries.EnvAssets, "")
	if _, err := binaries.ModuleRoot(); err == nil || !strings.Contains(err.Error(), "no go.mod") {
		t.Errorf("got error %v, want one that says that there is no go.mod", err)
	}
	if _, err := binaries.Find(binaries.Etcd); !errors.Is(err, binaries.ErrNotFound) {
		t.Errorf("got error %v, want ErrNotFound", err)
	}
}
