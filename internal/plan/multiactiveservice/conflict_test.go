package multiactiveservice_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// A conflict policy reaches the regions once all of their members act on it, and where it is not acted on that is told.
func TestConflictPolicy(t *testing.T) {
	t.Parallel()
	mesh := v1alpha1.DataStoreSpec{
		Engine: v1alpha1.EngineMariaDB, Topology: v1alpha1.StoreTopology{Type: v1alpha1.TopologyMesh}, Management: v1alpha1.StoreManaged,
		AllowedNamespaces: &v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{}},
	}
	for _, r := range []string{"beijing", "shanghai", "shenzhen"} {
		mesh.Endpoints = append(mesh.Endpoints, v1alpha1.StoreEndpoint{Region: r, Address: r + ":3306"})
	}
	mySQL := func(s *v1alpha1.DataStoreSpec) { s.Engine = v1alpha1.EngineMySQL }
	postgreSQL := func(s *v1alpha1.DataStoreSpec) { s.Engine = v1alpha1.EnginePostgreSQL }
	for name, test := range map[string]struct {
		store func(*v1alpha1.DataStoreSpec)
		class func(*v1alpha1.DataClass)
		old   string
		words string
		// nowhere: no region is handed the policy, for no member could act on it.
		nowhere bool
		// lacks is a feature that the old member does not have, all but the first without one.
		lacks string
	}{
		"acted on":      {},
		"an old member": {old: "shanghai", words: "is of an earlier version"},
		"MySQL":         {store: mySQL},
		"MySQL and an old member": {
			store: mySQL, old: "shanghai", lacks: regional.FeatureConflictPoliciesMySQL, words: "is of an earlier version",
		},
		"PostgreSQL": {store: postgreSQL},
		"PostgreSQL and an old member": {
			store: postgreSQL, old: "shanghai", lacks: regional.FeatureConflictPoliciesPostgreSQL, words: "is of an earlier version",
		},
		"MariaDB, which the old member knows": {lacks: regional.FeatureConflictPoliciesMySQL},
		"another engine": {
			store: func(s *v1alpha1.DataStoreSpec) { s.Engine = v1alpha1.EngineRedis }, nowhere: true,
			words: "no servers of MariaDB, MySQL or PostgreSQL with management Managed",
		},
		"one primary": {store: func(s *v1alpha1.DataStoreSpec) {
			s.Topology = v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: "beijing"}
		}},
		"PostgreSQL, one primary": {store: func(s *v1alpha1.DataStoreSpec) {
			s.Engine, s.Topology = v1alpha1.EnginePostgreSQL, v1alpha1.StoreTopology{Type: v1alpha1.TopologyPrimaryReplica, Primary: "beijing"}
		}, words: "PostgreSQL servers with topology PrimaryReplica"},
		"observed": {
			store: func(s *v1alpha1.DataStoreSpec) { s.Management = v1alpha1.StoreObserved },
			words: "no servers of MariaDB, MySQL or PostgreSQL with management Managed",
		},
		"no tables": {class: func(c *v1alpha1.DataClass) { c.Sync[0].StorageReplication.Tables = nil }, words: "names no tables"},
		"no store":  {class: func(c *v1alpha1.DataClass) { c.Sync = nil }, words: "without sync StorageReplication"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas, store := service(), *mesh.DeepCopy()
			class := v1alpha1.DataClass{Name: "profile", Conflict: &v1alpha1.ConflictPolicy{Policy: v1alpha1.ConflictOwnerWins}, Sync: []v1alpha1.SyncPolicy{{
				Method: v1alpha1.SyncStorageReplication, StorageReplication: &v1alpha1.StorageReplicationSync{Store: "users-db", Tables: []string{"s.t"}},
			}}}
			if test.class != nil {
				test.class(&class)
			}
			if test.store != nil {
				test.store(&store)
			}
			mas.Spec.DataClasses = append(mas.Spec.DataClasses, class)
			seen := healthy(mas)
			seen.Stores = map[string]*v1alpha1.DataStore{"users-db": {ObjectMeta: metav1.ObjectMeta{Name: "users-db", UID: "d", Generation: 1}, Spec: store}}
			for region, at := range seen.Regions {
				if at.Slice == nil {
					continue
				}
				has := []string{
					regional.FeatureStorageReplication, regional.FeatureConflictPolicies, regional.FeatureConflictPoliciesMySQL, regional.FeatureConflictPoliciesPostgreSQL,
				}
				if region == test.old || test.old == "" && test.lacks != "" {
					has = slices.DeleteFunc(has, func(f string) bool {
						return f == test.lacks || test.lacks == "" && f != regional.FeatureStorageReplication
					})
				}
				at.Slice.Status.Features = has
			}
			todo := plan.Decide(start, mas, seen)
			staged := 0
			for _, step := range todo.Steps {
				if step.Kind != plan.StepStage {
					continue
				}
				for _, s := range step.Slice.Spec.Stores {
					if s.Classes[0].Conflict != nil {
						staged++
					}
				}
			}
			plan.Report(start, mas, seen, todo, true)
			c := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionFieldsActedOn)
			told := strings.Contains(c.Message, "dataClasses[profile].conflict") && strings.Contains(c.Message, test.words)
			if told != (test.words != "") {
				t.Errorf("it tells %q, want %q in it", c.Message, test.words)
			}
			if want := map[bool]int{true: 0, false: 3}[test.old != "" || test.nowhere || len(class.Sync) == 0]; staged != want {
				t.Errorf("%d regions were handed the policy, want %d", staged, want)
			}
		})
	}
}
