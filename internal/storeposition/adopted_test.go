package storeposition_test

import (
	"context"
	"errors"
	"testing"

	"github.com/go-logr/logr/testr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/storeposition"
)

// TestHubFollowsItsRegions has a hub refuse store b, which regions follow or not.
func TestHubFollowsItsRegions(t *testing.T) {
	const away = "away"
	refused := &coordination.OtherStoreError{Known: coordination.Position{ClusterID: 0xa, Revision: 9}, Seen: coordination.Position{ClusterID: 0xb, Revision: 2}}
	restored := &coordination.OtherStoreError{Known: coordination.Position{ClusterID: 0xb, Revision: 9}, Seen: coordination.Position{ClusterID: 0xb, Revision: 2}, Restored: true}
	cases := map[string]struct {
		refusal *coordination.OtherStoreError
		regions map[string]string // the ID that each keeps, empty for none
		ends    bool
	}{
		"nothing is refused":              {nil, map[string]string{"beijing": "b"}, false},
		"nobody has adopted it":           {refused, map[string]string{"beijing": "a", "shanghai": "a"}, false},
		"one has, one not yet":            {refused, map[string]string{"beijing": "b", "shanghai": "a"}, false},
		"all have":                        {refused, map[string]string{"beijing": "b", "shanghai": "b"}, true},
		"all that can be asked":           {refused, map[string]string{"beijing": "b", "shanghai": away}, true},
		"nobody can be asked":             {refused, map[string]string{"beijing": away}, false},
		"one that is new follows none":    {refused, map[string]string{"beijing": "b", "shanghai": ""}, true},
		"all are new":                     {refused, map[string]string{"beijing": "", "shanghai": ""}, false},
		"they have adopted a third":       {refused, map[string]string{"beijing": "c"}, false},
		"restored under its old identity": {restored, map[string]string{"beijing": "b"}, false},
		"no regions":                      {refused, nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			hub := &storeposition.Hub{
				Store: &store{refusal: c.refusal}, Namespace: namespace, Log: testr.New(t), Clock: clocktesting.NewFakeClock(metav1.Now().Time),
				Regions: func(context.Context) (names []string, _ error) {
					for name := range c.regions {
						names = append(names, name)
					}
					return names, nil
				},
				Cluster: func(region string) (client.Reader, error) {
					if c.regions[region] == away {
						return nil, errors.New("not connected")
					}
					built := fake.NewClientBuilder()
					if id := c.regions[region]; id != "" {
						built = built.WithObjects(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
							Namespace: namespace, Name: storeposition.LeaseName,
							Annotations: map[string]string{storeposition.ClusterIDAnnotation: id, storeposition.RevisionAnnotation: "1"},
						}})
					}
					return built.Build(), nil
				},
			}
			if err := hub.Pass(t.Context()); errors.Is(err, storeposition.ErrRegionsAdopted) != c.ends {
				t.Errorf("the hub ends with %v, want an end %t", err, c.ends)
			}
		})
	}
}
