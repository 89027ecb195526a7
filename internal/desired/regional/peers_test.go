package regional_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/peertls"
)

// peersOf is the sample with mutual TLS.
func peersOf(p v1alpha1.PeerTLS) *v1alpha1.RegionalService {
	rs := sample()
	rs.Spec.Gateway.PeerTLS = &p
	for i := range rs.Spec.Peers {
		rs.Spec.Peers[i].PeerEndpoint = "https://peers." + rs.Spec.Peers[i].Name + ".example.com"
	}
	return rs
}

func TestGatewayForPeers(t *testing.T) {
	cases := map[string]struct {
		tls    v1alpha1.PeerTLS
		secret string
		items  []corev1.KeyToPath
	}{
		"the member's certificates": {v1alpha1.PeerTLS{}, "multiactive-peer-certificates", []corev1.KeyToPath{
			{Key: "user.crt", Path: peertls.FileCertificate}, {Key: "user.key", Path: peertls.FileKey},
		}},
		"others' certificates": {v1alpha1.PeerTLS{SecretName: "user-peers"}, "user-peers", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rs := peersOf(tc.tls)
			pod := regional.GatewayDeployment(rs, options).Spec.Template.Spec
			c := pod.Containers[0]
			if !slices.Contains(c.Args, "--peer-listen=$(POD_IP):8443") || !slices.Contains(c.Args, "--peer-tls-dir=/etc/multiactive/peer") {
				t.Errorf("arguments are %v", c.Args)
			}
			i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == tc.secret })
			if i < 0 || !slices.Equal(pod.Volumes[i].Secret.Items, tc.items) || !*pod.Volumes[i].Secret.Optional {
				t.Fatalf("volumes are %+v", pod.Volumes)
			}
			if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
				return m.Name == pod.Volumes[i].Name && m.MountPath == "/etc/multiactive/peer" && m.ReadOnly
			}) {
				t.Errorf("mounts are %+v", c.VolumeMounts)
			}
			if ports := regional.GatewayService(rs).Spec.Ports; len(ports) != 2 || ports[1].Port != regional.GatewayPeerPort {
				t.Errorf("the Service has ports %+v", ports)
			}
			if rule := regional.GatewayPolicy(rs).Spec.Ingress[0]; len(rule.From) != 0 || len(rule.Ports) != 2 || rule.Ports[1].Port.IntVal != regional.GatewayPeerPort {
				t.Errorf("the policy lets everybody reach %+v", rule)
			}
		})
	}
	plain := sample()
	if len(regional.GatewayService(plain).Spec.Ports) != 1 || len(regional.GatewayPolicy(plain).Spec.Ingress[0].Ports) != 1 ||
		strings.Contains(strings.Join(regional.GatewayDeployment(plain, options).Spec.Template.Spec.Containers[0].Args, " "), "peer") {
		t.Error("a service without peerTLS has a port for peers")
	}
}

func TestRoutingToPeers(t *testing.T) {
	c := ownership.Configuration{Trusts: map[string]ownership.Trust{"shanghai": {Authorities: []string{"one\n", "two\n"}}}}
	route := func(rs *v1alpha1.RegionalService) (endpoints, authorities []string, refused bool) {
		out := regional.Routing(rs, "beijing", "http://10.0.0.1:8080", c)
		for _, r := range out.Regions {
			endpoints, authorities = append(endpoints, r.PeerEndpoint), append(authorities, r.Authorities)
		}
		return endpoints, authorities, out.PlainHopsRefused
	}
	endpoints, authorities, refused := route(peersOf(v1alpha1.PeerTLS{}))
	if endpoints[1] != "https://peers.shanghai.example.com" || authorities[1] != "one\ntwo\n" || authorities[2] != "" || !refused {
		t.Errorf("peers are at %q with authorities %q; plain hops refused: %t", endpoints, authorities, refused)
	}
	if _, _, refused := route(peersOf(v1alpha1.PeerTLS{PlaintextHops: v1alpha1.PlaintextHopsAccept})); refused {
		t.Error("plain hops are refused, and are to be accepted")
	}
	unreachable := peersOf(v1alpha1.PeerTLS{})
	unreachable.Spec.Peers[0].PeerEndpoint = ""
	if _, _, refused := route(unreachable); refused {
		t.Error("plain hops are refused, and nobody says where else to send them")
	}
	undialled := peersOf(v1alpha1.PeerTLS{})
	undialled.Spec.Peers[1].PeerEndpoint = ""
	if endpoints, authorities, _ := route(undialled); endpoints[1] != "" || authorities[1] != "one\ntwo\n" {
		t.Errorf("a peer that may dial before it is dialled: %q with authorities %q", endpoints[1], authorities[1])
	}
	endpoints, authorities, refused = route(sample())
	if strings.Join(endpoints, "")+strings.Join(authorities, "") != "" || refused {
		t.Errorf("without peerTLS: %q, %q, %t", endpoints, authorities, refused)
	}
}
