package regional

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// FeaturePeerTLS is reported by members that act on gateway.peerTLS and peers[].peerEndpoint.
const FeaturePeerTLS = "PeerTLS"

// PeerSecretName is the Secret in each namespace with the certificates of its services' gateways. It has one
// name everywhere, so that the member needs no right to any other.
const PeerSecretName = "multiactive-peer-certificates"

const (
	peerPortName = "peers"
	// peerFilesDir is where a gateway finds its certificate for peers.
	peerFilesDir = "/etc/multiactive/peer"
	// peerFileCertificate and peerFileKey are what it looks for there.
	peerFileCertificate = "tls.crt"
	peerFileKey         = "tls.key"
)

// PeerCertificateKeys are the keys of PeerSecretName with a service's certificate and private key.
func PeerCertificateKeys(service string) (certificate, key string) {
	return service + ".crt", service + ".key"
}

// OwnPeerCertificate reports whether the member issues the certificate of the service's gateways.
func OwnPeerCertificate(rs *v1alpha1.RegionalService) bool {
	return rs.Spec.Gateway.PeerTLS != nil && rs.Spec.Gateway.PeerTLS.SecretName == ""
}

// listenForPeers opens the gateway's port for other regions. The Secret is optional, so that gateways run, and
// serve what is their own, before it is there.
func listenForPeers(rs *v1alpha1.RegionalService, pod *corev1.PodSpec) {
	p := rs.Spec.Gateway.PeerTLS
	if p == nil {
		return
	}
	const volume = "peer-certificate"
	c := &pod.Containers[0]
	c.Args = append(c.Args, fmt.Sprintf("--peer-listen=$(POD_IP):%d", GatewayPeerPort), "--peer-tls-dir="+peerFilesDir)
	c.Ports = append(c.Ports, tcp(peerPortName, GatewayPeerPort))
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: peerFilesDir, ReadOnly: true})
	source := &corev1.SecretVolumeSource{SecretName: p.SecretName, Optional: ptr.To(true), DefaultMode: ptr.To[int32](0o444)}
	if OwnPeerCertificate(rs) {
		certificate, key := PeerCertificateKeys(rs.Name)
		source.SecretName = PeerSecretName
		source.Items = []corev1.KeyToPath{{Key: certificate, Path: peerFileCertificate}, {Key: key, Path: peerFileKey}}
	}
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Secret: source}})
}

func peerServicePort() corev1.ServicePort {
	return corev1.ServicePort{
		Name: peerPortName, Protocol: corev1.ProtocolTCP, Port: GatewayPeerPort, TargetPort: intstr.FromInt32(GatewayPeerPort),
	}
}

// mutual completes a region that is spoken to over mutual TLS. Its authorities are known before it is dialled: it may
// dial first.
func mutual(r *routing.Region, spec *v1alpha1.RegionalServiceSpec, peer v1alpha1.Peer, c ownership.Configuration) {
	if spec.Gateway.PeerTLS == nil {
		return
	}
	r.PeerEndpoint = peer.PeerEndpoint
	r.Authorities = strings.Join(c.Trusts[r.Name].Authorities, "")
}

// plainHopsRefused reports whether the region's gateways take hops over mutual TLS alone. Without an endpoint
// for that, nobody could send them any.
func plainHopsRefused(spec *v1alpha1.RegionalServiceSpec) bool {
	if spec.Gateway.PeerTLS == nil || spec.Gateway.PeerTLS.PlaintextHops == v1alpha1.PlaintextHopsAccept {
		return false
	}
	for _, p := range spec.Peers {
		if p.Name == spec.Region {
			return p.PeerEndpoint != ""
		}
	}
	return false
}
