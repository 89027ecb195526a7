package regional_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/mirrormaker"
)

func mirrorMaker() regional.MirrorMaker {
	auth := func(secret string) *v1alpha1.KafkaAuth {
		return &v1alpha1.KafkaAuth{SecretRef: v1alpha1.SecretReference{Name: secret}}
	}
	return regional.MirrorMaker{
		From: "shanghai", To: "beijing", Topics: []string{"accounts.account", "accounts.ledger"}, Groups: []string{"account-sync"},
		Source:            regional.MirrorCluster{Kafka: v1alpha1.RegionKafka{BootstrapServers: []string{"kafka.sh:9092", "kafka2.sh:9092"}, Auth: auth("kafka-sh")}, Mechanism: "PLAIN"},
		Target:            regional.MirrorCluster{Kafka: v1alpha1.RegionKafka{BootstrapServers: []string{"kafka.bj:9093"}, Auth: auth("kafka-admin")}, Mechanism: "SCRAM-SHA-512", CA: true},
		ReplicationFactor: 3, ExactlyOnce: true, SecretVersions: "17-4",
	}
}

func TestMirrorMaker(t *testing.T) {
	o := options
	o.MirrorMakerImage = "registry.example.com/kafka:4.1"
	m := mirrorMaker()
	config, deployment := regional.MirrorMakerObjects(o, m)
	golden(t, "mirrormaker.golden.yaml", config, deployment)
	for name, change := range map[string]func(*regional.MirrorMaker){
		"another topic":    func(m *regional.MirrorMaker) { m.Topics = m.Topics[:1] },
		"a Secret written": func(m *regional.MirrorMaker) { m.SecretVersions = "18-4" },
	} {
		other := mirrorMaker()
		change(&other)
		if _, changed := regional.MirrorMakerObjects(o, other); cmp.Equal(changed.Spec.Template, deployment.Spec.Template) {
			t.Errorf("%s does not restart MirrorMaker", name)
		}
	}
	m.Groups, m.Source.Mechanism, m.Target.Mechanism, m.Target.CA = nil, "", "", false
	plain := m.Properties()
	for _, not := range []string{"sasl", "ssl", "config.providers", ".groups"} {
		if strings.Contains(plain, not) {
			t.Errorf("without credentials and groups the configuration has %s:\n%s", not, plain)
		}
	}
	if !strings.Contains(plain, "emit.checkpoints.enabled = false") {
		t.Errorf("checkpoints of no group are written:\n%s", plain)
	}
}

// Names that two packages know, because one of them must not know Kafka.
func TestNamesAgree(t *testing.T) {
	if regional.CanaryTopic != canary.Topic {
		t.Errorf("the canary's topic is %s and %s", regional.CanaryTopic, canary.Topic)
	}
	if a, b := regional.MirrorMakerOffsetsTopic("x"), mirrormaker.OffsetsTopic("x"); a != b {
		t.Errorf("the topic with positions is %s and %s", a, b)
	}
}

// A pattern matches its topic, or group, and no other.
func TestPatterns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9._-]{1,20}`), 2, 4, rapid.ID[string]).Draw(t, "topics")
		names = slices.DeleteFunc(names, func(n string) bool { return n == regional.CanaryTopic })
		groups := rapid.SliceOfNDistinct(rapid.StringMatching(`[ -+\--~]{1,8}`), 2, 4, rapid.ID[string]).Draw(t, "groups")
		check := func(names, patterns []string) {
			for _, name := range names {
				matches := 0
				for _, p := range patterns {
					if regexp.MustCompile("^(?:" + p + ")$").MatchString(name) {
						matches++
					}
				}
				if matches != 1 {
					t.Fatalf("%q is matched by %d of %q", name, matches, patterns)
				}
			}
		}
		m := regional.MirrorMaker{Topics: names, Groups: groups}
		check(append(names, regional.CanaryTopic), m.Patterns())
		check(groups, m.GroupPatterns())
	})
}
