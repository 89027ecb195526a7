package slices_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
)

var update = flag.Bool("update", false, "write the golden files")

func input() slices.Input {
	mas := &v1alpha1.MultiActiveService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user", UID: "0f5e", Generation: 3, CreationTimestamp: metav1.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		Spec: v1alpha1.MultiActiveServiceSpec{
			Regions: []v1alpha1.ServiceRegion{
				{Name: "beijing", Endpoint: "http://bj.example.com"},
				{
					Name: "shanghai", Weight: ptr.To[int32](0), Endpoint: "http://sh.example.com",
					Overrides: &v1alpha1.WorkloadOverrides{
						Replicas: ptr.To[int32](5), Image: "user:canary",
						Env: []v1alpha1.EnvVar{{Name: "DSN", Value: ptr.To("sh")}, {Name: "ZONE", Value: ptr.To("east")}},
					},
				},
			},
			Partition: &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{
				Name: "phone", Normalize: []v1alpha1.Normalizer{v1alpha1.NormalizeTrim},
				From: []v1alpha1.KeySource{{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-Phone"}}},
			}}},
			Workload: v1alpha1.Workload{
				Type: v1alpha1.WorkloadManaged, ServiceAccountName: "deployer", Replicas: ptr.To[int32](3), Port: 8080,
				Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{Name: "migrate", Image: "user:1"}},
					Containers: []corev1.Container{
						{Name: "user", Image: "user:1", Env: []corev1.EnvVar{{Name: "DSN", Value: "default"}, {Name: "WHERE", Value: "$(ZONE)"}}},
						{Name: "proxy", Image: "proxy:1"},
					},
				}},
				Additional: []v1alpha1.AdditionalWorkload{{
					Name: "sync", Activation: v1alpha1.ActivationEveryRegion,
					Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "sync", Image: "user:1"}}}},
				}},
			},
			DataClasses: []v1alpha1.DataClass{
				{
					Name: "account", Home: &v1alpha1.DataHome{Type: v1alpha1.HomeByKey, Key: "phone"},
					Staleness: &v1alpha1.Staleness{Normal: &metav1.Duration{Duration: time.Minute}},
					Sync: []v1alpha1.SyncPolicy{{Method: v1alpha1.SyncMessageQueue, MessageQueue: &v1alpha1.MessageQueueSync{
						Topic: "account", ConsumerGroups: []string{"account-sync"}, OrderBy: "Key",
					}}},
				},
				{
					Name: "rates", Home: &v1alpha1.DataHome{Type: v1alpha1.HomePinned, Pinned: &v1alpha1.PinnedHome{Regions: []string{"beijing"}}},
				},
			},
			Flows: []v1alpha1.Flow{
				{Name: "login", Tier: v1alpha1.TierCore, Match: []v1alpha1.RequestMatch{{Method: "POST", Path: "/v1/login"}}, Reads: []string{"account"}},
				{
					Name: "set-rate", Tier: v1alpha1.TierNonCore, ServedBy: v1alpha1.ServedByHomeRegion, Writes: []string{"rates"},
					Match: []v1alpha1.RequestMatch{{Method: "PUT", Path: "/v1/rates/{id}"}},
				},
			},
		},
	}
	region := func(name string) *v1alpha1.Region {
		return &v1alpha1.Region{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.RegionSpec{
				DisplayName: "City of " + name, Kafka: &v1alpha1.RegionKafka{BootstrapServers: []string{"kafka." + name + ":9092"}},
			},
		}
	}
	return slices.Input{Service: mas, Regions: map[string]*v1alpha1.Region{"beijing": region("beijing"), "shanghai": region("shanghai")}}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"beijing", "shanghai"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := yaml.Marshal(slices.Build(input(), name))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("run with -update to accept (-want +got)\n%s", diff)
			}
		})
	}
}

func TestBuildSharesNothing(t *testing.T) {
	t.Parallel()
	in := input()
	before := in.Service.DeepCopy()
	out := slices.Build(in, "shanghai")
	out.Spec.Workload.Template.Spec.Containers[0].Env[0].Value = "changed"
	out.Spec.Peers[0].Kafka.BootstrapServers[0] = "changed"
	if diff := cmp.Diff(before, in.Service); diff != "" {
		t.Errorf("the declaration was changed (-before +after)\n%s", diff)
	}
	if diff := cmp.Diff(input().Regions, in.Regions); diff != "" {
		t.Errorf("a Region was changed (-before +after)\n%s", diff)
	}
}

// What names a thing changes with the thing, and with nothing else.
// TestNotifyEndpoints: a slice has those of its region that flows name, and no others.
func TestNotifyEndpoints(t *testing.T) {
	named := func(endpoint string) v1alpha1.Flow {
		return v1alpha1.Flow{Name: "transfer", OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossDefer, Defer: &v1alpha1.DeferPolicy{
			Notify: &v1alpha1.NotifyTarget{EndpointRef: endpoint},
		}}}
	}
	region := &v1alpha1.Region{Spec: v1alpha1.RegionSpec{NotifyEndpoints: []v1alpha1.NotifyEndpoint{
		{Name: "sms", URL: "https://sms.example.com"}, {Name: "mail", URL: "https://mail.example.com"},
	}}}
	for endpoint, want := range map[string][]v1alpha1.NotifyEndpoint{
		"sms": {{Name: "sms", URL: "https://sms.example.com"}}, "fax": nil,
	} {
		mas := &v1alpha1.MultiActiveService{Spec: v1alpha1.MultiActiveServiceSpec{Flows: []v1alpha1.Flow{named(endpoint)}}}
		got := slices.Build(slices.Input{Service: mas, Regions: map[string]*v1alpha1.Region{"beijing": region}}, "beijing").Spec.NotifyEndpoints
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", endpoint, diff)
		}
	}
}

