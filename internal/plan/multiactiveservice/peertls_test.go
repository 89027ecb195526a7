package multiactiveservice_test

import (
	"maps"
	stdslices "slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/slices"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// secured declares mutual TLS everywhere.
func secured(mas *v1alpha1.MultiActiveService) {
	mas.Spec.Gateway = &v1alpha1.Gateway{PeerTLS: &v1alpha1.PeerTLS{}}
	for i := range mas.Spec.Regions {
		mas.Spec.Regions[i].PeerEndpoint = "https://peers." + mas.Spec.Regions[i].Name + ".example.com"
	}
}

// knows lets every region's member name the features, and its gateways take the requests of all others.
func knows(seen *plan.Seen, features ...string) {
	names := stdslices.Sorted(maps.Keys(seen.Regions))
	for name, r := range seen.Regions {
		r.Slice.Status.Features = features
		r.Slice.Status.AcceptsPeers = stdslices.DeleteFunc(stdslices.Clone(names), func(other string) bool { return other == name })
	}
}

// dialled lets every region have acted on a slice by which it dials the others and still takes plain hops.
func dialled(mas *v1alpha1.MultiActiveService, seen *plan.Seen) {
	accepting := mas.DeepCopy()
	accepting.Spec.Gateway.PeerTLS.PlaintextHops = v1alpha1.PlaintextHopsAccept
	for name, r := range seen.Regions {
		built := slices.Build(slices.Input{Service: accepting, Regions: map[string]*v1alpha1.Region{
			"beijing": seen.Regions["beijing"].Region, "shanghai": seen.Regions["shanghai"].Region, "shenzhen": seen.Regions["shenzhen"].Region,
		}}, name)
		r.Slice.Spec, r.Slice.Annotations = built.Spec, built.Annotations
	}
}

// dialling returns, by region that a slice is written to, whom it dials by mutual TLS and whether it takes plain hops.
func dialling(p plan.Plan) map[string]string {
	out := map[string]string{}
	for _, step := range p.Steps {
		if step.Kind != plan.StepStage {
			continue
		}
		var dials []string
		for _, peer := range step.Slice.Spec.Peers {
			if peer.PeerEndpoint != "" {
				dials = append(dials, peer.Name)
			}
		}
		text := "none"
		if tls := step.Slice.Spec.Gateway.PeerTLS; tls != nil {
			text = "plain " + string(tls.PlaintextHops)
		}
		out[step.Region] = strings.Join(append(dials, text), " ")
	}
	return out
}

// TestPeerTLSIsStaged gives no member a field that it does not know, and lets no gateway dial a port that is not
// there or refuse who cannot do better.
func TestPeerTLSIsStaged(t *testing.T) {
	const all = "beijing shanghai shenzhen plain "
	cases := map[string]struct {
		change func(*v1alpha1.MultiActiveService, *plan.Seen)
		want   map[string]string
	}{
		"all members know it, and are told to dial first": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { knows(s, regional.FeaturePeerTLS) },
			map[string]string{"beijing": all + "Accept", "shanghai": all + "Accept", "shenzhen": all + "Accept"},
		},
		"all dial, and are told to refuse": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				dialled(m, s)
			},
			map[string]string{"beijing": all + "Refuse", "shanghai": all + "Refuse", "shenzhen": all + "Refuse"},
		},
		"one has not acted on it yet": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				dialled(m, s)
				s.Regions["shenzhen"].Slice.Generation++
			},
			map[string]string{"shenzhen": all + "Refuse"},
		},
		"the gateways of one do not listen yet": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				s.Regions["shenzhen"].Slice.Status.AcceptsPeers = nil
			},
			map[string]string{"beijing": "beijing shanghai plain Accept", "shanghai": "beijing shanghai plain Accept", "shenzhen": "shenzhen plain Accept"},
		},
		"one does not know who signs another's certificates": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				s.Regions["shenzhen"].Slice.Status.AcceptsPeers = []string{"beijing"}
			},
			map[string]string{"beijing": all + "Accept", "shanghai": "beijing shanghai plain Accept", "shenzhen": "beijing shenzhen plain Accept"},
		},
		"who dials goes on, whatever gateways say": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				dialled(m, s)
				for _, r := range s.Regions {
					r.Slice.Status.AcceptsPeers = nil
				}
			},
			map[string]string{"beijing": all + "Refuse", "shanghai": all + "Refuse", "shenzhen": all + "Refuse"},
		},
		"a region joins those that refuse plain hops": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				for _, name := range []string{"beijing", "shanghai"} {
					slice := s.Regions[name].Slice
					slice.Spec = slices.Build(slices.Input{Service: m}, name).Spec
					slice.Spec.Peers[2].PeerEndpoint, slice.Status.AcceptsPeers = "", []string{"beijing", "shanghai"}
				}
				s.Regions["shenzhen"].Slice.Status.AcceptsPeers, s.Regions["shenzhen"].Slice.Status.Features = nil, nil
			},
			map[string]string{"beijing": "beijing shanghai plain Refuse", "shanghai": "beijing shanghai plain Refuse"},
		},
		"the gateways of the region that joins run": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				for _, name := range []string{"beijing", "shanghai"} {
					slice := s.Regions[name].Slice
					slice.Spec = slices.Build(slices.Input{Service: m}, name).Spec
					slice.Spec.Peers[2].PeerEndpoint = ""
				}
				s.Regions["shenzhen"].Slice.Status.AcceptsPeers = nil
			},
			map[string]string{
				"beijing": "beijing shanghai plain Refuse", "shanghai": "beijing shanghai plain Refuse", "shenzhen": all + "Accept",
			},
		},
		"accepted on the way": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				m.Spec.Gateway.PeerTLS.PlaintextHops = v1alpha1.PlaintextHopsAccept
			},
			map[string]string{"beijing": all + "Accept", "shanghai": all + "Accept", "shenzhen": all + "Accept"},
		},
		"no member knows it": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { knows(s, "Shed") }, map[string]string{},
		},
		"one member is older": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				s.Regions["shenzhen"].Slice.Status.Features = []string{"Shed"}
			},
			map[string]string{"beijing": "beijing shanghai plain Accept", "shanghai": "beijing shanghai plain Accept"},
		},
		"a region without a slice": {
			func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				s.Regions["shenzhen"].Slice = nil
			},
			map[string]string{"beijing": "beijing shanghai plain Accept", "shanghai": "beijing shanghai plain Accept", "shenzhen": "none"},
		},
		"a region that cannot be reached goes on as it was": {
			func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
				knows(s, regional.FeaturePeerTLS)
				for name, r := range s.Regions {
					r.Slice.Spec = slices.Build(slices.Input{Service: m}, name).Spec
				}
				s.Regions["shenzhen"].Connection, s.Regions["shenzhen"].Slice = plan.Unusable, nil
			},
			map[string]string{"beijing": all + "Refuse", "shanghai": all + "Refuse"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			mas := service()
			seen := healthy(mas)
			secured(mas)
			tc.change(mas, &seen)
			if diff := cmp.Diff(tc.want, dialling(plan.Decide(start, mas, seen))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPeersAuthenticated(t *testing.T) {
	cases := map[string]struct {
		change func(*v1alpha1.MultiActiveService, *plan.Seen)
		reason string
		says   string
	}{
		"nothing declared": {func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
			m.Spec.Gateway = nil
			for i := range m.Spec.Regions {
				m.Spec.Regions[i].PeerEndpoint = ""
			}
		}, v1alpha1.ReasonPlaintextHops, "gateway.peerTLS"},
		"everything declared": {func(m *v1alpha1.MultiActiveService, s *plan.Seen) {
			for name, r := range s.Regions {
				r.Slice.Spec = slices.Build(slices.Input{Service: m}, name).Spec
			}
		}, v1alpha1.ReasonMutualTLS, "alone"},
		"on the way": {func(m *v1alpha1.MultiActiveService, s *plan.Seen) { dialled(m, s) }, v1alpha1.ReasonProgressing, "beijing, shanghai, shenzhen"},
		"gateways that do not listen": {func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
			s.Regions["shanghai"].Slice.Status.AcceptsPeers = []string{"beijing"}
		}, v1alpha1.ReasonProgressing, "the gateways of shanghai do not take"},
		"a region without": {func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
			m.Spec.Regions[1].PeerEndpoint = ""
		}, v1alpha1.ReasonPlaintextHops, "shanghai"},
		"accepted": {func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
			m.Spec.Gateway.PeerTLS.PlaintextHops = v1alpha1.PlaintextHopsAccept
		}, v1alpha1.ReasonPlaintextHops, "plaintextHops to Refuse"},
		"an older member": {func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
			s.Regions["shenzhen"].Slice.Status.Features = []string{"Shed"}
		}, v1alpha1.ReasonNotSupportedYet, "shenzhen"},
		"one region": {func(m *v1alpha1.MultiActiveService, _ *plan.Seen) {
			m.Spec.Regions = m.Spec.Regions[:1]
		}, v1alpha1.ReasonNoPeers, "one region"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			mas := service()
			seen := healthy(mas)
			secured(mas)
			knows(&seen, regional.FeaturePeerTLS)
			tc.change(mas, &seen)
			plan.Report(start, mas, seen, plan.Decide(start, mas, seen), true)
			c := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionPeersAuthenticated)
			if c == nil || c.Reason != tc.reason || !strings.Contains(c.Message, tc.says) {
				t.Errorf("the condition is %+v, want reason %s and %q in the message", c, tc.reason, tc.says)
			}
		})
	}
}
