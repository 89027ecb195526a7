package regional

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	// MirrorMakerConfigKey is the key of a MirrorMaker's configuration in its ConfigMap.
	MirrorMakerConfigKey = "mirrormaker.properties"
	// LabelMirrorEngine tells the Pods of MirrorMaker from the built-in mirror's, which lack it.
	LabelMirrorEngine = "multiactive.dev/mirror-engine"
	// AnnotationReplicationFactor keeps the replication factor that a MirrorMaker was begun with.
	AnnotationReplicationFactor = "multiactive.dev/replication-factor"
	// AnnotationLogins restarts a MirrorMaker whose Secrets were written again.
	AnnotationLogins = "multiactive.dev/logins"
	// AnnotationPaused on a ReplicationLink pauses it; its value says why.
	AnnotationPaused = "multiactive.dev/paused"
	// AnnotationAcceptRows on a store's link names the comparison of rows whose outcome a person accepts: the region gets its
	// keys although some differ from those of the link's source.
	AnnotationAcceptRows = "multiactive.dev/accept-rows"
	// AnnotationAcceptLoss on a store's link names what the region's server may lose to replicate from the other region.
	AnnotationAcceptLoss = "multiactive.dev/accept-loss"
	// CanaryTopic is the topic with a region's canary, which every mirror carries.
	CanaryTopic = "multiactive.canary"
)

const (
	mirrorMakerDir     = "/etc/multiactive/mirror"
	mirrorMakerScript  = "/opt/kafka/bin/connect-mirror-maker.sh"
	mirrorMakerScratch = "/tmp"
	// mirrorMakerGrace lets it finish the transaction under way.
	mirrorMakerGrace = 60
	mirrorMakerHeap  = "-Xms256m -Xmx512m"
	// mirrorMakerTasks share the partitions of a source.
	mirrorMakerTasks = 4
)

// MirrorMaker is what a MirrorMaker 2 is told, however it is run.
type MirrorMaker struct {
	// From is the source region, To the one that it runs in. They are the clusters' aliases.
	From, To       string
	Source, Target MirrorCluster
	// Topics by their local names in the source, sorted, and the consumer groups that read them.
	Topics, Groups []string
	// ReplicationFactor of the topics that it makes: copies, and its own.
	ReplicationFactor int
	ExactlyOnce       bool
	// SecretVersions tell apart what the Secrets have held.
	SecretVersions string
}

// MirrorMakerName is the name of a MirrorMaker's objects.
func MirrorMakerName(from string) string { return "multiactive-mirrormaker-" + from }

// MirrorMakerOffsetsTopic is the topic in the target in which a MirrorMaker keeps how far it has come.
func MirrorMakerOffsetsTopic(from string) string { return "mm2-offsets." + from + ".internal" }

// Patterns are the topics as MirrorMaker wants them: regular expressions that match the names alone, the
// canary's among them, or a topic of another tenant could match too.
func (m MirrorMaker) Patterns() []string {
	topics := append(slices.Clone(m.Topics), CanaryTopic)
	slices.Sort(topics)
	return quoted(slices.Compact(topics))
}

// GroupPatterns are the groups likewise.
func (m MirrorMaker) GroupPatterns() []string { return quoted(m.Groups) }

// quoted makes patterns that match the names alone: topics' names have dots, groups' have anything.
func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = regexp.QuoteMeta(name)
	}
	return out
}

// SourceSettings are those of the connector that mirrors records. Copies get the source's configuration, which
// is kept as declared there; access to them is the target's own business, so ACLs are not copied. Heartbeats
// are not needed beside the canary. The topic with pairs of offsets is kept here: at the source, reading is
// all that a mirror may do.
func (m MirrorMaker) SourceSettings() map[string]string {
	factor := strconv.Itoa(m.ReplicationFactor)
	return map[string]string{
		"replication.factor": factor, "refresh.topics.interval.seconds": "30",
		"sync.topic.configs.enabled": "true", "sync.topic.configs.interval.seconds": "60", "sync.topic.acls.enabled": "false",
		"heartbeats.replication.enabled": "false",
		"offset-syncs.topic.location":    "target", "offset-syncs.topic.replication.factor": factor,
	}
}

