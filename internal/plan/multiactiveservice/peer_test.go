package multiactiveservice_test

import (
	stdslices "slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/copies"
	plan "multiactive.dev/operator/internal/plan/multiactiveservice"
)

// ballot is that of the hub that acts.
const ballot = 7

// agreed has the regions agree, beijing being this hub's.
func agreed(states ...copies.State) *plan.Peers {
	var all []copies.Copy
	for i, name := range []string{"beijing", "shanghai", "shenzhen"} {
		c := copies.Copy{Region: name, State: copies.Present, Hash: "a", UID: "u" + name}
		if i < len(states) {
			c.State = states[i]
		}
		all = append(all, c)
	}
	return &plan.Peers{Verdict: copies.Decide(all), Region: "beijing", Local: all[0].State, Finalized: true, Ballot: ballot}
}

// kinds lists steps with their regions.
func kinds(p plan.Plan) []string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, strings.TrimSpace(string(s.Kind)+" "+s.Region))
	}
	return out
}

// written has every region have its slice as some leader wrote it.
func written(seen plan.Seen, by int64) {
	for _, at := range seen.Regions {
		at.Slice.Spec.Stamp = v1alpha1.SliceStamp{Ballot: by, Generation: 40}
		slices.Sealed(at.Slice)
	}
}

func TestDecideAsPeer(t *testing.T) {
	t.Parallel()
	deleting, absent, unknown := copies.Deleting, copies.Absent, copies.Unknown
	changed := func(m *v1alpha1.MultiActiveService) { m.Spec.Workload.Replicas = ptr.To[int32](9) }
	deleted := func(m *v1alpha1.MultiActiveService) { m.DeletionTimestamp = ptr.To(metav1.NewTime(start)) }
	abandoned := func(m *v1alpha1.MultiActiveService) {
		deleted(m)
		m.Annotations = map[string]string{v1alpha1.AnnotationAbandoned: "shenzhen"}
	}
	forgotten := func(s *plan.Seen) {
		s.Configuration.Services, s.Configuration.ServiceIntents = nil, nil
		for _, at := range s.Regions {
			at.Slice = nil
		}
	}
	for name, c := range map[string]struct {
		peers  *plan.Peers
		mas    func(*v1alpha1.MultiActiveService)
		seen   func(*plan.Seen)
		want   []string
		blocks string
	}{
		"as declared": {peers: agreed()},
		"as declared, by whom this hub follows: nothing is written for a ballot": {
			peers: agreed(), seen: func(s *plan.Seen) { written(*s, ballot-1) },
		},
		"changed":                 {peers: agreed(), mas: changed, want: []string{"Stage beijing"}},
		"changed, not the leader": {peers: with(agreed(), func(p *plan.Peers) { p.Ballot = 0 }), mas: changed},
		"changed, and others have what a former leader wrote": {
			peers: agreed(), mas: changed, seen: func(s *plan.Seen) { written(*s, ballot-1) },
			want: []string{"Stage beijing", "Stage shanghai", "Stage shenzhen"},
		},
		"no majority": {
			peers: with(agreed(unknown, unknown), func(p *plan.Peers) { p.Local = copies.Present }), mas: changed, blocks: "no majority",
		},
		"a Region has no majority": {
			peers: with(agreed(), func(p *plan.Peers) { p.Unsettled = []string{"shanghai"} }), mas: changed, blocks: "the same Region shanghai",
		},
		"a copy without the finalizer, wherever the leader is": {
			peers: with(agreed(), func(p *plan.Peers) { p.Finalized, p.Ballot = false, 0 }), want: []string{"AddFinalizer"},
		},
		"one copy is deleted: it goes, and nothing else": {
			peers: with(agreed(deleting), func(p *plan.Peers) { p.Ballot = 0 }), want: []string{"RemoveFinalizer"},
		},
		"most copies are deleted: routing stops first": {
			peers: agreed(deleting, deleting), mas: deleted, want: []string{"Propose"}, blocks: "to stop routing",
		},
		"most copies are deleted, not the leader: it waits": {
			peers: with(agreed(deleting, deleting), func(p *plan.Peers) { p.Ballot = 0 }), mas: deleted, blocks: "to stop routing",
		},
		"all is gone: the last step of the leader": {
			peers: agreed(deleting, deleting), mas: deleted,
			seen: func(s *plan.Seen) {
				forgotten(s)
				s.Configuration.ServiceIntents = map[string]ownership.ServiceIntent{uid: {UID: uid, Deleted: true}}
			},
			want: []string{"Withdraw", "RemoveFinalizer"},
		},
		"all is gone, not the leader, whose region is out of reach": {
			peers: with(agreed(deleting, deleting), func(p *plan.Peers) { p.Ballot = 0 }), mas: deleted,
			seen: func(s *plan.Seen) {
				forgotten(s)
				s.Regions["shenzhen"].Connection = plan.Unusable
			},
			want: []string{"RemoveFinalizer"}, blocks: "cannot reach shenzhen",
		},
		"most copies are deleted, and this cluster's is not: it keeps its finalizer": {
			peers: agreed(copies.Present, deleting, absent), mas: deleted, seen: forgotten,
		},
		"a slice of a leader that was cut off before it could propose the service": {
			peers: agreed(), seen: func(s *plan.Seen) {
				stray(s.Regions["shanghai"].Slice, ballot-1)
			},
			want: []string{"Delete shanghai"},
		},
		"a slice of another service that is not of a peer": {
			peers: agreed(), seen: func(s *plan.Seen) { stray(s.Regions["shanghai"].Slice, 0) },
		},
		"a person gives up on a region: the other hubs are told first": {
			peers: agreed(deleting, deleting), mas: abandoned, seen: func(s *plan.Seen) { lost(s, nil) }, want: []string{"Propose"},
		},
		"a person has given up on a region, said elsewhere": {
			peers: with(agreed(deleting, deleting), func(p *plan.Peers) { p.Ballot = 0 }), mas: deleted,
			seen: func(s *plan.Seen) { lost(s, []string{"shenzhen"}) }, want: []string{"RemoveFinalizer"},
		},
		"a deletion that nobody can count": {
			peers: agreed(deleting, unknown, copies.Present), mas: deleted, blocks: "cannot be read",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			written(seen, ballot)
			seen.Peers = c.peers
			if c.mas != nil {
				c.mas(mas)
			}
			if c.seen != nil {
				c.seen(&seen)
			}
			got := plan.Decide(start, mas, seen)
			if diff := cmp.Diff(c.want, kinds(got)); diff != "" {
				t.Errorf("steps (-want +got)\n%s", diff)
			}
			if (c.blocks == "") != (got.Blocked == "") || !strings.Contains(got.Blocked, c.blocks) {
				t.Errorf("blocked by %q, want %q", got.Blocked, c.blocks)
			}
		})
	}
}

