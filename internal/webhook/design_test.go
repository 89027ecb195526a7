package webhook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
)

// nothing is a cache without objects, or one that cannot be read.
type nothing struct{ err error }

func (n nothing) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	if n.err != nil {
		return n.err
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (n nothing) List(context.Context, client.ObjectList, ...client.ListOption) error { return n.err }

func example(t *testing.T) *v1alpha1.MultiActiveService {
	t.Helper()
	content, err := os.ReadFile("../../examples/user/multiactiveservice.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var mas v1alpha1.MultiActiveService
	if err := yaml.UnmarshalStrict(content, &mas); err != nil {
		t.Fatal(err)
	}
	return &mas
}

func TestDesign(t *testing.T) {
	t.Parallel()
	bad := example(t)
	bad.Spec.Flows[0].DependsOn = []string{"register"} // MA004
	worse := bad.DeepCopy()
	worse.Spec.Flows[1].DependsOn = append(worse.Spec.Flows[1].DependsOn, "profile")
	// The same error at another place of the list.
	moved := bad.DeepCopy()
	moved.Spec.Flows = append(moved.Spec.Flows[1:], moved.Spec.Flows[0])
	leaving := worse.DeepCopy()
	leaving.DeletionTimestamp = &metav1.Time{}
	leaving.DeletionTimestamp.Time = metav1.Now().Time
	ordered := example(t)
	ordered.Spec.DataClasses[0].Sync[0].MessageQueue.OrderBy, ordered.Spec.DataClasses[0].Sync[0].MessageQueue.Partitions = "Key", 12
	raised := ordered.DeepCopy()
	raised.Spec.DataClasses[0].Sync[0].MessageQueue.Partitions = 24
	for name, c := range map[string]struct {
		before, mas *v1alpha1.MultiActiveService
		reader      nothing
		// refused are texts of the error, in it; warned are those of warnings.
		refused, warned []string
	}{
		"a sound one":                      {mas: example(t)},
		"a bad one":                        {mas: bad, refused: []string{"MA004", "spec.flows[0].dependsOn", "to mend it"}},
		"a bad one that is sound again":    {before: bad, mas: example(t)},
		"one that was bad and stays":       {before: bad, mas: bad, warned: []string{"MA004"}},
		"one whose error has moved":        {before: bad, mas: moved, warned: []string{"MA004"}},
		"one that gets worse":              {before: bad, mas: worse, refused: []string{"spec.flows[1].dependsOn"}, warned: []string{"MA004 spec.flows[0]"}},
		"one whose order it would break":   {before: ordered, mas: raised, refused: []string{"MA017", "leave partitions at 12"}},
		"one that says so from the start":  {mas: raised},
		"one that is being deleted":        {before: bad, mas: leaving},
		"one that nothing can be told of":  {mas: example(t), reader: nothing{errors.New("no cache")}, refused: []string{"no cache"}},
		"one that becomes bad in a change": {before: example(t), mas: bad, refused: []string{"MA004"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &Design{Reader: c.reader}
			var warnings []string
			var err error
			if c.before == nil {
				warnings, err = d.ValidateCreate(t.Context(), c.mas)
			} else {
				warnings, err = d.ValidateUpdate(t.Context(), c.before, c.mas)
			}
			if (err != nil) != (len(c.refused) > 0) {
				t.Errorf("the error is %v", err)
			}
			for _, text := range c.refused {
				if !strings.Contains(fmt.Sprint(err), text) {
					t.Errorf("the error is %v, want %q in it", err, text)
				}
			}
			for _, text := range c.warned {
				if !strings.Contains(strings.Join(warnings, "\n"), text) {
					t.Errorf("the warnings are %q, want %q among them", warnings, text)
				}
			}
		})
	}
}

// TestManyWarnings: a terminal at night has room for a few.
func TestManyWarnings(t *testing.T) {
	t.Parallel()
	mas := example(t)
	mas.Spec.Announcements = nil // MA109, for every flow that may be degraded
	for i := range 20 {
		flow := mas.Spec.Flows[2].DeepCopy()
		flow.Name = fmt.Sprintf("更多-%d-%s", i, strings.Repeat("长", 60))
		flow.Match[0].Path = fmt.Sprintf("/v1/more/%d", i)
		mas.Spec.Flows = append(mas.Spec.Flows, *flow)
	}
	warnings, err := (&Design{Reader: nothing{}}).ValidateCreate(t.Context(), mas)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != mostWarnings+1 || !strings.Contains(warnings[mostWarnings], "more: kubectl multiactive lint") {
		t.Errorf("%d warnings, the last is %q", len(warnings), warnings[len(warnings)-1])
	}
	for _, text := range warnings {
		if len(text) > longestWarning || !utf8.ValidString(text) {
			t.Errorf("a warning of %d bytes: %q", len(text), text)
		}
	}
}
