package regional_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/mirror"
)

func TestObjects(t *testing.T) {
	rs := sample()
	golden(t, "workload.golden.yaml",
		regional.Workload(rs), regional.Service(rs, nil), regional.Budget(rs, rs.Name, regional.ComponentApplication),
		regional.ApplicationPolicy(rs), regional.Additional(rs, &rs.Spec.Workload.Additional[0], true))
	golden(t, "gateway.golden.yaml",
		regional.GatewayDeployment(rs, options), regional.GatewayService(rs),
		regional.Budget(rs, regional.GatewayName(rs.Name), regional.ComponentGateway), regional.GatewayPolicy(rs))
	golden(t, "flags.golden.yaml", regional.Flags(rs, regional.FlowStates(&rs.Spec, agreed("shanghai"))))
}

func TestBuildersLeaveTheSliceAlone(t *testing.T) {
	rs := sample()
	regional.Workload(rs).Spec.Template.Spec.Containers[0].Image = "changed"
	regional.Additional(rs, &rs.Spec.Workload.Additional[0], false)
	regional.GatewayDeployment(rs, options)
	regional.Routing(rs, "beijing", "http://127.0.0.1", agreed())
	if diff := cmp.Diff(sample(), rs); diff != "" {
		t.Errorf("the slice was changed (-before +after):\n%s", diff)
	}
}

func TestReplicas(t *testing.T) {
	rs := sample()
	rs.Spec.Workload.Replicas = nil
	if got := regional.Workload(rs).Spec.Replicas; got != nil {
		t.Errorf("undeclared replicas are written as %d; they belong to whoever scales", *got)
	}
	rs.Spec.Gateway.Replicas = nil
	for name, test := range map[string]struct {
		d    *appsv1.Deployment
		want int32
	}{
		"gateway by default":  {regional.GatewayDeployment(rs, options), 2},
		"additional, active":  {regional.Additional(rs, &rs.Spec.Workload.Additional[0], true), 2},
		"additional, passive": {regional.Additional(rs, &rs.Spec.Workload.Additional[0], false), 0},
	} {
		if got := ptr.Deref(test.d.Spec.Replicas, -1); got != test.want {
			t.Errorf("%s: %d replicas, want %d", name, got, test.want)
		}
	}
}

// The selector's labels win over the template's, or the Deployment would be refused.
func TestSelectorWins(t *testing.T) {
	rs := sample()
	rs.Spec.Workload.Template.Labels[regional.LabelService] = "someone-else"
	d := regional.Workload(rs)
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("label %s of the Pods is %q, the selector wants %q", key, d.Spec.Template.Labels[key], value)
		}
	}
	if d.Spec.Template.Labels["team"] != "accounts" {
		t.Error("a label of the template was lost")
	}
}

