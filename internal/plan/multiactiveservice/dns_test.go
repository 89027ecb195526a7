package multiactiveservice_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/dns"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/copies"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// named declares dns, and has the records of the given regions be there; none: there is no DNSEndpoint.
func named(seen *plan.Seen, mas *v1alpha1.MultiActiveService, regions ...string) {
	mas.Spec.DNS = &v1alpha1.DNS{Host: "user.example.com"}
	seen.DNSHosts, seen.DNS = "user.example.com", &plan.DNSSeen{Owner: "own"}
	if len(regions) > 0 {
		seen.DNS.Object = dns.Endpoint(mas, "own", regions)
	}
}

// identifiers are the regions whose records an object has.
func identifiers(obj *unstructured.Unstructured) []string {
	var out []string
	records, _, _ := unstructured.NestedSlice(obj.Object, "spec", "endpoints")
	for _, r := range records {
		out = append(out, r.(map[string]any)["setIdentifier"].(string))
	}
	return out
}

func TestDNS(t *testing.T) {
	t.Parallel()
	all := []string{"beijing", "shanghai", "shenzhen"}
	type world = func(*v1alpha1.MultiActiveService, *plan.Seen)
	state := func(region string, s ownership.RegionState) world {
		return func(_ *v1alpha1.MultiActiveService, seen *plan.Seen) {
			seen.Configuration.View.Regions[region] = ownership.RegionRecord{State: s, Role: "Active"}
		}
	}
	record := func(change func(*ownership.ServiceRecord)) world {
		return func(_ *v1alpha1.MultiActiveService, seen *plan.Seen) {
			r := seen.Configuration.Services[uid]
			change(&r)
			seen.Configuration.Services[uid] = r
		}
	}
	asPeer := func(change func(*plan.Peers)) world {
		return func(_ *v1alpha1.MultiActiveService, seen *plan.Seen) {
			seen.Peers = agreed()
			change(seen.Peers)
		}
	}
	undeclared := func(m *v1alpha1.MultiActiveService, _ *plan.Seen) { m.Spec.DNS = nil }
	both := func(a, b world) world {
		return func(m *v1alpha1.MultiActiveService, s *plan.Seen) { a(m, s); b(m, s) }
	}
	foreign := func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.DNS.Object.SetLabels(nil) }
	for name, c := range map[string]struct {
		have  []string
		world world
		// writes are the regions of the records that are written; deletes: the object is deleted.
		writes  []string
		deletes bool
		// again is when to look again; 0: nothing is to be looked for.
		again time.Duration
		// says is what the condition is when the step is not carried out.
		says, words string
	}{
		"declared, and not there": {writes: all, again: time.Minute, says: "False/Progressing"},
		"as declared":             {have: all, again: 10 * time.Minute, says: "True/AsDeclared", words: "accounts/user has user.example.com lead to beijing, shanghai, shenzhen"},
		"a region is lost": {
			have: all, world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { lose(s, "beijing") },
			writes: all[1:], again: time.Minute, says: "False/Progressing",
		},
		"a region is lost, and left out": {
			have: all[1:], world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { lose(s, "beijing") },
			again: 10 * time.Minute, says: "True/AsDeclared", words: "lead to shanghai, shenzhen; left out: beijing (lost)",
		},
		"a region is drained":              {have: all, world: state("beijing", ownership.RegionDrained), writes: all[1:], again: time.Minute, says: "False/Progressing"},
		"a region is back":                 {have: all[1:], world: state("beijing", ownership.RegionReturning), writes: all, again: time.Minute, says: "False/Progressing"},
		"a region is emptied of it":        {have: all, world: record(func(r *ownership.ServiceRecord) { r.Excluded = []string{"shanghai"} }), writes: []string{"beijing", "shenzhen"}, again: time.Minute, says: "False/Progressing"},
		"a region that is not accepted":    {have: all[:2], world: record(func(r *ownership.ServiceRecord) { r.Regions = all[:2] }), again: 10 * time.Minute, says: "True/AsDeclared", words: "left out: shenzhen (not accepted yet)"},
		"a region that is not in the view": {have: all[1:], world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { delete(s.Configuration.View.Regions, "beijing") }, again: 10 * time.Minute, says: "True/AsDeclared", words: "left out: beijing (not in the agreed view)"},
		"a region that may not run it": {
			have: all[1:], world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Region.Spec.AllowedNamespaces = nil
			},
			again: 10 * time.Minute, says: "True/AsDeclared", words: "left out: beijing (may not run it)",
		},
		"a region without a gateway": {
			have: all, world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Slice.Status.Gateway.Ready = 0
			},
			writes: all[1:], again: time.Minute, says: "False/Progressing",
		},
		"the hub alone does not reach a region": {
			have: all, world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.Regions["beijing"].Connection, s.Regions["beijing"].Slice = plan.Unusable, nil
			}, again: 10 * time.Minute, says: "True/AsDeclared",
		},
		"the last region stays": {
			have: all[2:], world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				for _, name := range all {
					lose(s, name)
				}
			}, again: time.Minute, says: "False/NoServingRegion", words: "stay as they are",
		},
		"not accepted": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { delete(s.Configuration.Services, uid) },
			again: time.Minute, says: "False/Progressing", words: "accept the service",
		},
		"the store is away": {
			have: all[1:], world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.StoreConnected = false },
			again: time.Minute, says: "Unknown/StoreUnreachable",
		},
		"a host that the namespace may not have": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.DNSHosts = "*.example.org" },
			again: time.Minute, says: "False/HostNotAllowed", words: "user.example.com",
		},
		"a host that another service has": {
			have: all[1:], world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.DNSHostOf = "shop/cart" },
			again: time.Minute, says: "False/HostTaken", words: "service shop/cart declared user.example.com before",
		},
		"names and addresses": {
			have: all, world: func(m *v1alpha1.MultiActiveService, _ *plan.Seen) { m.Spec.Regions[0].Endpoint = "http://192.0.2.1" },
			again: time.Minute, says: "False/TargetsUnfit", words: "those of beijing are addresses",
		},
		"without ExternalDNS": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) {
				s.DNS.Problem = &plan.StageError{Reason: v1alpha1.ReasonExternalDNSMissing, Message: "install it"}
			}, again: time.Minute, says: "False/ExternalDNSMissing", words: "install it",
		},
		"somebody else's object":                {have: all[:1], world: foreign, again: time.Minute, says: "False/NotOurs", words: "accounts/user was not made"},
		"declared no more":                      {have: all, world: undeclared, deletes: true, says: "False/Progressing", words: "to be deleted"},
		"declared no more, and somebody else's": {have: all, world: both(foreign, undeclared), says: "True/NoDNS"},
		"declared no more, and gone":            {world: undeclared, says: "True/NoDNS"},
		"deleted":                               {have: all[1:], world: func(m *v1alpha1.MultiActiveService, _ *plan.Seen) { m.DeletionTimestamp = &metav1.Time{Time: start} }, says: "False/Deleting"},
		"a peer that does not lead writes its own": {
			have: all[1:], world: asPeer(func(p *plan.Peers) { p.Ballot = 0 }), writes: all, again: time.Minute, says: "False/Progressing",
		},
		"a peer whose copies do not agree": {
			have: all[1:], world: asPeer(func(p *plan.Peers) { p.Verdict.Outcome = copies.Undecided }), again: time.Minute, says: "False/NoMajority",
		},
		"nor does it delete": {
			have: all, world: both(undeclared, asPeer(func(p *plan.Peers) { p.Verdict.Outcome = copies.Undecided })), says: "False/Progressing",
		},
		"a cluster without a copy": {
			world: func(_ *v1alpha1.MultiActiveService, s *plan.Seen) { s.DNS = nil }, says: "False/Progressing", words: "let go of",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			named(&seen, mas, c.have...)
			if c.world != nil {
				c.world(mas, &seen)
			}
			todo := plan.Decide(start, mas, seen)
			var writes []string
			deletes := false
			for _, s := range todo.Steps {
				switch s.Kind { //nolint:exhaustive // the others are not of DNS
				case plan.StepWriteDNS:
					writes = identifiers(s.DNS)
				case plan.StepDeleteDNS:
					deletes = true
				}
			}
			if diff := cmp.Diff(c.writes, writes); diff != "" || deletes != c.deletes {
				t.Errorf("writes (-want +got)\n%s, deletes %t, want %t", diff, deletes, c.deletes)
			}
			if todo.RecheckAfter != c.again {
				t.Errorf("looks again after %s, want %s", todo.RecheckAfter, c.again)
			}
			plan.Report(start, mas, seen, todo, true)
			got := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionDNSReady)
			if is := string(got.Status) + "/" + got.Reason; is != c.says || !strings.Contains(got.Message, c.words) {
				t.Errorf("it says %s (%s), want %s with %q", is, got.Message, c.says, c.words)
			}
		})
	}
}

// Records that are not written keep nothing else from being ready.
func TestDNSDoesNotCountForReady(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	named(&seen, mas)
	seen.DNSHosts = ""
	plan.Report(start, mas, seen, plan.Decide(start, mas, seen), true)
	if !meta.IsStatusConditionTrue(mas.Status.Conditions, v1alpha1.ConditionReady) {
		t.Errorf("conditions %v", mas.Status.Conditions)
	}
}

func TestLooksForDNS(t *testing.T) {
	t.Parallel()
	mas := service()
	if plan.LooksForDNS(mas) {
		t.Error("for one that was never declared")
	}
	seen := healthy(mas)
	plan.Report(start, mas, seen, plan.Plan{}, true)
	if plan.LooksForDNS(mas) {
		t.Error("for one that was not declared when it was last looked at")
	}
	named(&seen, mas, "beijing")
	plan.Report(start, mas, seen, plan.Plan{}, true)
	if mas.Spec.DNS = nil; !plan.LooksForDNS(mas) {
		t.Error("not for one that was declared when it was last looked at")
	}
}