func TestHashes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change                        func(*v1alpha1.MultiActiveServiceSpec)
		ownership, workload, anything bool
	}{
		"nothing":                  {change: func(*v1alpha1.MultiActiveServiceSpec) {}},
		"the default, written out": {change: func(s *v1alpha1.MultiActiveServiceSpec) { s.Regions[0].Weight = ptr.To[int32](100) }},
		"a weight":                 {change: func(s *v1alpha1.MultiActiveServiceSpec) { s.Regions[0].Weight = ptr.To[int32](1) }, ownership: true, anything: true},
		"a match":                  {change: func(s *v1alpha1.MultiActiveServiceSpec) { s.Flows[0].Match[0].Path = "/v2/login" }, ownership: true, anything: true},
		"a normalizer":             {change: func(s *v1alpha1.MultiActiveServiceSpec) { s.Partition.Keys[0].Normalize = nil }, ownership: true, anything: true},
		"a home": {change: func(s *v1alpha1.MultiActiveServiceSpec) {
			s.DataClasses[1].Home.Pinned.Regions = []string{"shanghai"}
		}, ownership: true, anything: true},
		"unmatched": {change: func(s *v1alpha1.MultiActiveServiceSpec) {
			s.Unmatched = &v1alpha1.Unmatched{OtherMethods: v1alpha1.UnmatchedAnyRegion}
		}, ownership: true, anything: true},
		"a tier":      {change: func(s *v1alpha1.MultiActiveServiceSpec) { s.Flows[0].Tier = v1alpha1.TierNonCore }, anything: true},
		"an endpoint": {change: func(s *v1alpha1.MultiActiveServiceSpec) { s.Regions[0].Endpoint = "http://other" }, anything: true},
		"an override": {change: func(s *v1alpha1.MultiActiveServiceSpec) { s.Regions[1].Overrides.Image = "user:2" }, anything: true},
		"the image": {change: func(s *v1alpha1.MultiActiveServiceSpec) {
			s.Workload.Template.Spec.Containers[1].Image = "proxy:2"
		}, workload: true, anything: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			was, now := input(), input()
			c.change(&now.Service.Spec)
			if got := slices.Ownership(was.Service).Hash != slices.Ownership(now.Service).Hash; got != c.ownership {
				t.Errorf("ownership changed: %t, want %t", got, c.ownership)
			}
			if got := slices.WorkloadHash(was.Service.Spec) != slices.WorkloadHash(now.Service.Spec); got != c.workload {
				t.Errorf("workload changed: %t, want %t", got, c.workload)
			}
			applied := func(in slices.Input) string {
				return slices.Build(in, "shanghai").Annotations[slices.AnnotationApplied]
			}
			if got := applied(was) != applied(now); got != c.anything {
				t.Errorf("slice changed: %t, want %t", got, c.anything)
			}
		})
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	byKey := func(class, key string) v1alpha1.DataClass {
		return v1alpha1.DataClass{Name: class, Home: &v1alpha1.DataHome{Type: v1alpha1.HomeByKey, Key: key}}
	}
	two := v1alpha1.MultiActiveServiceSpec{
		Partition:   &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "phone"}, {Name: "order"}}},
		DataClasses: []v1alpha1.DataClass{byKey("account", "phone"), byKey("orders", "order")},
	}
	one := v1alpha1.MultiActiveServiceSpec{Partition: &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "phone"}}}}
	for name, c := range map[string]struct {
		spec v1alpha1.MultiActiveServiceSpec
		flow v1alpha1.Flow
		want string
	}{
		"declared":                     {two, v1alpha1.Flow{Key: "order", Writes: []string{"account"}}, "order"},
		"of what it writes":            {two, v1alpha1.Flow{Writes: []string{"orders"}, Reads: []string{"account"}}, "order"},
		"of what it reads":             {two, v1alpha1.Flow{Reads: []string{"account"}}, "phone"},
		"ambiguous":                    {two, v1alpha1.Flow{Writes: []string{"account", "orders"}}, ""},
		"nothing leads to one of many": {two, v1alpha1.Flow{}, ""},
		"the only one":                 {one, v1alpha1.Flow{}, "phone"},
		"none":                         {v1alpha1.MultiActiveServiceSpec{}, v1alpha1.Flow{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := slices.Key(c.spec, c.flow); got != c.want {
				t.Errorf("key %q, want %q", got, c.want)
			}
		})
	}
}

// The operator's own topics are nobody's to declare.
func TestReservedTopics(t *testing.T) {
	t.Parallel()
	in := input()
	in.Service.Namespace = "multiactive"
	want := []slices.RefusedTopic{{DataClass: "account", Name: "multiactive.account"}}
	if diff := cmp.Diff(want, slices.RefusedTopics(in.Service, in.Regions)); diff != "" || len(slices.Build(in, "beijing").Spec.Topics) > 0 {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTopicsNamedLikeACopyAreLeftOut(t *testing.T) {
	t.Parallel()
	in := input()
	in.Regions["accounts"] = &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "accounts"}}
	if topics := slices.Build(in, "beijing").Spec.Topics; len(topics) > 0 {
		t.Errorf("topics %v would be taken for copies from region accounts", topics)
	}
	want := []slices.RefusedTopic{{DataClass: "account", Name: "accounts.account", Region: "accounts"}}
	if diff := cmp.Diff(want, slices.RefusedTopics(in.Service, in.Regions)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