// flagd reads: flags by name, each with a state, variants, and a default that is one of them.
func TestFlagsHaveTheShapeThatFlagdReads(t *testing.T) {
	rs := sample()
	for name, test := range map[string]struct {
		lost []string
		want map[string]bool
	}{
		"all serve":   {nil, map[string]bool{"login": false, "register": false, "audit": false}},
		"a home lost": {[]string{"shanghai"}, map[string]bool{"login": false, "register": true, "audit": false}},
		"a pin lost":  {[]string{"beijing"}, map[string]bool{"login": false, "register": true, "audit": true}},
		"no home":     {[]string{"shenzhen"}, map[string]bool{"login": false, "register": false, "audit": false}},
		"all lost":    {[]string{"beijing", "shanghai", "shenzhen"}, map[string]bool{"login": true, "register": true, "audit": true}},
	} {
		t.Run(name, func(t *testing.T) {
			config := regional.Flags(rs, regional.FlowStates(&rs.Spec, agreed(test.lost...)))
			var file struct {
				Flags map[string]struct {
					State          string         `json:"state"`
					Variants       map[string]any `json:"variants"`
					DefaultVariant string         `json:"defaultVariant"`
				} `json:"flags"`
			}
			if err := json.Unmarshal([]byte(config.Data[regional.FlagsKey]), &file); err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for flag, f := range file.Flags {
				value, ok := f.Variants[f.DefaultVariant].(bool)
				if !ok || f.State != "ENABLED" {
					t.Errorf("flag %s is %+v", flag, f)
				}
				got[strings.TrimPrefix(flag, "degraded-")] = value
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("flags (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.want, regional.DegradedFlows(config)); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
	if got := regional.DegradedFlows(&corev1.ConfigMap{Data: map[string]string{regional.FlagsKey: "{"}}); got != nil {
		t.Errorf("flags that nobody can read are %v, want nil", got)
	}
}

func TestMirror(t *testing.T) {
	plain := v1alpha1.RegionKafka{BootstrapServers: []string{"kafka.sh:9092"}}
	secured := v1alpha1.RegionKafka{
		BootstrapServers: []string{"kafka.bj:9093"},
		Auth:             &v1alpha1.KafkaAuth{SecretRef: v1alpha1.SecretReference{Name: "kafka-admin"}},
	}
	m := regional.Mirror{
		From: "shanghai", Topics: []string{"accounts.account", "accounts.ledger"},
		Source: regional.MirrorCluster{Kafka: plain},
		Target: regional.MirrorCluster{Kafka: secured, Mechanism: "SCRAM-SHA-512", CA: true},
	}
	config, deployment := regional.MirrorObjects(options, m)
	golden(t, "mirror.golden.yaml", config, deployment)
	parsed, err := mirror.Parse([]byte(config.Data[regional.MirrorConfigKey]))
	if err != nil {
		t.Fatalf("the mirror refuses its configuration: %v", err)
	}
	if parsed.Origin != "shanghai" || len(parsed.Topics) != 2 || parsed.Target.SASL == nil || parsed.Target.TLS == nil {
		t.Errorf("the mirror understands %+v", parsed)
	}
	if int32(1) != *deployment.Spec.Replicas || deployment.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Error("two mirrors of one source could run at a time")
	}
	m.Topics = m.Topics[:1]
	if _, changed := regional.MirrorObjects(options, m); cmp.Equal(changed.Spec.Template, deployment.Spec.Template) {
		t.Error("another configuration does not restart the mirror")
	}
}

func TestLinkName(t *testing.T) {
	if got, want := regional.LinkName("accounts.account", "beijing"), "accounts.account-from-beijing"; got != want {
		t.Errorf("a plain topic's link is %s, want %s", got, want)
	}
	for topic, want := range map[string]string{ // names that had to be changed carry a hash
		"accounts.Account":       `^accounts\.account-[0-9a-f]{8}-from-beijing$`,
		"accounts.acc_ount":      `^accounts\.acc-ount-[0-9a-f]{8}-from-beijing$`,
		"accounts.-x":            `^accounts\.x-[0-9a-f]{8}-from-beijing$`,
		"...":                    `^topic-[0-9a-f]{8}-from-beijing$`,
		strings.Repeat("a", 249): `^a+-[0-9a-f]{8}-from-beijing$`,
	} {
		if got := regional.LinkName(topic, "beijing"); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("LinkName(%q) = %s, want %s", topic, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		topics := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9._-]{1,249}`), 2, 2, rapid.ID[string]).Draw(t, "topics")
		region := rapid.StringMatching(`[a-z]([a-z0-9-]{0,30}[a-z0-9])?`).Draw(t, "region")
		names := []string{regional.LinkName(topics[0], region), regional.LinkName(topics[1], region)}
		for _, name := range names {
			if faults := validation.IsDNS1123Subdomain(name); len(faults) > 0 {
				t.Fatalf("%q is no name of an object: %v", name, faults)
			}
		}
		if names[0] == names[1] {
			t.Fatalf("topics %q share the name %s", topics, names[0])
		}
	})
}

func TestOwned(t *testing.T) {
	rs := sample()
	for name, test := range map[string]struct {
		change func(*corev1.Service)
		want   bool
	}{
		"as written":                      {func(*corev1.Service) {}, true},
		"of an earlier one of the name":   {func(s *corev1.Service) { s.OwnerReferences[0].UID = "old" }, true},
		"without owner":                   {func(s *corev1.Service) { s.OwnerReferences = nil }, true},
		"another's":                       {func(s *corev1.Service) { s.OwnerReferences[0].Kind = "Deployment" }, false},
		"of another service":              {func(s *corev1.Service) { s.OwnerReferences[0].Name = "order" }, false},
		"without the operator's label":    {func(s *corev1.Service) { delete(s.Labels, regional.LabelManagedBy) }, false},
		"with another service's label":    {func(s *corev1.Service) { s.Labels[regional.LabelService] = "order" }, false},
		"of the same name somewhere else": {func(s *corev1.Service) { s.Namespace = "other" }, false},
	} {
		svc := regional.GatewayService(rs)
		test.change(svc)
		if got := regional.Owned(svc, rs); got != test.want {
			t.Errorf("%s: owned %t, want %t", name, got, test.want)
		}
	}
}

func TestUpToDate(t *testing.T) {
	for name, test := range map[string]struct {
		live func(*appsv1.Deployment)
		want bool
	}{
		"as applied": {func(*appsv1.Deployment) {}, true},
		"with defaults": {func(d *appsv1.Deployment) {
			d.Spec.RevisionHistoryLimit = ptr.To[int32](10)
			d.Spec.Template.Spec.DNSPolicy = corev1.DNSClusterFirst
			d.Status.Replicas = 3
		}, true},
		"with an injected container": {func(d *appsv1.Deployment) {
			c := &d.Spec.Template.Spec.Containers
			*c = append([]corev1.Container{{Name: "proxy", Image: "x"}}, *c...)
		}, true},
		"with somebody's annotation": {func(d *appsv1.Deployment) { d.Annotations["example.com/a"] = "b" }, true},
		"without type":               {func(d *appsv1.Deployment) { d.TypeMeta = metav1.TypeMeta{} }, true},
		"scaled":                     {func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](9) }, false},
		"another image":              {func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "y" }, false},
		"a variable changed":         {func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Env[0].Value = "z" }, false},
		"a label gone":               {func(d *appsv1.Deployment) { delete(d.Labels, regional.LabelComponent) }, false},
		"owner gone":                 {func(d *appsv1.Deployment) { d.OwnerReferences = nil }, false},
		"applied from another slice": {func(d *appsv1.Deployment) { d.Annotations[regional.AnnotationApplied] = "old" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := regional.Workload(sample())
			if err := regional.Stamp(want); err != nil {
				t.Fatal(err)
			}
			live := want.DeepCopy()
			test.live(live)
			got, err := regional.UpToDate(want, live)
			if err != nil || got != test.want {
				t.Errorf("up to date %t (%v), want %t", got, err, test.want)
			}
		})
	}
}

func TestStampIsStable(t *testing.T) {
	once := regional.Workload(sample())
	if err := regional.Stamp(once); err != nil {
		t.Fatal(err)
	}
	twice := once.DeepCopy()
	if err := regional.Stamp(twice); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(once.Annotations, twice.Annotations); diff != "" {
		t.Errorf("stamping again changes the stamp:\n%s", diff)
	}
}
