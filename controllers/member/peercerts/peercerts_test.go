package peercerts

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownca"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/peertls"
)

var (
	start     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lifetimes = ownca.Lifetimes{Certificate: 24 * time.Hour, Authority: 240 * time.Hour}
)

func authority(t *testing.T, region string) *ownca.Authority {
	t.Helper()
	a, err := ownca.ForGateways(region)(start, lifetimes.Authority)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCertificates(t *testing.T) {
	current, next := authority(t, "beijing"), authority(t, "beijing")
	ids := []peertls.ID{{Region: "beijing", Namespace: "a", Name: "order"}, {Region: "beijing", Namespace: "a", Name: "user"}}
	have, changed, due, err := certificates(ids, nil, current, start, lifetimes)
	if err != nil || !changed || len(have) != 4 || !due.Equal(start.Add(lifetimes.Certificate/2)) {
		t.Fatalf("at first: %d keys, changed %t, due %s, %v", len(have), changed, due, err)
	}
	same := func(ids []peertls.ID, by *ownca.Authority, at time.Time, want bool, when string) map[string][]byte {
		t.Helper()
		got, changed, _, err := certificates(ids, have, by, at, lifetimes)
		if err != nil || changed == want {
			t.Errorf("%s: changed %t, %v", when, changed, err)
		}
		return got
	}
	same(ids, current, start.Add(time.Hour), true, "an hour later")
	same(ids, current, start.Add(lifetimes.Certificate/2), false, "after half of the lifetime")
	same(ids, next, start.Add(time.Hour), false, "with another authority")
	if got := same(ids[:1], current, start, false, "with a service less"); len(got) != 2 || got["user.key"] != nil {
		t.Errorf("with a service less the Secret has %d keys", len(got))
	}
}

// TestEverywhere counts the regions that speak by certificates and are not given up.
func TestEverywhere(t *testing.T) {
	knows := func(prints ...string) ownership.Trust {
		return ownership.Trust{Knows: map[string][]string{"beijing": prints}}
	}
	serving := ownership.RegionRecord{State: ownership.RegionServing}
	for name, c := range map[string]struct {
		trusts  map[string]ownership.Trust
		regions map[string]ownership.RegionRecord
		want    bool
	}{
		"alone":                           {map[string]ownership.Trust{"beijing": {}}, map[string]ownership.RegionRecord{"beijing": serving}, true},
		"both others know it":             {map[string]ownership.Trust{"a": knows("x"), "b": knows("w", "x")}, map[string]ownership.RegionRecord{"a": serving, "b": serving}, true},
		"one does not":                    {map[string]ownership.Trust{"a": knows("x"), "b": knows("w")}, map[string]ownership.RegionRecord{"a": serving, "b": serving}, false},
		"one is lost":                     {map[string]ownership.Trust{"a": knows("w")}, map[string]ownership.RegionRecord{"a": {State: ownership.RegionLost}}, false},
		"one is given up":                 {map[string]ownership.Trust{"a": knows("w")}, map[string]ownership.RegionRecord{"a": {State: ownership.RegionLost, Gone: true}}, true},
		"one has left":                    {map[string]ownership.Trust{"a": knows("w")}, nil, true},
		"one has no authority of its own": {nil, map[string]ownership.RegionRecord{"a": serving}, true},
	} {
		configuration := ownership.Configuration{Trusts: c.trusts, View: ownership.View{Regions: c.regions}}
		if got := everywhere(configuration, "beijing", "x"); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// teller is an agent that keeps what it is told.
type teller struct {
	taken bool
	told  ownership.Trust
}

func (*teller) Snapshot() (ownership.Configuration, bool) { return ownership.Configuration{}, true }
func (*teller) Subscribe() (<-chan struct{}, func())      { return nil, func() {} }
func (a *teller) RoutingTaken(int64) bool                 { return a.taken }
func (a *teller) PutTrust(_ context.Context, t ownership.Trust) error {
	a.told = t
	return nil
}

// TestTell says that the gateways believe an authority once all of them act on routing that has it, goes on
// saying so while one starts anew, and no longer than it is shown.
func TestTell(t *testing.T) {
	own, first, second := authority(t, "beijing"), authority(t, "shanghai"), authority(t, "shanghai")
	agent := &teller{}
	k := NewKeeper()
	k.Region, k.Agent = "beijing", agent
	var c ownership.Configuration
	tell := func(taken bool, shown ...*ownca.Authority) []string {
		t.Helper()
		c.Trusts = map[string]ownership.Trust{"beijing": agent.told, "shanghai": {}}
		theirs := ownership.Trust{Authorities: []string{"no certificate"}}
		for _, a := range shown {
			theirs.Authorities = append(theirs.Authorities, string(ownca.PEM(a.Certificate)))
		}
		c.Trusts["shanghai"] = theirs
		agent.taken = taken
		if err := k.tell(t.Context(), c, ownca.State{Current: own}); err != nil {
			t.Fatal(err)
		}
		return agent.told.Knows["shanghai"]
	}
	prints := func(all ...*ownca.Authority) []string {
		var out []string
		for _, a := range all {
			out = append(out, ownca.Fingerprint(a.Certificate))
		}
		slices.Sort(out)
		return out
	}
	for _, step := range []struct {
		when  string
		taken bool
		shown []*ownca.Authority
		want  []string
	}{
		{"a gateway lags", false, []*ownca.Authority{first}, nil},
		{"all have it", true, []*ownca.Authority{first}, prints(first)},
		{"a second one is shown", false, []*ownca.Authority{first, second}, prints(first)},
		{"all have both", true, []*ownca.Authority{first, second}, prints(first, second)},
		{"the first one has gone", false, []*ownca.Authority{second}, prints(second)},
	} {
		if got := tell(step.taken, step.shown...); !slices.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.when, got, step.want)
		}
	}
	if len(agent.told.Authorities) != 1 || strings.Contains(agent.told.Authorities[0], "PRIVATE") {
		t.Errorf("told of %v", agent.told.Authorities)
	}
}
