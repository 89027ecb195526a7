package image_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit/binaries"
)

// krew runs the script that packs the plugin.
func krew(t *testing.T, platforms string, args ...string) (string, error) {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), filepath.Join(root, "hack", "krew.sh"), args...)
	command.Env = append(os.Environ(), "PLATFORMS="+platforms)
	out, err := command.CombinedOutput()
	return string(out), err
}

// TestKrew has krew's manifest name an archive that is there, with the plugin of that version in it.
func TestKrew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const url = "https://downloads.example.com/v9.8.7"
	if out, err := krew(t, "linux/amd64", "v9.8.7", url+"/", dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(filepath.Join(dir, "multiactive.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Kind     string
		Metadata struct{ Name string }
		Spec     struct {
			Version, ShortDescription string
			Platforms                 []struct {
				Selector         struct{ MatchLabels map[string]string }
				URI, SHA256, Bin string
			}
		}
	}
	if err := yaml.Unmarshal(content, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Kind != "Plugin" || manifest.Metadata.Name != "multiactive" || manifest.Spec.Version != "v9.8.7" || len(manifest.Spec.ShortDescription) > 50 || len(manifest.Spec.Platforms) != 1 {
		t.Fatalf("the manifest is\n%s", content)
	}
	p := manifest.Spec.Platforms[0]
	name, found := strings.CutPrefix(p.URI, url+"/")
	archive, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || !found {
		t.Fatalf("%s is not there: %v", p.URI, err)
	}
	if sum := sha256.Sum256(archive); hex.EncodeToString(sum[:]) != p.SHA256 {
		t.Errorf("%s has another sum than the manifest says", name)
	}
	plugin := filepath.Join(t.TempDir(), p.Bin)
	if err := os.WriteFile(plugin, packed(t, archive, "./"+p.Bin), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), plugin, "version", "--client").CombinedOutput(); err != nil || !strings.Contains(string(out), "v9.8.7") {
		t.Errorf("its version: %v\n%s", err, out)
	}
	packed(t, archive, "./LICENSE")
}

func TestKrewRefusesWhatIsNoVersion(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"9.8.7", "v9.8", "dev", "v1.2.3; true"} {
		if out, err := krew(t, "linux/amd64", version, "https://downloads.example.com", t.TempDir()); err == nil || !strings.Contains(out, "semantic version") {
			t.Errorf("version %q: %v\n%s", version, err, out)
		}
	}
}

// packed returns a file of an archive of krew's kind.
func packed(t *testing.T, archive []byte, name string) []byte {
	t.Helper()
	content, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return memberOf(t, content, "the plugin's archive", name)
}
