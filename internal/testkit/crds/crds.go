// Package crds installs CustomResourceDefinitions from a directory of manifests into an API server.
//
// It must never delete one: objects would go with it.
package crds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/internal/testkit/poll"
)

// FieldManager owns what InstallDir applies.
const FieldManager = "multiactive-crds"

const (
	kind         = "CustomResourceDefinition"
	pollInterval = 50 * time.Millisecond
	yamlBuffer   = 4096
)

var resource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// InstallDir applies every CustomResourceDefinition in the *.yaml files of dir (server-side apply) and
// waits until all are served, at most until ctx ends. It returns their names in the order of the files.
// A directory that has none, or that does not exist, gives no names and no error; a document of
// another kind is an error.
func InstallDir(ctx context.Context, config *rest.Config, dir string) ([]string, error) {
	definitions, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("reading CRDs: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("installing CRDs: %w", err)
	}
	names := make([]string, 0, len(definitions))
	for _, definition := range definitions {
		name := definition.GetName()
		options := metav1.ApplyOptions{FieldManager: FieldManager, Force: true}
		if _, err := client.Resource(resource).Apply(ctx, name, definition, options); err != nil {
			return nil, fmt.Errorf("installing CRD %s: %w", name, err)
		}
		names = append(names, name)
	}
	for _, name := range names {
		err := poll.Until(ctx, pollInterval, func(ctx context.Context) error { return served(ctx, client, name) })
		if err != nil {
			return nil, fmt.Errorf("waiting for CRD %s: %w", name, err)
		}
	}
	return names, nil
}

// served returns nil when the definition is established and each served version answers a list: the
// API server announces a definition slightly before it answers for it.
func served(ctx context.Context, client dynamic.Interface, name string) error {
	definition, err := client.Resource(resource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if problem := establishing(definition); problem != nil {
		return problem
	}
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, entry := range versions {
		version, _ := entry.(map[string]any)
		if isServed, _ := version["served"].(bool); !isServed {
			continue
		}
		versionName, _ := version["name"].(string)
		gvr := schema.GroupVersionResource{Group: group, Version: versionName, Resource: plural}
		if _, err := client.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			return err
		}
	}
	return nil
}

// establishing returns nil for an established definition, otherwise what the API server says.
func establishing(definition *unstructured.Unstructured) error {
	conditions, _, err := unstructured.NestedSlice(definition.Object, "status", "conditions")
	if err != nil {
		return err
	}
	said := "no condition yet"
	for _, entry := range conditions {
		condition, _ := entry.(map[string]any)
		switch {
		case condition["type"] == "Established" && condition["status"] == "True":
			return nil
		case condition["status"] == "False":
			said = fmt.Sprintf("%v: %v", condition["type"], condition["message"])
		}
	}
	return fmt.Errorf("not established: %s", said)
}

func read(dir string) ([]*unstructured.Unstructured, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var definitions []*unstructured.Unstructured
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		found, err := decode(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		definitions = append(definitions, found...)
	}
	return definitions, nil
}

func decode(content []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), yamlBuffer)
	var found []*unstructured.Unstructured
	for i := 1; ; i++ {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
			continue // nothing between two separators
		}
		definition := &unstructured.Unstructured{}
		if err := definition.UnmarshalJSON(raw); err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		if definition.GetKind() != kind {
			return nil, fmt.Errorf("document %d is a %s; only %s belongs here", i, definition.GetKind(), kind)
		}
		found = append(found, definition)
	}
}
