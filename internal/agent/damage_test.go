package agent_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

// edited is three regions that serve a service, and a person who edits the store.
type edited struct {
	*world
	direct *clientv3.Client
}

func newEdited(t *testing.T) *edited {
	t.Helper()
	w := newWorld(t)
	direct, err := clientv3.New(clientv3.Config{Endpoints: w.store.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close() })
	intent := ownership.ServiceIntent{UID: "u", Namespace: "accounts", Name: "user", SpecHash: "h", Regions: regions}
	if _, err := w.hub.PutServiceIntent(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	w.eventually("the service is accepted, and all hold leases", func(c ownership.Configuration) bool {
		return c.Services["u"].SpecHash == "h" && w.leased() && w.leader() != ""
	})
	return &edited{w, direct}
}

// leased reports whether every region holds a lease.
func (w *world) leased() bool {
	for _, r := range regions {
		if w.agents[r].Lease() <= 0 {
			return false
		}
	}
	return true
}

// edit carries out the writes at once; an empty value deletes the key.
func (e *edited) edit(writes map[string]string) {
	e.t.Helper()
	var ops []clientv3.Op
	for _, key := range slices.Sorted(maps.Keys(writes)) {
		if writes[key] == "" {
			ops = append(ops, clientv3.OpDelete("/multiactive/"+key))
			continue
		}
		ops = append(ops, clientv3.OpPut("/multiactive/"+key, writes[key]))
	}
	if _, err := e.direct.Txn(e.t.Context()).Then(ops...).Commit(); err != nil {
		e.t.Fatal(err)
	}
}

// A leader that has seen what was agreed on puts it back: no lease ends, and no owner changes.
func TestEditsArePutBack(t *testing.T) {
	e := newEdited(t)
	cases := map[string]map[string]string{
		"a gate is deleted":          {"gate/shanghai": ""},
		"a gate is closed to nobody": {"gate/shanghai": "closed"},
		"a gate is closed":           {"gate/shanghai": `{"generation":7,"open":false}`},
		"the view is deleted":        {"view": ""},
		"the view is garbage":        {"view": "{"},
		"the epoch is lowered":       {"view": `{"epoch":1,"phase":"Open","regions":{"beijing":{"state":"Serving","role":"Active"}}}`},
		"the epoch is raised":        {"view": `{"epoch":99,"phase":"Open","regions":{"shanghai":{"state":"Serving","role":"Active"}}}`},
		"the epoch is raised beside": {"view": `{"epoch":99,"phase":"Open","regions":{}}`, "service/u": `{"uid":"u","specHash":"other"}`},
		"a service is deleted":       {"service/u": ""},
		"a service is garbage":       {"service/u": "-"},
		"garbage is added":           {"service/eve": "-", "debt/eve": "-", "order/eve": "-", "gate/eve": "-"},
		"all of it":                  {"view": "", "service/u": "", "gate/beijing": "", "gate/shanghai": "", "gate/shenzhen": ""},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		before := e.latest()
		began := len(e.history())
		e.edit(cases[name])
		e.eventually(name+", and it is put back", func(c ownership.Configuration) bool {
			return c.Revision > before.Revision && len(c.Damage) == 0 && c.View.Epoch >= before.View.Epoch && e.leased() &&
				e.latest().Services["u"].SpecHash == "h" && slices.ContainsFunc(e.history()[began:], damagedOrBack(before))
		})
		after := e.latest()
		if !bytes.Equal(after.Services["u"].PeerKey, before.Services["u"].PeerKey) {
			t.Errorf("%s: the service has another peer key", name)
		}
		for _, r := range regions {
			if after.View.Regions[r].State != before.View.Regions[r].State {
				t.Errorf("%s: region %s is %s, was %s", name, r, after.View.Regions[r].State, before.View.Regions[r].State)
			}
			if g, b := after.Gates[r], before.Gates[r]; g.Open != b.Open || g.Generation < b.Generation {
				t.Errorf("%s: gate of %s is %+v, was %+v", name, r, g, b)
			}
		}
		if _, there := after.Debts["eve"]; there {
			t.Errorf("%s: a debt that nobody has is there", name)
		}
	}
}

// damagedOrBack finds the configuration in which something is not as before.
func damagedOrBack(before ownership.Configuration) func(ownership.Configuration) bool {
	return func(c ownership.Configuration) bool {
		return len(c.Damage) > 0 || len(ownership.DamagedSince(&before, &c, true)) > 0
	}
}

// What a newer version may have written is not undone: everybody keeps what it has, nobody decides, and all
// goes on by itself once it is put right.
func TestForeignContentStopsDecisionsAlone(t *testing.T) {
	e := newEdited(t)
	before := e.latest()
	answer, err := e.direct.Get(t.Context(), "/multiactive/service/u")
	if err != nil || len(answer.Kvs) != 1 {
		t.Fatal(err, answer)
	}
	e.edit(map[string]string{"service/u": string(coordination.WithChecksum([]byte(`{"uid":["u"]}`)))})
	testkit.Eventually(t, time.Minute, func() error {
		for _, r := range regions {
			if got := e.agents[r].Trouble(); got == "" {
				return fmt.Errorf("region %s reports nothing", r)
			}
		}
		return nil
	})
	// For longer than a lease lasts.
	revision := e.latest().Revision
	e.eventually("beats have gone on for longer than a lease", func(c ownership.Configuration) bool {
		return c.Beats["beijing"].N > before.Beats["beijing"].N+int64(2*ownership.FastTimings().RegionLease/ownership.FastTimings().BeatInterval)
	})
	if !e.leased() || e.latest().View.Epoch != before.View.Epoch || e.latest().Revision <= revision {
		t.Errorf("leases are gone, or somebody has decided: epoch %d", e.latest().View.Epoch)
	}
	e.edit(map[string]string{"service/u": string(answer.Kvs[0].Value)})
	intent := ownership.ServiceIntent{UID: "v", Namespace: "accounts", Name: "v", SpecHash: "v", Regions: regions}
	if _, err := e.hub.PutServiceIntent(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	e.eventually("decisions are made again", func(c ownership.Configuration) bool { return c.Services["v"].SpecHash == "v" })
	if got := e.agents["beijing"].Trouble(); got != "" {
		t.Errorf("still reported: %s", got)
	}
}