// CheckpointSettings are those of the connector that says which offset of a copy a group's offset at the source
// stands for. It never commits for the groups here: they apply the records to this region's own store, and an
// offset from elsewhere would have them skip what they have not applied.
func (m MirrorMaker) CheckpointSettings() map[string]string {
	return map[string]string{
		"emit.checkpoints.interval.seconds": "30", "refresh.groups.interval.seconds": "60", "sync.group.offsets.enabled": "false",
		"checkpoints.topic.replication.factor": strconv.Itoa(m.ReplicationFactor), "offset-syncs.topic.location": "target",
	}
}

// WorkerSettings are those of Connect, under which it runs.
func (m MirrorMaker) WorkerSettings() map[string]string {
	out := map[string]string{
		"offset.flush.interval.ms": "1000", "exactly.once.source.support": "disabled",
		// A task that is begun while the worker has not read its configuration within that time is given up for good; by
		// default it is 3 s, which a first start can take.
		"worker.sync.timeout.ms": "60000",
	}
	if m.ExactlyOnce {
		out["exactly.once.source.support"] = "enabled"
	}
	for _, topic := range []string{"offset", "config", "status"} {
		out[topic+".storage.replication.factor"] = strconv.Itoa(m.ReplicationFactor)
	}
	return out
}

// Properties returns the configuration file of a dedicated MirrorMaker. Credentials are read from files when it
// starts; neither the file nor what MirrorMaker stores of it in Kafka has them.
func (m MirrorMaker) Properties() string {
	pair := m.From + "->" + m.To + "."
	p := map[string]string{
		"clusters": m.From + "," + m.To, pair + "enabled": "true", pair + "topics": strings.Join(m.Patterns(), ","),
		pair + "tasks.max":        strconv.Itoa(mirrorMakerTasks),
		"emit.heartbeats.enabled": "false", pair + "emit.heartbeats.enabled": "false",
		// Exactly-once delivery needs it, and nobody else: it is bound where nobody else reaches it.
		"dedicated.mode.enable.internal.rest": "true", "listeners": "http://127.0.0.1:8083",
		"replication.policy.class": "org.apache.kafka.connect.mirror.DefaultReplicationPolicy",
		// Records of aborted transactions were never accepted by the source.
		m.From + ".consumer.isolation.level": "read_committed",
	}
	maps.Copy(p, prefixed(pair, m.SourceSettings()))
	if len(m.Groups) > 0 {
		maps.Copy(p, prefixed(pair, m.CheckpointSettings()))
		p[pair+"groups"] = strings.Join(m.GroupPatterns(), ",")
	}
	p[pair+"emit.checkpoints.enabled"] = strconv.FormatBool(len(m.Groups) > 0)
	maps.Copy(p, prefixed(m.To+".", m.WorkerSettings()))
	maps.Copy(p, prefixed(m.From+".", m.Source.properties("SOURCE")))
	maps.Copy(p, prefixed(m.To+".", m.Target.properties("TARGET")))
	if m.Source.Mechanism != "" || m.Target.Mechanism != "" {
		p["config.providers"] = "secrets"
		p["config.providers.secrets.class"] = "org.apache.kafka.common.config.provider.DirectoryConfigProvider"
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s = %s\n", key, strings.ReplaceAll(p[key], `\`, `\\`))
	}
	return b.String()
}

func prefixed(prefix string, settings map[string]string) map[string]string {
	out := make(map[string]string, len(settings))
	for key, value := range settings {
		out[prefix+key] = value
	}
	return out
}

