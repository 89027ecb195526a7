package coordination_test

import (
	"encoding/json"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// hostile is a store with a view, whose keys a person edits.
type hostile struct {
	*stage
	direct *clientv3.Client
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	members := start(t)
	direct, err := clientv3.New(clientv3.Config{Endpoints: members.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close() })
	w := &world{t: t, Store: connect(t, coordination.Options{Endpoints: members.Endpoints()})}
	h := &hostile{stage: &stage{world: w, term: w.lead("x"), agent: w.register("one")}, direct: direct}
	w.must(h.agent.Ask(t.Context(), w.read()))
	w.must(h.term.OpenGate(t.Context(), w.read(), "beijing"))
	c := w.read()
	view := ownership.View{Epoch: 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{
		"beijing": {State: ownership.RegionServing, Role: "Active"},
	}}
	debts := map[string]ownership.Debt{"beijing": {Epoch: 1, Vector: ownership.Vector{"beijing": {"s": 1}}}}
	w.must(h.term.Commit(t.Context(), c, change.Txn{What: "test", View: view, Debts: debts}))
	w.must(h.term.PutServiceRecords(t.Context(), w.read(), service("u")))
	return h
}

func (h *hostile) put(key, value string) {
	h.t.Helper()
	if _, err := h.direct.Put(h.t.Context(), "/multiactive/"+key, value); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hostile) remove(key string) {
	h.t.Helper()
	if _, err := h.direct.Delete(h.t.Context(), "/multiactive/"+key); err != nil {
		h.t.Fatal(err)
	}
}

// value returns what a key holds.
func (h *hostile) value(key string) string {
	h.t.Helper()
	answer, err := h.direct.Get(h.t.Context(), "/multiactive/"+key)
	if err != nil || len(answer.Kvs) != 1 {
		h.t.Fatalf("reading %s: %v, %d keys", key, err, len(answer.Kvs))
	}
	return string(answer.Kvs[0].Value)
}

// checked is a record as a leader of some version writes it.
func checked(record string) string { return string(coordination.WithChecksum([]byte(record))) }

func noChecksum(key string) string { return key + ": it has no checksum" }

func TestEditedContentIsNamed(t *testing.T) {
	h := newHostile(t)
	if damage := h.read().Damage; len(damage) > 0 {
		t.Fatalf("the store is damaged before anybody edits it: %v", damage)
	}
	cases := map[string]struct {
		key, value string // an empty value deletes the key
		damage     string
		foreign    bool
	}{
		"a gate that is no JSON":       {"gate/beijing", "{", noChecksum("gate/beijing"), false},
		"a gate of another shape":      {"gate/beijing", checked(`{"generation":"two"}`), "gate/beijing: it cannot be read", true},
		"a gate of no generation":      {"gate/beijing", checked(`{"open":true}`), "gate/beijing: it cannot be read: generation 0", true},
		"a gate that nobody closed":    {"gate/beijing", checked(`{"generation":2,"open":false,"after":1}`), "gate/beijing: no leader has closed it", false},
		"a gate that is edited":        {"gate/beijing", `{"generation":2,"open":true}`, noChecksum("gate/beijing"), false},
		"a gate that is gone":          {"gate/beijing", "", "gate/beijing: it is gone", false},
		"a view that is no JSON":       {"view", "view", noChecksum("view"), false},
		"a view that is gone":          {"view", "", "view: it is gone", false},
		"a view that closes nothing":   {"view", checked(`{"epoch":2,"phase":"Closing","regions":{}}`), "view: it is Closing without", true},
		"a view of an unknown phase":   {"view", checked(`{"epoch":2,"phase":"Ajar"}`), `view: phase "Ajar" is unknown`, true},
		"a region in an unknown state": {"view", checked(`{"epoch":2,"phase":"Open","regions":{"beijing":{"state":"Happy"}}}`), `state "Happy"`, true},
		"a lost region with its gate":  {"view", checked(`{"epoch":2,"phase":"Open","regions":{"beijing":{"state":"Lost"}}}`), "gate/beijing: it is open, and the region is lost", false},
		"a view of a higher epoch":     {"view", `{"epoch":9,"phase":"Open","regions":{"beijing":{"state":"Serving"}}}`, noChecksum("view"), false},
		"a view whose epoch is raised": {"view", strings.Replace(h.value("view"), `"epoch":1`, `"epoch":9`, 1), "view: its checksum is of something else", false},
		"a view in other spacing":      {"view", strings.Replace(h.value("view"), `,"phase"`, `, "phase"`, 1), "view: its checksum is of something else", false},
		"a service without its key":    {"service/u", checked(`{"uid":"u","specHash":"h"}`), "service/u: its UID or its peer key is gone", false},
		"a service that is another":    {"service/u", checked(`{"uid":"v","peerKey":"a2V5"}`), "service/u: its UID or its peer key is gone", false},
		"a service of another spec":    {"service/u", `{"uid":"u","peerKey":"a2V5","specHash":"mine"}`, noChecksum("service/u"), false},
		"a debt that is no JSON":       {"debt/beijing", "-", noChecksum("debt/beijing"), false},
		"an order that is no JSON":     {"order/o", "null and void", noChecksum("order/o"), false},
		"an order of another shape":    {"order/o", checked(`{"name":7}`), "order/o: it cannot be read", true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h.t = t
			before := ""
			if c.key != "order/o" {
				before = h.value(c.key)
			}
			shown, stop := watch(t, h.Store)
			defer stop()
			if c.value == "" {
				h.remove(c.key)
			} else {
				h.put(c.key, c.value)
			}
			now := h.read()
			if got := ownership.Describe(now.Damage); !strings.Contains(got, c.damage) {
				t.Errorf("damage %q does not name %q", got, c.damage)
			}
			for _, d := range now.Damage {
				if strings.HasPrefix(c.damage, d.Key+":") && d.Foreign != c.foreign {
					t.Errorf("%s: foreign %t", d.Key, d.Foreign)
				}
			}
			shown.until(t, now.Revision)
			if last := shown.all(); ownership.Describe(last[len(last)-1].Damage) != ownership.Describe(now.Damage) {
				t.Errorf("the watch shows the damage %v, reading %v", last[len(last)-1].Damage, now.Damage)
			}
			if before == "" {
				h.remove(c.key)
			} else {
				h.put(c.key, before)
			}
			if damage := h.read().Damage; len(damage) > 0 {
				t.Errorf("still damaged after it was put back by hand: %v", damage)
			}
		})
	}
}

