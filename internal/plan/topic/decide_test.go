package topic

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	day   = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	ours  = Owner{Namespace: "accounts", Name: "user", UID: "b", CreatedAt: day}
	older = Owner{Namespace: "accounts", Name: "legacy", UID: "z", CreatedAt: day.Add(-time.Hour)}
	newer = Owner{Namespace: "accounts", Name: "copy", UID: "a", CreatedAt: day.Add(time.Hour)}
	twin  = Owner{Namespace: "accounts", Name: "twin", UID: "a", CreatedAt: day}
)

func wanted(change func(*Desired)) Desired {
	d := Desired{Name: "accounts.account", Partitions: 12, Retention: 168 * time.Hour, Owner: ours}
	if change != nil {
		change(&d)
	}
	return d
}

func present(change func(*Observed)) Observed {
	o := Observed{
		Exists: true, Partitions: 12, ReplicationFactor: 3, Brokers: 3, Claim: &ours,
		Configs: map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "min.insync.replicas": "2"},
	}
	if change != nil {
		change(&o)
	}
	return o
}

func TestDecide(t *testing.T) {
	created := map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "min.insync.replicas": "2"}
	alone := map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "min.insync.replicas": "1"}
	tests := map[string]struct {
		want    Desired
		seen    Observed
		steps   []Step
		refused Reason
		notes   []Reason
	}{
		"as declared: nothing to do": {want: wanted(nil), seen: present(nil)},
		"missing: claim first, then create": {
			want:  wanted(nil),
			seen:  Observed{Brokers: 3},
			steps: []Step{{Kind: StepClaim}, {Kind: StepCreate, Partitions: 12, ReplicationFactor: 3, Configs: created}},
			notes: []Reason{ReasonCreating},
		},
		"missing and claimed by us: deleted by somebody, or the crash between claim and create": {
			want:  wanted(nil),
			seen:  Observed{Brokers: 3, Claim: &ours},
			steps: []Step{{Kind: StepCreate, Partitions: 12, ReplicationFactor: 3, Configs: created}},
			notes: []Reason{ReasonRemade, ReasonCreating},
		},
		"one broker: replication lowered and said": {
			want:  wanted(nil),
			seen:  Observed{Brokers: 1, Claim: &ours},
			steps: []Step{{Kind: StepCreate, Partitions: 12, ReplicationFactor: 1, Configs: alone}},
			notes: []Reason{ReasonReplicationLowered, ReasonRemade, ReasonCreating},
		},
		"compacted, kept for ever": {
			want: wanted(func(d *Desired) { d.Compact, d.Retention = true, -1 }),
			seen: Observed{Brokers: 3, Claim: &ours},
			steps: []Step{{Kind: StepCreate, Partitions: 12, ReplicationFactor: 3, Configs: map[string]string{
				"cleanup.policy": "compact", "retention.ms": "-1", "min.insync.replicas": "2"}}},
			notes: []Reason{ReasonRemade, ReasonCreating},
		},
		"more partitions": {
			want:  wanted(func(d *Desired) { d.Partitions = 24 }),
			seen:  present(nil),
			steps: []Step{{Kind: StepRaisePartitions, Partitions: 24}},
		},
		"more partitions of a class ordered by key": {
			want:    wanted(func(d *Desired) { d.Partitions, d.OrderedByKey = 24, true }),
			seen:    present(nil),
			refused: ReasonPartitionsOrdered,
		},
		"fewer partitions: refused, retention repaired all the same": {
			want:    wanted(func(d *Desired) { d.Partitions = 6 }),
			seen:    present(func(o *Observed) { o.Configs["retention.ms"] = "1000" }),
			steps:   []Step{{Kind: StepAlterConfig, Configs: map[string]string{"retention.ms": "604800000"}}},
			refused: ReasonPartitionsLowered,
			notes:   []Reason{ReasonDriftRepaired},
		},
		"retention changed by hand": {
			want:  wanted(nil),
			seen:  present(func(o *Observed) { o.Configs["retention.ms"] = "1000" }),
			steps: []Step{{Kind: StepAlterConfig, Configs: map[string]string{"retention.ms": "604800000"}}},
			notes: []Reason{ReasonDriftRepaired},
		},
		"retention not declared: the broker's stays": {
			want: wanted(func(d *Desired) { d.Retention = 0 }),
			seen: present(func(o *Observed) { o.Configs["retention.ms"] = "1000" }),
		},
		"a topic nobody claimed is left alone": {
			want:    wanted(nil),
			seen:    present(func(o *Observed) { o.Claim = nil }),
			refused: ReasonNotOurs,
		},
		"a topic nobody claimed is adopted": {
			want:  wanted(func(d *Desired) { d.Adoption = AdoptionAdopt }),
			seen:  present(func(o *Observed) { o.Claim, o.Configs["retention.ms"] = nil, "1000" }),
			steps: []Step{{Kind: StepClaim}, {Kind: StepAlterConfig, Configs: map[string]string{"retention.ms": "604800000"}}},
			notes: []Reason{ReasonDriftRepaired},
		},
		"an older service has it": {
			want: wanted(nil), seen: present(func(o *Observed) { o.Claim = &older }), refused: ReasonConflict,
		},
		"adoption does not take it from an older service": {
			want:    wanted(func(d *Desired) { d.Adoption = AdoptionAdopt }),
			seen:    present(func(o *Observed) { o.Claim = &older }),
			refused: ReasonConflict,
		},
		"a newer service had claimed it": {
			want: wanted(nil), seen: present(func(o *Observed) { o.Claim = &newer }), steps: []Step{{Kind: StepClaim}},
		},
		"equally old: the UID decides": {
			want: wanted(nil), seen: present(func(o *Observed) { o.Claim = &twin }), refused: ReasonConflict,
		},
		"our own claim from before a deletion is renewed": {
			want: wanted(nil),
			seen: present(func(o *Observed) {
				o.Claim = &Owner{Namespace: "accounts", Name: "user", UID: "0", CreatedAt: day.Add(-time.Hour)}
			}),
			steps: []Step{{Kind: StepClaim}},
		},
		"observe: as declared": {
			want:  wanted(func(d *Desired) { d.Adoption = AdoptionObserve }),
			seen:  present(func(o *Observed) { o.Claim = &older }),
			notes: []Reason{ReasonObserved},
		},
		"observe: differs, never changed": {
			want:    wanted(func(d *Desired) { d.Adoption, d.Partitions = AdoptionObserve, 24 }),
			seen:    present(func(o *Observed) { o.Configs["retention.ms"] = "1000" }),
			refused: ReasonDiffers,
		},
		"observe: missing, never made": {
			want: wanted(func(d *Desired) { d.Adoption = AdoptionObserve }), seen: Observed{Brokers: 3}, refused: ReasonMissing,
		},
		"no partitions declared": {want: wanted(func(d *Desired) { d.Partitions = 0 }), seen: present(nil), refused: ReasonInvalid},
		"a retention of nothing": {want: wanted(func(d *Desired) { d.Retention = time.Millisecond }), seen: present(nil), refused: ReasonInvalid},
		"an unknown adoption":    {want: wanted(func(d *Desired) { d.Adoption = "Steal" }), seen: present(nil), refused: ReasonInvalid},
		"in sync above replicas is repaired": {
			want:  wanted(nil),
			seen:  present(func(o *Observed) { o.ReplicationFactor = 1 }),
			steps: []Step{{Kind: StepAlterConfig, Configs: map[string]string{"min.insync.replicas": "1"}}},
			notes: []Reason{ReasonDriftRepaired, ReasonReplicationLowered},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Decide(tt.want, tt.seen)
			if d := cmp.Diff(tt.steps, got.Steps); d != "" {
				t.Errorf("steps (-want +got):\n%s", d)
			}
			var refused Reason
			if got.Refused != nil {
				refused = got.Refused.Reason
				if !strings.Contains(got.Refused.Message, tt.want.Name) {
					t.Errorf("message does not name the topic: %q", got.Refused.Message)
				}
			}
			if refused != tt.refused {
				t.Errorf("refused = %q, want %q", refused, tt.refused)
			}
			var notes []Reason
			for _, n := range got.Notes {
				notes = append(notes, n.Reason)
			}
			if d := cmp.Diff(tt.notes, notes); d != "" {
				t.Errorf("notes (-want +got):\n%s", d)
			}
		})
	}
}