// properties are how MirrorMaker reaches a Kafka.
func (c MirrorCluster) properties(end string) map[string]string {
	p := map[string]string{"bootstrap.servers": strings.Join(c.Kafka.BootstrapServers, ",")}
	protocol := "PLAINTEXT"
	if c.CA {
		protocol = "SSL"
		p["ssl.truststore.type"], p["ssl.truststore.location"] = "PEM", credentialsDir(end)+"/"+SecretKeyCA
	}
	if c.Mechanism != "" {
		protocol = "SASL_" + protocol
		module := "org.apache.kafka.common.security.scram.ScramLoginModule"
		if c.Mechanism == "PLAIN" {
			module = "org.apache.kafka.common.security.plain.PlainLoginModule"
		}
		from := func(key string) string { return `"${secrets:` + credentialsDir(end) + ":" + key + `}"` }
		p["sasl.mechanism"] = c.Mechanism
		p["sasl.jaas.config"] = module + " required username=" + from(SecretKeyUser) + " password=" + from(SecretKeyPassword) + ";"
	}
	p["security.protocol"] = protocol
	return p
}

func credentialsDir(end string) string { return "/etc/multiactive/" + strings.ToLower(end) }

// MirrorMakerObjects returns the ConfigMap and Deployment of a dedicated MirrorMaker, in that order, in the
// operator's namespace.
func MirrorMakerObjects(o Options, m MirrorMaker) (*corev1.ConfigMap, *appsv1.Deployment) {
	labels := map[string]string{LabelMirrorFrom: m.From, LabelMirrorEngine: "MirrorMaker2", LabelComponent: string(ComponentMirror)}
	objectMeta := metav1.ObjectMeta{
		Name: MirrorMakerName(m.From), Namespace: o.OperatorNamespace,
		Labels: merged(labels, map[string]string{
			LabelManagedBy: ManagedBy, "app.kubernetes.io/name": "multiactive-mirrormaker", "app.kubernetes.io/component": string(ComponentMirror),
		}),
		Annotations: map[string]string{AnnotationReplicationFactor: strconv.Itoa(m.ReplicationFactor)},
	}
	content := m.Properties()
	config := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: *objectMeta.DeepCopy(),
		Data: map[string]string{MirrorMakerConfigKey: content},
	}
	sum := sha256.Sum256([]byte(content))
	return config, &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: objectMeta,
		Spec: appsv1.DeploymentSpec{
			// A second one would be fenced, or mirror everything twice.
			Replicas: ptr.To[int32](1),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{
					AnnotationConfigHash: hex.EncodeToString(sum[:8]), AnnotationLogins: m.SecretVersions,
				}},
				Spec: mirrorMakerPod(o, m, objectMeta.Name),
			},
		},
	}
}

// mirrorMakerPod has no probes: MirrorMaker offers nothing to ask. Whether it works is seen by the canary.
func mirrorMakerPod(o Options, m MirrorMaker, config string) corev1.PodSpec {
	mounts := []corev1.VolumeMount{
		{Name: "config", MountPath: mirrorMakerDir, ReadOnly: true}, {Name: "scratch", MountPath: mirrorMakerScratch},
	}
	volumes := []corev1.Volume{
		{Name: "config", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: config}},
		}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("256Mi"))}}},
	}
	for _, end := range []struct {
		name    string
		cluster MirrorCluster
	}{{"SOURCE", m.Source}, {"TARGET", m.Target}} {
		if end.cluster.Kafka.Auth == nil {
			continue
		}
		name := strings.ToLower(end.name) + "-credentials"
		mounts = append(mounts, corev1.VolumeMount{Name: name, MountPath: credentialsDir(end.name), ReadOnly: true})
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: end.cluster.Kafka.Auth.SecretRef.Name, DefaultMode: ptr.To[int32](0o440)},
		}})
	}
	spec := podSpec(corev1.Container{
		Name: "mirrormaker", Image: o.MirrorMakerImage,
		Command: []string{mirrorMakerScript, "--clusters", m.To, mirrorMakerDir + "/" + MirrorMakerConfigKey},
		Env:     []corev1.EnvVar{{Name: "KAFKA_HEAP_OPTS", Value: mirrorMakerHeap}, {Name: "LOG_DIR", Value: mirrorMakerScratch + "/logs"}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("200m"), corev1.ResourceMemory: resource.MustParse("768Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
		},
		VolumeMounts: mounts,
	})
	spec.Volumes = volumes
	spec.SecurityContext.FSGroup = ptr.To[int64](nobody)
	spec.TerminationGracePeriodSeconds = ptr.To[int64](mirrorMakerGrace)
	return spec
}
