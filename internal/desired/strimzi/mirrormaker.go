package strimzi

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// Users are the names that a MirrorMaker logs in with, read from the Secrets: Strimzi wants them in the open.
// Passwords and certificates it takes from Secrets of the same names in the namespace of the Kafka object.
type Users struct {
	Source, Target string
}

// MirrorMaker returns the KafkaMirrorMaker2 of a MirrorMaker, in the namespace of the target's Kafka object.
// Its topic with positions is the one that a dedicated MirrorMaker has, so that a change between the two goes
// on where the other was; its other topics are its own.
func MirrorMaker(k v1alpha1.StrimziKafka, m regional.MirrorMaker, users Users) *unstructured.Unstructured {
	name := regional.MirrorMakerName(m.From)
	obj := object(KindMirrorMaker, k.Namespace, name, map[string]string{regional.LabelMirrorFrom: m.From})
	obj.SetAnnotations(map[string]string{regional.AnnotationReplicationFactor: strconv.Itoa(m.ReplicationFactor)})
	target := end(m.To, m.Target, users.Target)
	target["groupId"] = name
	target["offsetStorageTopic"] = regional.MirrorMakerOffsetsTopic(m.From)
	target["configStorageTopic"] = name + "-configs.internal"
	target["statusStorageTopic"] = name + "-status.internal"
	target["config"] = settings(m.WorkerSettings())
	source := m.SourceSettings()
	source["source.consumer.isolation.level"] = "read_committed"
	mirror := map[string]any{
		"source":          end(m.From, m.Source, users.Source),
		"sourceConnector": map[string]any{"tasksMax": int64(4), "config": settings(source)},
		"topicsPattern":   strings.Join(m.Patterns(), ","),
	}
	if len(m.Groups) > 0 {
		mirror["checkpointConnector"] = map[string]any{"tasksMax": int64(1), "config": settings(m.CheckpointSettings())}
		mirror["groupsPattern"] = strings.Join(m.GroupPatterns(), ",")
	}
	obj.Object["spec"] = map[string]any{"replicas": int64(1), "target": target, "mirrors": []any{mirror}}
	return obj
}

func settings(of map[string]string) map[string]any {
	out := make(map[string]any, len(of))
	for key, value := range of {
		out[key] = value
	}
	return out
}

func end(alias string, c regional.MirrorCluster, user string) map[string]any {
	out := map[string]any{"alias": alias, "bootstrapServers": strings.Join(c.Kafka.BootstrapServers, ",")}
	if c.Kafka.Auth == nil {
		return out
	}
	secret := c.Kafka.Auth.SecretRef.Name
	if c.CA {
		out["tls"] = map[string]any{"trustedCertificates": []any{map[string]any{"secretName": secret, "certificate": regional.SecretKeyCA}}}
	}
	if c.Mechanism != "" {
		out["authentication"] = map[string]any{
			"type": strings.ToLower(c.Mechanism), "username": user,
			"passwordSecret": map[string]any{"secretName": secret, "password": regional.SecretKeyPassword},
		}
	}
	return out
}
