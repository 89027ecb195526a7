package regional

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
)

// MirrorConfigKey is the key of a mirror's configuration in its ConfigMap.
const MirrorConfigKey = "mirror.json"

const mirrorConfigDir = "/etc/multiactive/mirror"

// Keys of a Secret with Kafka credentials.
const (
	SecretKeyMechanism = "mechanism"
	SecretKeyUser      = "username"
	SecretKeyPassword  = "password"
	SecretKeyCA        = "ca.crt"
)

// Mirror is the copying of topics from one region into the one that it runs in.
type Mirror struct {
	// From is the source region.
	From           string
	Source, Target MirrorCluster
	// Topics by their local names in the source, sorted.
	Topics []string
}

// MirrorCluster is one end of a mirror.
type MirrorCluster struct {
	Kafka v1alpha1.RegionKafka
	// Mechanism is the SASL mechanism that the Secret of Kafka.Auth names; empty without auth.
	Mechanism string
	// CA is true when that Secret has a certificate authority, and connections therefore use TLS.
	CA bool
}

// The mirror's configuration file.
type mirrorFile struct {
	Origin string      `json:"origin"`
	Source mirrorKafka `json:"source"`
	Target mirrorKafka `json:"target"`
	Topics []string    `json:"topics"`
}

type mirrorKafka struct {
	Brokers []string    `json:"brokers"`
	SASL    *mirrorSASL `json:"sasl,omitempty"`
	TLS     *mirrorTLS  `json:"tls,omitempty"`
}

type mirrorSASL struct {
	Mechanism    string `json:"mechanism"`
	UserFile     string `json:"userFile"`
	PasswordFile string `json:"passwordFile"`
}

type mirrorTLS struct {
	CAFile string `json:"caFile"`
}

// MirrorName is the name of the Deployment and ConfigMap of the mirror from a region.
func MirrorName(from string) string { return "multiactive-mirror-" + from }

// MirrorObjects returns the mirror's ConfigMap and Deployment, in that order, in the operator's
// namespace: the credentials are there, and one mirror serves all services.
func MirrorObjects(o Options, m Mirror) (*corev1.ConfigMap, *appsv1.Deployment) {
	objectMeta := metav1.ObjectMeta{
		Name: MirrorName(m.From), Namespace: o.OperatorNamespace,
		Labels: map[string]string{
			LabelManagedBy: ManagedBy, LabelMirrorFrom: m.From,
			"app.kubernetes.io/name": "multiactive-mirror", "app.kubernetes.io/component": string(ComponentMirror),
			LabelComponent: string(ComponentMirror),
		},
	}
	content, err := json.MarshalIndent(mirrorFile{
		Origin: m.From, Source: m.Source.file("source"), Target: m.Target.file("target"), Topics: m.Topics,
	}, "", "  ")
	if err != nil {
		panic("regional: a mirror's configuration of strings always marshals: " + err.Error())
	}
	config := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: *objectMeta.DeepCopy(),
		Data:       map[string]string{MirrorConfigKey: string(content) + "\n"},
	}
	return config, mirrorDeployment(o, m, objectMeta, content)
}

func mirrorDeployment(o Options, m Mirror, objectMeta metav1.ObjectMeta, config []byte) *appsv1.Deployment {
	sum := sha256.Sum256(config)
	spec := podSpec(corev1.Container{
		Name: "mirror", Image: o.MirrorImage, Command: []string{"/mirror"},
		Args: []string{
			"--config=" + mirrorConfigDir + "/" + MirrorConfigKey, fmt.Sprintf("--listen=$(POD_IP):%d", MirrorPort),
		},
		Env:            podEnv(),
		Ports:          []corev1.ContainerPort{tcp(portName, MirrorPort)},
		ReadinessProbe: httpProbe("/readyz", MirrorPort, 5),
		LivenessProbe:  httpProbe("/healthz", MirrorPort, 10),
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		},
		VolumeMounts: append([]corev1.VolumeMount{{Name: "config", MountPath: mirrorConfigDir, ReadOnly: true}},
			append(m.Source.mounts("source"), m.Target.mounts("target")...)...),
	})
	spec.Volumes = append([]corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: objectMeta.Name}},
	}}}, append(m.Source.volumes("source"), m.Target.volumes("target")...)...)
	selector := map[string]string{LabelMirrorFrom: m.From}
	podLabels := merged(selector, map[string]string{LabelComponent: string(ComponentMirror)})
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: objectMeta,
		Spec: appsv1.DeploymentSpec{
			// Two mirrors of one source at a time would put older records after newer ones.
			Replicas: ptr.To[int32](1),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels: podLabels, Annotations: map[string]string{AnnotationConfigHash: hex.EncodeToString(sum[:8])},
				},
				Spec: spec,
			},
		},
	}
}

// file names the Secret's files: the mirror reads them again when they change, which an environment never
// does.
func (c MirrorCluster) file(end string) mirrorKafka {
	f := mirrorKafka{Brokers: c.Kafka.BootstrapServers}
	if c.Mechanism != "" {
		f.SASL = &mirrorSASL{
			Mechanism: c.Mechanism, UserFile: secretDir(end) + "/" + SecretKeyUser, PasswordFile: secretDir(end) + "/" + SecretKeyPassword,
		}
	}
	if c.CA {
		f.TLS = &mirrorTLS{CAFile: secretDir(end) + "/" + SecretKeyCA}
	}
	return f
}

func (c MirrorCluster) mounts(end string) []corev1.VolumeMount {
	if len(c.keys()) == 0 {
		return nil
	}
	return []corev1.VolumeMount{{Name: secretVolume(end), MountPath: secretDir(end), ReadOnly: true}}
}

func (c MirrorCluster) volumes(end string) []corev1.Volume {
	keys := c.keys()
	if len(keys) == 0 {
		return nil
	}
	return []corev1.Volume{{Name: secretVolume(end), VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: c.Kafka.Auth.SecretRef.Name, Items: keys,
	}}}}
}

// keys are what the mirror needs of the Secret.
func (c MirrorCluster) keys() []corev1.KeyToPath {
	var keys []corev1.KeyToPath
	if c.Mechanism != "" {
		keys = append(keys, corev1.KeyToPath{Key: SecretKeyUser, Path: SecretKeyUser}, corev1.KeyToPath{Key: SecretKeyPassword, Path: SecretKeyPassword})
	}
	if c.CA {
		keys = append(keys, corev1.KeyToPath{Key: SecretKeyCA, Path: SecretKeyCA})
	}
	return keys
}

func secretVolume(end string) string { return end + "-kafka" }

func secretDir(end string) string { return "/etc/multiactive/" + secretVolume(end) }
