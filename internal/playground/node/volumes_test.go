package node

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestItems writes the keys that a volume names; one that is missing is an error, unless the volume is optional.
func TestItems(t *testing.T) {
	items := []corev1.KeyToPath{{Key: "user.crt", Path: "tls.crt"}, {Key: "user.key", Path: "tls.key"}}
	data := map[string][]byte{"user.crt": []byte("one"), "other.crt": []byte("two")}
	dir := t.TempDir()
	if err := writeFiles(dir, data, items, false); err == nil {
		t.Error("a key is missing, and nothing is said")
	}
	for _, data := range []map[string][]byte{data, nil} {
		dir := t.TempDir()
		if err := writeFiles(dir, data, items, true); err != nil {
			t.Errorf("an optional volume: %v", err)
		}
		files, err := os.ReadDir(dir)
		if err != nil || len(files) != min(len(data), 1) {
			t.Errorf("written are %v, %v", files, err)
		}
	}
	if err := writeFiles(dir, map[string][]byte{"user.crt": []byte("one"), "user.key": []byte("two")}, items, false); err != nil {
		t.Error(err)
	}
	if content, err := os.ReadFile(filepath.Join(dir, "tls.key")); err != nil || string(content) != "two" {
		t.Errorf("tls.key holds %q, %v", content, err)
	}
}
