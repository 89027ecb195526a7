package regional

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
)

// AnnotationApplied is the hash of what was last applied, so that a field that is not declared any
// more is noticed.
const AnnotationApplied = "multiactive.dev/applied"

// Content returns an object as it is applied: only what is set, without status.
func Content(obj Object) (map[string]any, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("converting %s %q: %w", obj.GetObjectKind().GroupVersionKind().Kind, obj.GetName(), err)
	}
	if _, untyped := obj.(runtime.Unstructured); untyped {
		content = runtime.DeepCopyJSON(content) // it is the object's own
	}
	delete(content, "status")
	dropUnset(content)
	return content, nil
}

// Stamp notes the object's own hash in its annotations.
func Stamp(obj Object) error {
	annotations := maps.Clone(obj.GetAnnotations())
	delete(annotations, AnnotationApplied)
	obj.SetAnnotations(annotations)
	content, err := Content(obj)
	if err != nil {
		return err
	}
	encoded, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encoding %q: %w", obj.GetName(), err)
	}
	sum := sha256.Sum256(encoded)
	obj.SetAnnotations(merged(annotations, map[string]string{AnnotationApplied: hex.EncodeToString(sum[:8])}))
	return nil
}

// UpToDate reports whether live has everything that the stamped object asks for. What others have
// added (defaults, a scaler's replicas, an injected container) does not matter.
func UpToDate(stamped, live Object) (bool, error) {
	want, err := Content(stamped)
	if err != nil {
		return false, err
	}
	have, err := Content(live)
	if err != nil {
		return false, err
	}
	// Objects from a typed cache do not say what they are.
	delete(want, "apiVersion")
	delete(want, "kind")
	return contains(have, want), nil
}

// contains reports whether want is found in have. Elements of lists of objects are looked for at
// any place, as others may add some before them.
func contains(have, want any) bool {
	switch w := want.(type) {
	case map[string]any:
		h, _ := have.(map[string]any)
		for key, value := range w {
			if !contains(h[key], value) {
				return false
			}
		}
		return have != nil || len(w) == 0
	case []any:
		h, _ := have.([]any)
		if len(w) == 0 {
			return true
		}
		if _, objects := w[0].(map[string]any); !objects {
			return reflect.DeepEqual(h, w)
		}
		for _, element := range w {
			if !containsElement(h, element) {
				return false
			}
		}
		return true
	default:
		return reflect.DeepEqual(have, want)
	}
}

func containsElement(have []any, element any) bool {
	for _, h := range have {
		if contains(h, element) {
			return true
		}
	}
	return false
}

// dropUnset removes what a typed object writes although nobody set it: applying it would claim it.
func dropUnset(content map[string]any) {
	for key, value := range content {
		switch v := value.(type) {
		case nil:
			delete(content, key)
		case map[string]any:
			dropUnset(v)
		case []any:
			for _, element := range v {
				if m, ok := element.(map[string]any); ok {
					dropUnset(m)
				}
			}
		}
	}
}
