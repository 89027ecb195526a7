package regional

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
)

const lastPort = 65535

// ApplicationPolicy lets only Pods of the same service reach the application's HTTP port, so that
// nobody goes round the gateway and writes where the key has no home. All its other ports stay as
// open as they are without a policy: metrics, debuggers, cluster protocols.
func ApplicationPolicy(rs *v1alpha1.RegionalService) *networkingv1.NetworkPolicy {
	port := rs.Spec.Workload.Port
	guarded := networkingv1.NetworkPolicyIngressRule{
		Ports: []networkingv1.NetworkPolicyPort{portRange(corev1.ProtocolTCP, port, port)},
		From: []networkingv1.NetworkPolicyPeer{{
			PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{LabelService: rs.Name}},
		}},
	}
	var rest networkingv1.NetworkPolicyIngressRule
	if port > 1 {
		rest.Ports = append(rest.Ports, portRange(corev1.ProtocolTCP, 1, port-1))
	}
	if port < lastPort {
		rest.Ports = append(rest.Ports, portRange(corev1.ProtocolTCP, port+1, lastPort))
	}
	rest.Ports = append(rest.Ports, portRange(corev1.ProtocolUDP, 1, lastPort), portRange(corev1.ProtocolSCTP, 1, lastPort))
	return policy(rs, rs.Name, ComponentApplication, guarded, rest)
}

// GatewayPolicy lets anybody reach the gateway's ports for users and peers, and Pods of the cluster
// the one for health, metrics and on-call.
func GatewayPolicy(rs *v1alpha1.RegionalService) *networkingv1.NetworkPolicy {
	everybody := []networkingv1.NetworkPolicyPort{portRange(corev1.ProtocolTCP, GatewayPort, GatewayPort)}
	if rs.Spec.Gateway.PeerTLS != nil {
		everybody = append(everybody, portRange(corev1.ProtocolTCP, GatewayPeerPort, GatewayPeerPort))
	}
	return policy(rs, GatewayName(rs.Name), ComponentGateway,
		networkingv1.NetworkPolicyIngressRule{Ports: everybody},
		networkingv1.NetworkPolicyIngressRule{
			Ports: []networkingv1.NetworkPolicyPort{portRange(corev1.ProtocolTCP, GatewayAdminPort, GatewayAdminPort)},
			From:  []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}},
		})
}

func policy(rs *v1alpha1.RegionalService, name string, component Component, ingress ...networkingv1.NetworkPolicyIngressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: meta(rs, name, component),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: Selector(rs.Name, component)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     ingress,
		},
	}
}

func portRange(protocol corev1.Protocol, first, last int32) networkingv1.NetworkPolicyPort {
	p := networkingv1.NetworkPolicyPort{Protocol: ptr.To(protocol), Port: ptr.To(intstr.FromInt32(first))}
	if last > first {
		p.EndPort = ptr.To(last)
	}
	return p
}
