package storeposition_test

import (
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/storeposition"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
)

const namespace = "default"

type store coordination.Position

func (s *store) Position() coordination.Position { return coordination.Position(*s) }

func TestPositionIsKeptAndNeverLowered(t *testing.T) {
	server := testkit.StartServer(t, apiserver.Options{})
	c, err := client.New(testkit.Config(t, server, apiserver.Admin), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	load := func() coordination.Position {
		t.Helper()
		p, err := storeposition.Load(t.Context(), c, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if got := load(); got != (coordination.Position{}) {
		t.Errorf("without a Lease: %v, want nothing", got)
	}

	s := &store{}
	keeper := &storeposition.Keeper{Client: c, Reader: c, Namespace: namespace, Store: s, Clock: clock.RealClock{}}
	save := func(p coordination.Position) error {
		*s = store(p)
		return keeper.Save(t.Context())
	}
	for _, step := range []struct {
		name       string
		save, want coordination.Position
	}{
		{"nothing seen yet", coordination.Position{}, coordination.Position{}},
		{"first", coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 7}, coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 7}},
		{"further", coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}, coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}},
		{"an older process", coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 8}, coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}},
	} {
		if err := save(step.save); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := load(); got != step.want {
			t.Errorf("%s: kept %v, want %v", step.name, got, step.want)
		}
	}

	if err := save(coordination.Position{ClusterID: 1, Revision: 100}); err == nil {
		t.Error("the position of another store was kept without a word")
	}
	if got := load(); got.ClusterID != 0xfedcba9876543210 {
		t.Errorf("kept store %x, want the first", got.ClusterID)
	}

	var lease coordinationv1.Lease
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: storeposition.LeaseName}, &lease); err != nil {
		t.Fatal(err)
	}
	before := lease.ResourceVersion
	if err := save(coordination.Position{ClusterID: 0xfedcba9876543210, Revision: 9}); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(&lease), &lease); err != nil || lease.ResourceVersion != before {
		t.Errorf("a position that has not moved was written again (%v)", err)
	}

	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, storeposition.RevisionAnnotation, "many")
	if err := c.Update(t.Context(), &lease); err != nil {
		t.Fatal(err)
	}
	if _, err := storeposition.Load(t.Context(), c, namespace); err == nil || !strings.Contains(err.Error(), storeposition.RevisionAnnotation) {
		t.Errorf("a broken annotation gave %v, want an error that names it", err)
	}
}
