// Command trimcrds removes the descriptions inside embedded pod templates from generated CRDs.
//
// A pod template's documentation is Kubernetes' own and weighs half a megabyte per copy, while an
// object must stay below the 1.5 MiB that etcd accepts. Everything else keeps its descriptions, so
// that kubectl explain reads like a manual.
//
// Usage: trimcrds FILE...
package main

import (
	"errors"
	"fmt"
	"os"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// maxBytes leaves room below etcd's limit for what the API server adds.
const maxBytes = 1 << 20

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: trimcrds FILE...")
		os.Exit(2)
	}
	for _, path := range os.Args[1:] {
		if err := trimFile(path); err != nil {
			fmt.Fprintf(os.Stderr, "trimcrds: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}

func trimFile(path string) error {
	raw, err := os.ReadFile(path) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	var crd map[string]any
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		return fmt.Errorf("parsing: %w", err)
	}
	if crd["kind"] != "CustomResourceDefinition" {
		return errors.New("not a CustomResourceDefinition")
	}
	trim(crd, false)
	out, err := yaml.Marshal(crd)
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if len(out) > maxBytes {
		return fmt.Errorf("%d bytes, above %d: the API server would refuse it with its managed fields", len(out), maxBytes)
	}
	var typed apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(out, &typed); err != nil {
		return fmt.Errorf("checking the result: %w", err)
	}
	return os.WriteFile(path, append([]byte("---\n"), out...), 0o644) //nolint:gosec // manifests are public
}

// trim walks a schema; inside is true below a property named template, whose own description stays.
func trim(node any, inside bool) {
	switch n := node.(type) {
	case map[string]any:
		if _, text := n["description"].(string); inside && text {
			delete(n, "description")
		}
		for key, child := range n {
			if properties, ok := child.(map[string]any); ok && key == "properties" {
				trimProperties(properties, inside)
				continue
			}
			trim(child, inside)
		}
	case []any:
		for _, child := range n {
			trim(child, inside)
		}
	}
}

func trimProperties(properties map[string]any, inside bool) {
	for name, property := range properties {
		template, isMap := property.(map[string]any)
		if inside || name != "template" || !isMap {
			trim(property, inside)
			continue
		}
		description := template["description"]
		trim(template, true)
		template["description"] = description
	}
}
