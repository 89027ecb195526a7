package crds_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/crds"
)

const boxes = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boxes.test.multiactive.dev}
spec:
  group: test.multiactive.dev
  scope: Cluster
  names: {kind: Box, listKind: BoxList, plural: boxes, singular: box}
  versions:
  - {name: v1alpha1, served: false, storage: false, schema: {openAPIV3Schema: {type: object}}}
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
---
`

func dir(t *testing.T, files map[string]string) string {
	t.Helper()
	d := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(d, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestInstallDir(t *testing.T) {
	t.Parallel()
	config := testkit.Config(t, testkit.StartServer(t, apiserver.Options{}), apiserver.Admin)
	files := dir(t, map[string]string{"boxes.yaml": boxes, "notes.txt": "not a manifest"})
	for _, round := range []string{"first", "again"} {
		got, err := crds.InstallDir(t.Context(), config, files)
		if err != nil {
			t.Fatalf("%s: %v", round, err)
		}
		if diff := cmp.Diff([]string{"boxes.test.multiactive.dev"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", round, diff)
		}
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	box := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "test.multiactive.dev/v1", "kind": "Box", "metadata": map[string]any{"name": "one"},
	}}
	resource := schema.GroupVersionResource{Group: "test.multiactive.dev", Version: "v1", Resource: "boxes"}
	if _, err := client.Resource(resource).Create(t.Context(), box, metav1.CreateOptions{}); err != nil {
		t.Errorf("an installed kind is not served: %v", err)
	}
	broken := dir(t, map[string]string{"boxes.yaml": strings.ReplaceAll(boxes, "type: object", "type: box")})
	if _, err := crds.InstallDir(t.Context(), config, broken); err == nil || !strings.Contains(err.Error(), "boxes.test.multiactive.dev") {
		t.Errorf("got error %v, want one that names the refused CRD", err)
	}
}

func TestInstallDirReadsBeforeItWrites(t *testing.T) {
	t.Parallel()
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"} // any request would be an error
	for name, test := range map[string]struct{ dir, want string }{
		"empty":        {dir: t.TempDir()},
		"missing":      {dir: filepath.Join(t.TempDir(), "none")},
		"another kind": {dir: dir(t, map[string]string{"a.yaml": "{apiVersion: v1, kind: Secret, metadata: {name: x}}"}), want: "document 1 is a Secret"},
		"no manifest":  {dir: dir(t, map[string]string{"a.yaml": boxes, "b.yaml": "[1, 2"}), want: "b.yaml: document 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names, err := crds.InstallDir(t.Context(), nowhere, test.dir)
			switch {
			case test.want == "" && (err != nil || len(names) != 0):
				t.Errorf("got %v and error %v, want nothing to do", names, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got error %v, want one that mentions %q", err, test.want)
			}
		})
	}
}