// carryOut is what the brokers and the record of claims look like afterwards.
func carryOut(p Plan, want Desired, seen Observed) Observed {
	cfg := map[string]string{}
	maps.Copy(cfg, seen.Configs)
	seen.Configs = cfg
	for _, s := range p.Steps {
		switch s.Kind {
		case StepClaim:
			owner := want.Owner
			seen.Claim = &owner
		case StepCreate:
			seen.Exists, seen.Partitions, seen.ReplicationFactor = true, s.Partitions, s.ReplicationFactor
		case StepRaisePartitions:
			seen.Partitions = s.Partitions
		case StepAlterConfig:
		}
		maps.Copy(seen.Configs, s.Configs)
	}
	return seen
}

func anyOwner(t *rapid.T, label string) Owner {
	n := rapid.IntRange(0, 3).Draw(t, label)
	return Owner{Namespace: "ns", Name: fmt.Sprint("svc", n), UID: fmt.Sprint(n), CreatedAt: day.Add(time.Duration(n/2) * time.Hour)}
}

// Whatever is declared and found: one pass reaches a state in which the next
// has nothing to do, partitions are never lowered, and a topic that an older
// service has, nobody claimed, or is only observed stays as it is.
func TestDecideConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Desired{
			Name:              "ns.topic",
			Partitions:        rapid.IntRange(1, 8).Draw(t, "partitions"),
			ReplicationFactor: rapid.IntRange(0, 4).Draw(t, "rf"),
			Retention:         time.Duration(rapid.IntRange(-1, 2).Draw(t, "retention")) * time.Hour,
			Compact:           rapid.Bool().Draw(t, "compact"),
			OrderedByKey:      rapid.Bool().Draw(t, "ordered"),
			Adoption:          rapid.SampledFrom([]Adoption{"", AdoptionCreate, AdoptionAdopt, AdoptionObserve}).Draw(t, "adoption"),
			Owner:             anyOwner(t, "owner"),
		}
		seen := Observed{Brokers: rapid.IntRange(1, 4).Draw(t, "brokers")}
		if rapid.Bool().Draw(t, "exists") {
			seen.Exists = true
			seen.Partitions = rapid.IntRange(1, 8).Draw(t, "seenPartitions")
			seen.ReplicationFactor = rapid.IntRange(1, 3).Draw(t, "seenRF")
			seen.Configs = map[string]string{"retention.ms": rapid.SampledFrom([]string{"-1", "3600000", "5"}).Draw(t, "seenRetention")}
		}
		if rapid.Bool().Draw(t, "claimed") {
			c := anyOwner(t, "claim")
			seen.Claim = &c
		}
		first := Decide(want, seen)
		after := carryOut(first, want, seen)
		second := Decide(want, after)
		if len(second.Steps) > 0 {
			t.Fatalf("not stable: %+v then %+v", first, second)
		}
		if after.Partitions < seen.Partitions {
			t.Fatalf("partitions lowered from %d to %d", seen.Partitions, after.Partitions)
		}
		foreign := seen.Claim != nil && !seen.Claim.sameService(want.Owner) && seen.Claim.before(want.Owner)
		unclaimed := seen.Claim == nil && seen.Exists && want.Adoption != AdoptionAdopt
		if (foreign || unclaimed || want.Adoption == AdoptionObserve) && len(first.Steps) > 0 {
			t.Fatalf("touched what is not its own: %+v", first.Steps)
		}
	})
}
