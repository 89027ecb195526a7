package regional_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	hash  = "0123456789abcdef"
	other = "fedcba9876543210"
)

var options = regional.Options{
	Region: "beijing", OperatorNamespace: "multiactive-system", AgentURL: "http://multiactive-agent.multiactive-system.svc:8090",
	GatewayImage: "registry.example.com/operator:1", MirrorImage: "registry.example.com/mirror:1",
}

// sample is a slice with a little of everything.
func sample() *v1alpha1.RegionalService {
	match := func(method, path string) []v1alpha1.RequestMatch {
		return []v1alpha1.RequestMatch{{Method: method, Path: path}}
	}
	template := func(image string) *corev1.PodTemplateSpec {
		return &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "accounts"}},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "user", Image: image, Env: []corev1.EnvVar{{Name: "REGION", Value: "beijing"}},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000m")}},
			}}},
		}
	}
	return &v1alpha1.RegionalService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user", UID: "b7a2", Generation: 3},
		Spec: v1alpha1.RegionalServiceSpec{
			Region: "beijing", ServiceID: "uid-1",
			Workload: v1alpha1.WorkloadSlice{
				Type: v1alpha1.WorkloadManaged, Hash: "w1", ServiceAccountName: "deployer",
				Replicas: ptr.To[int32](3), Port: 8080, Template: template("registry.example.com/user:1"),
				Additional: []v1alpha1.AdditionalWorkload{{Name: "sync", Replicas: ptr.To[int32](2), Template: template("registry.example.com/sync:1")}},
			},
			Gateway: v1alpha1.Gateway{Replicas: ptr.To[int32](2)},
			Peers: []v1alpha1.Peer{
				{Name: "beijing", DisplayName: "北京", Endpoint: "https://user.bj.example.com"},
				{Name: "shanghai", Endpoint: "https://user.sh.example.com"},
				{Name: "shenzhen", Endpoint: "https://user.sz.example.com"},
			},
			Ownership: []v1alpha1.OwnershipSlice{{
				Hash:    hash,
				Regions: []v1alpha1.RegionWeight{{Name: "beijing", Weight: 50}, {Name: "shanghai", Weight: 50}, {Name: "shenzhen", Weight: 0}},
				Keys: []v1alpha1.PartitionKey{{
					Name: "phone", Normalize: []v1alpha1.Normalizer{v1alpha1.NormalizeTrim},
					From: []v1alpha1.KeySource{
						{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-User-Phone"}},
						{Type: v1alpha1.KeySourceJSONBody, JSONBody: &v1alpha1.JSONBodySource{Pointer: "/phone"}},
						{Type: v1alpha1.KeySourceJWTClaim, JWTClaim: &v1alpha1.JWTClaimSource{Name: "phone", Header: "X-Token"}},
						{Type: v1alpha1.KeySourceSession},
					},
				}},
				Flows: []v1alpha1.FlowRouting{
					{Name: "login", Key: "phone", ServedBy: v1alpha1.ServedByAnyRegion, Match: match("POST", "/v1/login")},
					{Name: "register", Key: "phone", ServedBy: v1alpha1.ServedByHomeRegion, Match: match("POST", "/v1/accounts")},
					{Name: "audit", ServedBy: v1alpha1.ServedByHomeRegion, Pinned: []string{"beijing"}, Match: match("", "/v1/audit/")},
				},
			}},
			Behaviours: []v1alpha1.FlowBehaviour{
				{Name: "login", Tier: v1alpha1.TierCore, SecondRead: &v1alpha1.SecondReadSync{
					Timeout: &metav1.Duration{Duration: 400 * time.Millisecond}, WhenUnreachable: v1alpha1.WhenUnreachableAnswerLocally,
				}, IssuesSessions: []string{"session"}},
				{Name: "register", Tier: v1alpha1.TierNonCore, OnHomeLoss: &v1alpha1.OnHomeLoss{Action: v1alpha1.HomeLossReadOnly}, WhenDegraded: v1alpha1.WhenDegradedShed},
				{Name: "audit", Tier: v1alpha1.TierNonCore, ReadsSessions: []string{"session"}},
			},
			Sessions: []v1alpha1.SessionSlice{{DataClass: "session", Regenerate: v1alpha1.ChoiceYes, OriginRead: v1alpha1.OriginReadSync{
				Type: v1alpha1.OriginFetchSession, FetchSession: &v1alpha1.FetchSession{Path: "/internal/session"},
				Token: v1alpha1.SessionToken{Cookie: "sid"}, Timeout: &metav1.Duration{Duration: 200 * time.Millisecond},
			}}},
			Announcements: []v1alpha1.Announcement{{Flows: []string{"*"}, Text: []v1alpha1.LocalizedText{{Language: "en", Value: "Paused."}, {Language: "zh-CN", Value: "暂停。"}}}},
			Topics: []v1alpha1.TopicSlice{{
				Name: "accounts.account", DataClass: "account", Partitions: 12, ReplicationFactor: 3,
				Retention: metav1.Duration{Duration: 168 * time.Hour}, Adoption: v1alpha1.TopicCreate,
			}},
		},
	}
}

// agreed is a configuration in which the named regions are lost and all others serve.
func agreed(lost ...string) ownership.Configuration {
	c := ownership.Configuration{
		View: ownership.View{Epoch: 7, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{
			"beijing": {State: ownership.RegionServing}, "shanghai": {State: ownership.RegionServing}, "shenzhen": {State: ownership.RegionServing},
		}},
		Services: map[string]ownership.ServiceRecord{
			"uid-1": {
				UID: "uid-1", Namespace: "accounts", Name: "user", PeerKey: []byte("secret"),
				ServiceState: ownership.ServiceState{SpecHash: hash},
			},
		},
	}
	for _, name := range lost {
		c.View.Regions[name] = ownership.RegionRecord{
			State: ownership.RegionLost, LostEpoch: 7, ReturnedEpoch: 3, Unshipped: true, Behind: []string{"shenzhen"},
		}
	}
	return c
}

// golden compares objects, as they would be applied, with a file.
func golden(t *testing.T, name string, objects ...regional.Object) {
	t.Helper()
	var got []byte
	for _, obj := range objects {
		content, err := regional.Content(obj)
		if err != nil {
			t.Fatal(err)
		}
		document, err := yaml.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		got = append(append(got, "---\n"...), document...)
	}
	compare(t, name, got)
}

func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run go test with -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}
