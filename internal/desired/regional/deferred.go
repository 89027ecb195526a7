package regional

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/routing"
)

// SecretKeyNotify is the key of the gateway's Secret with what notifications are signed with.
const SecretKeyNotify = "notify-secret"

// gatewayFilesDir is where a gateway finds the files of its Secret.
const gatewayFilesDir = "/etc/multiactive/gateway"

const (
	deferredPartitions  = 12
	deferredReplication = 3
	// deferredGrace is how much longer than needed records stay.
	deferredGrace = 24 * time.Hour
)

// GatewaySecretName is the name of the Secret in the service's namespace that its gateways mount, if there
// is one: with the credentials for their own topic, and the secret of notifications.
func GatewaySecretName(service string) string { return GatewayName(service) }

// DeferredTopicName is the topic with a service's deferred requests. No declared topic begins with an
// underscore after the namespace.
func DeferredTopicName(namespace, service string) string { return namespace + "._deferred." + service }

// DeferredTopic returns the topic with the service's deferred requests, if some flow defers. It is in
// every region and mirrored to none: each region carries out what it has accepted. A request waits for
// expireAfter at most, and what became of it is kept for as long again.
func DeferredTopic(rs *v1alpha1.RegionalService) (v1alpha1.TopicSlice, bool) {
	var longest time.Duration
	for _, b := range rs.Spec.Behaviours {
		if d := deferPolicy(b); d != nil {
			longest = max(longest, d.ExpireAfter.Duration)
		}
	}
	return v1alpha1.TopicSlice{
		Name: DeferredTopicName(rs.Namespace, rs.Name), Partitions: deferredPartitions, ReplicationFactor: deferredReplication,
		Retention: metav1.Duration{Duration: 2*longest + deferredGrace}, Adoption: v1alpha1.TopicCreate, OrderByKey: v1alpha1.Yes,
	}, longest > 0
}

// KeptTopics returns all topics that the member keeps for the service.
func KeptTopics(rs *v1alpha1.RegionalService) []v1alpha1.TopicSlice {
	topics := slices.Clone(rs.Spec.Topics)
	if t, ok := DeferredTopic(rs); ok {
		topics = append(topics, t)
	}
	return topics
}

// UnknownNotifyEndpoints returns the flows whose outcomes nobody is told, because the Region has no endpoint
// of that name, with the name.
func UnknownNotifyEndpoints(rs *v1alpha1.RegionalService) map[string]string {
	out := map[string]string{}
	for _, b := range rs.Spec.Behaviours {
		if d := deferPolicy(b); d != nil && d.Notify != nil && notifyURL(rs, d) == "" {
			out[b.Name] = d.Notify.EndpointRef
		}
	}
	return out
}

func deferPolicy(b v1alpha1.FlowBehaviour) *v1alpha1.DeferPolicy {
	if b.OnHomeLoss == nil || b.OnHomeLoss.Action != v1alpha1.HomeLossDefer || b.OnHomeLoss.Defer == nil || b.OnHomeLoss.Defer.ExpireAfter == nil {
		return nil
	}
	return b.OnHomeLoss.Defer
}

func notifyURL(rs *v1alpha1.RegionalService, d *v1alpha1.DeferPolicy) string {
	if d.Notify == nil {
		return ""
	}
	for _, e := range rs.Spec.NotifyEndpoints {
		if e.Name == d.Notify.EndpointRef {
			return e.URL
		}
	}
	return ""
}

// routingDefer is nil for flows that do not defer.
func routingDefer(rs *v1alpha1.RegionalService, b v1alpha1.FlowBehaviour) *routing.Defer {
	d := deferPolicy(b)
	if d == nil {
		return nil
	}
	return &routing.Defer{
		AdmitPath: d.AdmitPath, ExpireAfter: d.ExpireAfter.Duration, IdempotencyHeader: d.IdempotencyHeader, Notify: notifyURL(rs, d),
	}
}

// gatewaySecret mounts the service's Secret. It is optional, so that gateways run before it is there: they
// then refuse to defer, tell nobody, and record nobody for compensation.
func gatewaySecret(rs *v1alpha1.RegionalService, pod *corev1.PodSpec) {
	const volume = "gateway-secret"
	c := &pod.Containers[0]
	c.Args = append(c.Args, "--secret-dir="+gatewayFilesDir)
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: gatewayFilesDir, ReadOnly: true})
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: GatewaySecretName(rs.Name), Optional: ptr.To(true), DefaultMode: ptr.To[int32](0o444)},
	}})
}

// deferring lets a gateway keep requests in the region's Kafka.
func deferring(rs *v1alpha1.RegionalService, pod *corev1.PodSpec) {
	topic, ok := DeferredTopic(rs)
	if !ok || rs.Spec.Kafka == nil {
		return
	}
	c := &pod.Containers[0]
	c.Args = append(c.Args, "--deferred-topic="+topic.Name, "--kafka-brokers="+strings.Join(rs.Spec.Kafka.BootstrapServers, ","))
	if rs.Spec.Kafka.Auth != nil {
		c.Args = append(c.Args, "--kafka-auth")
	}
}
