package api_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

// TestExamples has the API server accept every example as it is, without a field that it does not know.
func TestExamples(t *testing.T) {
	server := testkit.StartServer(t, apiserver.Options{})
	testkit.InstallCRDs(t, server)
	client, err := dynamic.NewForConfig(testkit.Config(t, server, apiserver.Admin))
	if err != nil {
		t.Fatal(err)
	}
	namespaces := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	seen := map[string]bool{}
	for file, objects := range examples(t) {
		for _, object := range objects {
			if object.GroupVersionKind().Group != "multiactive.dev" {
				continue
			}
			seen[object.GetKind()] = true
			t.Run(file+"/"+object.GetName(), func(t *testing.T) {
				resource := client.Resource(schema.GroupVersionResource{
					Group: "multiactive.dev", Version: "v1alpha1", Resource: strings.ToLower(object.GetKind()) + "s",
				})
				target := dynamic.ResourceInterface(resource)
				if ns := object.GetNamespace(); ns != "" {
					namespace := &unstructured.Unstructured{Object: map[string]any{
						"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns},
					}}
					_, _ = namespaces.Create(t.Context(), namespace, metav1.CreateOptions{}) // another example may have
					target = resource.Namespace(ns)
				}
				created, err := target.Create(t.Context(), object, metav1.CreateOptions{
					DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
				})
				if err != nil {
					t.Fatal(err)
				}
				// Who waits by kstatus, such as Flux, must not take it for done before the operator has looked at it.
				if object.GetKind() != "Operation" { // an order has no Ready
					if got, err := status.Compute(created); err != nil || got.Status != status.InProgressStatus {
						t.Errorf("kstatus takes it for %+v, %v", got, err)
					}
				}
			})
		}
	}
	for _, kind := range []string{"Region", "DataStore", "MultiActiveService", "Operation"} {
		if !seen[kind] {
			t.Errorf("there is no example of a %s", kind)
		}
	}
}

// examples returns the objects of the examples' manifests by file.
func examples(t *testing.T) map[string][]*unstructured.Unstructured {
	t.Helper()
	out := map[string][]*unstructured.Unstructured{}
	root := filepath.Join("..", "..", "examples")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		out[filepath.ToSlash(name)], err = documents(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func documents(path string) ([]*unstructured.Unstructured, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	reader := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(raw)))
	defer func() { _ = reader.Close() }()
	buffer := make([]byte, len(raw)+1)
	for {
		n, err := reader.Read(buffer)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(buffer[:n], &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			out = append(out, object)
		}
	}
}