// stray makes a slice one of a service that nobody knows.
func stray(s *v1alpha1.RegionalService, by int64) {
	s.Spec.ServiceID, s.Spec.Stamp.Ballot = "stray", by
}

// lost is a deletion that waits for shenzhen alone, of which is agreed that it is not waited for.
func lost(s *plan.Seen, agreed []string) {
	record := s.Configuration.Services[uid]
	record.Deleted = true
	s.Configuration.Services[uid] = record
	s.Configuration.ServiceIntents[uid] = ownership.ServiceIntent{UID: uid, Deleted: true, Abandoned: agreed, Regions: []string{"shenzhen"}}
	for _, at := range s.Regions {
		at.Slice = nil
	}
	s.Regions["shenzhen"].Connection = plan.Unusable
}

func with(p *plan.Peers, change func(*plan.Peers)) *plan.Peers {
	change(p)
	return p
}

// Every write of a leader goes on from the highest stamp there is, and a higher ballot than its own keeps
// it from writing at all.
func TestStampsOfPeers(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	written(seen, ballot-2)
	seen.Regions["shanghai"].Slice.Spec.Stamp.Generation = 90
	slices.Sealed(seen.Regions["shanghai"].Slice)
	seen.Peers = agreed()
	mas.Spec.Workload.Replicas = ptr.To[int32](9)
	for _, s := range plan.Decide(start, mas, seen).Steps {
		if want := (v1alpha1.SliceStamp{Ballot: ballot, Generation: 91}); s.Kind == plan.StepStage && s.Slice.Spec.Stamp != want {
			t.Errorf("%s: stamp %+v, want %+v", s.Region, s.Slice.Spec.Stamp, want)
		}
	}
	seen.Regions["shenzhen"].Slice.Spec.Stamp.Ballot = ballot + 3
	if got := plan.Decide(start, mas, seen); got.MetBallot != ballot+3 || len(got.Steps) > 0 {
		t.Errorf("met %d, steps %v", got.MetBallot, kinds(got))
	}
}

