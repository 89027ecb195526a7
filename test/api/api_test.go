// Package api_test holds every validation rule of the API against a real API server: each case of
// testdata is accepted, or refused with the message that it names, and a rule without a refused case
// fails the suite.
package api_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

// suite is one file of testdata: objects to start from, and what changes in them.
type suite struct {
	// Resource is the plural name of the kind.
	Resource   string                    `json:"resource"`
	Namespaced bool                      `json:"namespaced"`
	Bases      map[string]map[string]any `json:"bases"`
	Cases      []apiCase                 `json:"cases"`
}

type apiCase struct {
	Name string `json:"name"`
	// Base names one of the suite's bases; default: the base named default.
	Base string `json:"base"`
	// Patch is a JSON merge patch (RFC 7386) on the base.
	Patch map[string]any `json:"patch"`
	// Update, when present, is a merge patch on the created object: the rule is a transition rule.
	Update map[string]any `json:"update"`
	// Refused is a part of the refusal; empty: the object is accepted.
	Refused string `json:"refused"`
}

func TestEveryRule(t *testing.T) {
	server := testkit.StartServer(t, apiserver.Options{})
	testkit.InstallCRDs(t, server)
	client, err := dynamic.NewForConfig(testkit.Config(t, server, apiserver.Admin))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for file, s := range readSuites(t) {
		resource := client.Resource(schema.GroupVersionResource{Group: "multiactive.dev", Version: "v1alpha1", Resource: s.Resource})
		target := dynamic.ResourceInterface(resource)
		if s.Namespaced {
			target = resource.Namespace("default")
		}
		for _, c := range s.Cases {
			seen[c.Refused] = true
			t.Run(strings.TrimSuffix(file, ".yaml")+"/"+c.Name, func(t *testing.T) { c.run(t, target, s) })
		}
	}
	checkEveryRuleHasARefusal(t, seen)
}

func (c apiCase) run(t *testing.T, target dynamic.ResourceInterface, s suite) {
	base := c.Base
	if base == "" {
		base = "default"
	}
	if s.Bases[base] == nil {
		t.Fatalf("no base %q", base)
	}
	object := &unstructured.Unstructured{Object: merge(t, s.Bases[base], c.Patch)}
	err := c.apply(t.Context(), t, target, object)
	switch {
	case c.Refused == "" && err != nil:
		t.Errorf("refused, want accepted: %v", err)
	case c.Refused != "" && err == nil:
		t.Errorf("accepted, want it refused with %q", c.Refused)
	case c.Refused != "" && !strings.Contains(err.Error(), c.Refused):
		t.Errorf("refused with %v\nwant %q", err, c.Refused)
	}
}

// apply returns the answer to the step that the case is about.
func (c apiCase) apply(ctx context.Context, t *testing.T, target dynamic.ResourceInterface, object *unstructured.Unstructured) error {
	if c.Update == nil {
		_, err := target.Create(ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
		return err
	}
	created, err := target.Create(ctx, object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatalf("creating the object to change: %v", err)
	}
	defer func() {
		if err := target.Delete(ctx, created.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	}()
	changed := &unstructured.Unstructured{Object: merge(t, created.Object, c.Update)}
	_, err = target.Update(ctx, changed, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	return err
}

func merge(t *testing.T, base, patch map[string]any) map[string]any {
	t.Helper()
	if patch == nil {
		patch = map[string]any{}
	}
	original, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	change, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := jsonpatch.MergePatch(original, change)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(merged, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkEveryRuleHasARefusal reads the rules' messages from the CRDs themselves.
func checkEveryRuleHasARefusal(t *testing.T, seen map[string]bool) {
	t.Helper()
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs found: run make generate (%v)", err)
	}
	for _, file := range files {
		var crd apiextensionsv1.CustomResourceDefinition
		readYAML(t, file, &crd)
		for _, version := range crd.Spec.Versions {
			for _, message := range messages(*version.Schema.OpenAPIV3Schema) {
				if !refused(seen, message) {
					t.Errorf("%s: no case of testdata is refused with %q", crd.Spec.Names.Kind, message)
				}
			}
		}
	}
}

func refused(seen map[string]bool, message string) bool {
	for want := range seen {
		if want != "" && strings.Contains(message, want) {
			return true
		}
	}
	return false
}

func messages(s apiextensionsv1.JSONSchemaProps) []string {
	var all []string
	for _, rule := range s.XValidations {
		all = append(all, rule.Message)
	}
	for _, property := range s.Properties {
		all = append(all, messages(property)...)
	}
	if s.Items != nil && s.Items.Schema != nil {
		all = append(all, messages(*s.Items.Schema)...)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		all = append(all, messages(*s.AdditionalProperties.Schema)...)
	}
	return all
}

func readSuites(t *testing.T) map[string]suite {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	suites := make(map[string]suite, len(files))
	for _, file := range files {
		var s suite
		readYAML(t, file, &s)
		suites[filepath.Base(file)] = s
	}
	return suites
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(raw, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