func TestWhatIsNotAgreedOnIsIgnored(t *testing.T) {
	h := newHostile(t)
	sound := h.read()
	for key, why := range map[string]string{
		"evidence/beijing":       "unexpected end of JSON",
		"intent/region/beijing":  "unexpected end of JSON",
		"intent/order/-bad":      "it is no name",
		"intent/service/":        "it is no name",
		"beat/beijing":           "unexpected end of JSON",
		"ask/beijing":            "unexpected end of JSON",
		"ack/beijing":            "unexpected end of JSON",
		"incident/one":           "unexpected end of JSON",
		"held":                   "unexpected end of JSON",
		"leader/eve":             "candidate without a session",
		"something/else":         "nothing that this version knows",
		"view/of/something/else": "nothing that this version knows",
	} {
		h.put(key, "{")
		c := h.read()
		if !strings.Contains(c.Ignored[key], why) {
			t.Errorf("%s is ignored because %q, want %q", key, c.Ignored[key], why)
		}
		if len(c.Damage) > 0 || c.Leader != sound.Leader || c.View.Epoch != sound.View.Epoch {
			t.Errorf("%s: damage %v, leader %q", key, c.Damage, c.Leader)
		}
		h.remove(key)
		if left := h.read().Ignored; len(left) > 0 {
			t.Errorf("%s is gone and %v is ignored", key, left)
		}
	}
	// Who writes the key finds nothing there, and writes it anew.
	h.put("beat/beijing", `{"n":-7`)
	r, err := h.RegisterAgent(t.Context(), "beijing", "two", 0)
	if err != nil || r.LastBeat() != 0 {
		t.Fatalf("registering beside an unreadable beat: %v", err)
	}
	h.must(r.Beat(t.Context(), h.read(), 1))
	if got := h.read(); got.Beats["beijing"].N != 1 || len(got.Ignored) > 0 {
		t.Errorf("beat %+v, ignored %v", got.Beats["beijing"], got.Ignored)
	}
}

// A gate that is deleted was not written since anybody read it. No beat may pass where it was: whoever reads
// the store now takes the region for fenced.
func TestNothingPassesThroughAGateThatIsGone(t *testing.T) {
	h := newHostile(t)
	open := h.read()
	h.must(h.agent.Beat(t.Context(), open, 1))
	h.remove("gate/beijing")
	_, err := h.agent.Beat(t.Context(), open, 2)
	h.refused(coordination.GuardGate, err)
	_, err = h.agent.PutAck(t.Context(), open, ownership.Ack{Epoch: 9})
	h.refused(coordination.GuardGate, err)
	_, err = h.agent.PutEvidence(t.Context(), open, ownership.Evidence{Failing: []string{"shanghai"}})
	h.refused(coordination.GuardGate, err)
}

func TestPutBack(t *testing.T) {
	h := newHostile(t)
	ctx := t.Context()
	sound := h.read()
	h.remove("gate/beijing")
	h.put("debt/eve", "{")
	damaged := h.read()
	h.must(h.term.PutBack(ctx, damaged, "debt/eve", nil))
	h.must(h.term.PutBack(ctx, damaged, "gate/beijing", ownership.Gate{Generation: 7, Open: true}))
	mended := h.read()
	if len(mended.Damage) > 0 || mended.Gates["beijing"].Generation != 7 || len(mended.Debts) != len(sound.Debts) {
		t.Errorf("damage %v, gates %v, debts %v", mended.Damage, mended.Gates, mended.Debts)
	}
	_, err := h.term.PutBack(ctx, damaged, "gate/beijing", ownership.Gate{Generation: 8})
	h.refused(coordination.GuardRecord, err) // somebody has put it back already
	h.term.Resign()
	_, err = h.term.PutBack(ctx, h.read(), "gate/beijing", ownership.Gate{Generation: 8})
	h.refused(coordination.GuardLeader, err)
	if got := h.value("gate/beijing"); !json.Valid([]byte(got)) || !strings.Contains(got, "7") {
		t.Errorf("the gate is %s", got)
	}
}