// A leader proposes another ownership only once whoever led before cannot take it out of a region again.
func TestPeerStampsBeforeItProposes(t *testing.T) {
	t.Parallel()
	mas := service()
	seen := healthy(mas)
	seen.Peers = agreed()
	mas.Spec.Regions[0].Weight = ptr.To[int32](1)
	proposed := func() bool {
		return stdslices.ContainsFunc(plan.Decide(start, mas, seen).Steps, func(s plan.Step) bool {
			return s.Kind == plan.StepPropose && s.Intent.SpecHash != seen.Configuration.Services[uid].SpecHash
		})
	}
	stage(t, mas, seen, ballot-1)
	if proposed() {
		t.Error("proposed while the regions have what a former leader wrote")
	}
	stage(t, mas, seen, ballot)
	if !proposed() {
		t.Error("not proposed though every region has it")
	}
}

// stage has the leader of a ballot write what it decides, and the members act on it.
func stage(t *testing.T, mas *v1alpha1.MultiActiveService, seen plan.Seen, by int64) {
	t.Helper()
	seen.Peers = with(agreed(), func(p *plan.Peers) { p.Ballot = by })
	for range 3 {
		for _, s := range plan.Decide(start, mas, seen).Steps {
			if s.Kind == plan.StepStage {
				s.Slice.Generation = seen.Regions[s.Region].Slice.Generation + 1
				report(s.Slice, metav1.ConditionTrue)
				seen.Regions[s.Region].Slice = s.Slice
			}
		}
	}
}

func TestReportOfPeers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peers         *plan.Peers
		sync, ready   metav1.ConditionStatus
		reason, words string
	}{
		"alike":             {agreed(), "True", "True", v1alpha1.ReasonCopiesAgree, "every region"},
		"another differs":   {agreed(copies.Present, copies.Present, copies.Absent), "False", "True", v1alpha1.ReasonCopiesDiffer, "shenzhen does not have it"},
		"this one differs":  {agreed(copies.Absent), "False", "False", v1alpha1.ReasonCopiesDiffer, "beijing does not have it"},
		"one is not read":   {agreed(copies.Present, copies.Present, copies.Unknown), "Unknown", "True", v1alpha1.ReasonCopiesUnread, "shenzhen cannot be read"},
		"no majority":       {agreed(copies.Present, copies.Unknown, copies.Unknown), "False", "False", v1alpha1.ReasonNoMajority, "shanghai cannot be read"},
		"Region undecided":  {with(agreed(), func(p *plan.Peers) { p.Unsettled = []string{"shanghai"} }), "False", "False", v1alpha1.ReasonNoMajority, "Region shanghai"},
		"not read, not led": {with(agreed(), func(p *plan.Peers) { p.Ballot = 0 }), "True", "True", v1alpha1.ReasonCopiesAgree, "every region"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mas := service()
			seen := healthy(mas)
			seen.Peers = c.peers
			plan.Report(start, mas, seen, plan.Decide(start, mas, seen), true)
			sync := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionSpecInSync)
			ready := meta.FindStatusCondition(mas.Status.Conditions, v1alpha1.ConditionReady)
			if sync.Status != c.sync || sync.Reason != c.reason || !strings.Contains(sync.Message, c.words) {
				t.Errorf("SpecInSync %s/%s: %s; want %s/%s with %q", sync.Status, sync.Reason, sync.Message, c.sync, c.reason, c.words)
			}
			if ready.Status != c.ready {
				t.Errorf("Ready %s/%s: %s; want %s", ready.Status, ready.Reason, ready.Message, c.ready)
			}
		})
	}
}
