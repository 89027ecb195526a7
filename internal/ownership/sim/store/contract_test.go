package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
	"multiactive.dev/operator/internal/ownership/sim/store"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/elect"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

// sequences and steps are how often and how long the two stores are compared.
const (
	sequences = 4
	steps     = 150
)

// TestContract sends the same writes to a simulated store and, through internal/coordination, to a
// real etcd. Both must carry out and refuse the same ones for the same reasons, at the same
// revisions, and hold the same in the end.
func TestContract(t *testing.T) {
	for seed := range uint64(sequences) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			p := newPair(t, seed)
			for range steps {
				what, etcd, simulated := p.step()
				p.log = append(p.log, what)
				if diff := cmp.Diff(etcd, simulated); diff != "" {
					t.Fatalf("step %d, %s: (-etcd +simulated):\n%s\nbefore: %q", len(p.log), what, diff, p.log)
				}
				if len(p.log)%10 == 0 {
					p.look()
				}
			}
			p.look()
		})
	}
}

// outcome is what a write came to.
type outcome struct {
	Revision int64
	Failed   []string
}

// pair is the two stores, and what two agents and two leaders of each know.
type pair struct {
	t         *testing.T
	rand      *rand.Rand
	etcd      *coordination.Store
	simulated *store.Content
	log       []string

	// past has configurations that were read, the latest last.
	past          []known
	registrations map[string][]registration
	terms         []term
	incarnations  int
}

type known struct{ etcd, simulated ownership.Configuration }

type registration struct {
	etcd      *coordination.Registration
	simulated *store.Registration
}

type term struct {
	etcd      *coordination.Term
	simulated store.Term
}

var regions = []string{"a", "b"}

func newPair(t *testing.T, seed uint64) *pair {
	t.Helper()
	etcd := testkit.StartStore(t, etcdstore.Options{HeartbeatInterval: 100 * time.Millisecond, ElectionTimeout: time.Second}, "one")
	client, err := coordination.Connect(coordination.Options{Endpoints: etcd.Endpoints(), RequestTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	p := &pair{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), etcd: client, simulated: store.New(0),
		registrations: map[string][]registration{},
	}
	p.look()
	for _, region := range regions {
		p.register(region)
	}
	p.campaign()
	return p
}

// look reads both stores, compares them and remembers what they show.
func (p *pair) look() {
	p.t.Helper()
	etcd, err := p.etcd.Read(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	simulated := p.simulated.Read()
	// What is damaged is judged by readers, of whom the simulation's meet sound content alone.
	ignored := cmpopts.IgnoreFields(ownership.Configuration{}, "ClusterID", "Damage")
	if diff := cmp.Diff(etcd, simulated, ignored, cmpopts.EquateEmpty()); diff != "" {
		p.t.Fatalf("the stores differ (-etcd +simulated):\n%s\nafter: %q", diff, p.log)
	}
	p.past = append(p.past, known{etcd, simulated})
}

// from returns what a writer decides from: mostly the present, sometimes the past.
func (p *pair) from() known {
	if p.rand.IntN(3) > 0 {
		p.look()
		return p.past[len(p.past)-1]
	}
	return p.past[p.rand.IntN(len(p.past))]
}

func (p *pair) register(region string) (etcd, simulated outcome) {
	p.incarnations++
	incarnation := fmt.Sprintf("i%d", p.incarnations)
	r, err := p.etcd.RegisterAgent(p.t.Context(), region, incarnation, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	s := &store.Registration{Region: region, Incarnation: incarnation, LastBeat: p.simulated.Now().Beats[region].N}
	s.Revision = p.simulated.Do(store.Register(region, incarnation)).Revision
	if r.LastBeat() != s.LastBeat {
		p.t.Fatalf("the last beat is %d in etcd, %d in the simulated store", r.LastBeat(), s.LastBeat)
	}
	p.registrations[region] = append(p.registrations[region], registration{r, s})
	c, err := p.etcd.Read(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return outcome{Revision: c.Revision}, outcome{Revision: s.Revision}
}

// campaign ends the present term, if any, and begins another one. Writes of the old one are refused
// from here on.
func (p *pair) campaign() (etcd, simulated outcome) {
	p.t.Helper()
	if len(p.terms) > 0 {
		last := p.terms[len(p.terms)-1]
		last.etcd.Resign()
		p.simulated.EndSession(last.simulated.Key)
	}
	identity := fmt.Sprintf("l%d", len(p.terms))
	r, err := elect.Lead(p.t.Context(), p.etcd, identity, 60*time.Second)
	if err != nil {
		p.t.Fatal(err)
	}
	s := store.Term{Key: "leader/" + identity}
	s.Created = p.simulated.Do(store.Stand(s.Key, identity)).Revision
	if !p.simulated.Leads(s) {
		p.t.Fatalf("%s does not lead in the simulated store", identity)
	}
	p.terms = append(p.terms, term{r, s})
	c, err := p.etcd.Read(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return outcome{Revision: c.Revision}, outcome{Revision: s.Created}
}

// step makes one write of either kind, in both stores.
func (p *pair) step() (what string, etcd, simulated outcome) {
	region := regions[p.rand.IntN(len(regions))]
	switch n := p.rand.IntN(20); {
	case n == 0:
		etcd, simulated = p.register(region)
		return "register " + region, etcd, simulated
	case n == 1:
		etcd, simulated = p.campaign()
		return "campaign", etcd, simulated
	case n < 8:
		return p.agentStep(region)
	case n == 8:
		return p.hubStep()
	default:
		return p.leaderStep(region)
	}
}

func latestMostly[T any](p *pair, all []T) T {
	if p.rand.IntN(4) > 0 {
		return all[len(all)-1]
	}
	return all[p.rand.IntN(len(all))]
}

func (p *pair) agentStep(region string) (what string, etcd, simulated outcome) {
	r, from := latestMostly(p, p.registrations[region]), p.from()
	ctx := p.t.Context()
	evidence := ownership.Evidence{Failing: []string{"c"}[:p.rand.IntN(2)]}
	ack := ownership.Ack{Epoch: from.etcd.View.Epoch, Fenced: p.rand.IntN(2) == 0, Vector: ownership.Vector{region: {"s": int64(p.rand.IntN(2))}}}
	switch p.rand.IntN(5) {
	case 4:
		return "acknowledgement of " + region, p.answer(r.etcd.PutAck(ctx, from.etcd, ack)), p.do(r.simulated.PutAck(from.simulated, ack))
	case 0:
		return "evidence of " + region, p.answer(r.etcd.PutEvidence(ctx, from.etcd, evidence)), p.do(r.simulated.PutEvidence(from.simulated, evidence))
	case 1:
		return "ask of " + region, p.answer(r.etcd.Ask(ctx, from.etcd)), p.do(r.simulated.Ask(from.simulated))
	default:
		n := int64(len(p.log))
		return "beat of " + region, p.answer(r.etcd.Beat(ctx, from.etcd, n)), p.do(r.simulated.Beat(from.simulated, n))
	}
}

// hubStep is a write of a hub, which nothing guards.
func (p *pair) hubStep() (what string, etcd, simulated outcome) {
	ctx := p.t.Context()
	order := ownership.OrderIntent{Name: fmt.Sprintf("o%d", p.rand.IntN(2)), Type: ownership.OrderDrain, Region: regions[p.rand.IntN(len(regions))]}
	service := ownership.ServiceIntent{UID: "u", SpecHash: fmt.Sprint(p.rand.IntN(2))}
	switch p.rand.IntN(3) {
	case 0:
		return "withdraw " + order.Name, p.now(p.etcd.DeleteOrderIntent(ctx, order.Name)), p.do(store.DeleteOrderIntent(order.Name))
	case 1:
		return "propose service", p.now(p.etcd.PutServiceIntent(ctx, service)), p.do(store.PutServiceIntent(service))
	default:
		return "order " + order.Name, p.now(p.etcd.PutOrderIntent(ctx, order)), p.do(store.PutOrderIntent(order))
	}
}

// now is answer for a write that may leave everything as it is: the revision of the store afterwards.
func (p *pair) now(_ int64, err error) outcome {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := p.etcd.Read(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return outcome{Revision: c.Revision}
}

func (p *pair) leaderStep(region string) (what string, etcd, simulated outcome) {
	l, from := latestMostly(p, p.terms), p.from()
	ctx := p.t.Context()
	held := map[string]string{region: fmt.Sprint(p.rand.IntN(2))}
	incident := ownership.Incident{Name: region + "-1", Region: region, Closed: p.rand.IntN(2) == 0}
	record := ownership.ServiceRecord{UID: "u", Name: fmt.Sprint(len(p.log))}
	order := ownership.OrderRecord{Name: fmt.Sprintf("o%d", p.rand.IntN(2)), Message: fmt.Sprint(len(p.log))}
	switch p.rand.IntN(9) {
	case 0:
		return "close gate " + region, p.answer(l.etcd.CloseGate(ctx, from.etcd, region)), p.do(l.simulated.CloseGate(from.simulated, region))
	case 1:
		return "open gate " + region, p.answer(l.etcd.OpenGate(ctx, from.etcd, region)), p.do(l.simulated.OpenGate(from.simulated, region))
	case 2:
		return "incident", p.answer(l.etcd.PutIncident(ctx, from.etcd, incident)), p.do(l.simulated.PutIncident(from.simulated, incident))
	case 3:
		return "service", p.answer(l.etcd.PutServiceRecords(ctx, from.etcd, record)), p.do(l.simulated.PutServiceRecord(from.simulated, record))
	case 4:
		return "order " + order.Name, p.answer(l.etcd.PutOrder(ctx, from.etcd, order)), p.do(l.simulated.PutOrder(from.simulated, order))
	case 5:
		return "delete order " + order.Name, p.answer(l.etcd.DeleteOrder(ctx, from.etcd, order.Name)), p.do(l.simulated.DeleteOrder(from.simulated, order.Name))
	case 6:
		return "held", p.answer(l.etcd.PutHeld(ctx, held)), p.do(l.simulated.PutHeld(held))
	default:
		x := p.txn(from.etcd, region)
		return "view", p.answer(l.etcd.Commit(ctx, from.etcd, x)), p.do(l.simulated.Commit(from.simulated, x))
	}
}

// txn returns a change of the view with some of what may go with it.
func (p *pair) txn(from ownership.Configuration, region string) change.Txn {
	some := func() bool { return p.rand.IntN(3) == 0 }
	x := change.Txn{What: "view", View: ownership.View{
		Epoch: from.View.Epoch + 1, Phase: ownership.PhaseOpen,
		Regions: map[string]ownership.RegionRecord{region: {State: ownership.RegionServing, Role: "Active"}},
	}}
	if some() {
		x.OpenGate = region
	}
	if some() {
		x.Gates = regions
	}
	if some() {
		x.Acks = regions
	}
	if some() {
		x.Services = []ownership.ServiceRecord{{UID: "u", Name: fmt.Sprint(len(p.log))}}
	}
	if some() {
		debt := ownership.Debt{}
		if some() {
			debt = ownership.Debt{Epoch: x.View.Epoch, Vector: ownership.Vector{region: {"s": 1}}}
		}
		x.Debts = map[string]ownership.Debt{region: debt}
	}
	if some() {
		x.Orders = []ownership.OrderRecord{{Name: "o0", Message: fmt.Sprint(len(p.log))}}
	}
	return x
}

// answer turns what internal/coordination returned into an outcome.
func (p *pair) answer(revision int64, err error) outcome {
	p.t.Helper()
	var refused *coordination.GuardError
	switch {
	case err == nil:
		return outcome{Revision: revision}
	case errors.As(err, &refused):
		return outcome{Failed: refused.Failed}
	default:
		p.t.Fatalf("writing to etcd: %v (context: %v)", err, context.Cause(p.t.Context()))
		return outcome{}
	}
}

// do carries out a request of the simulated store, as its client would.
func (p *pair) do(r store.Request) outcome {
	if r.Refused != "" {
		return outcome{Failed: []string{r.Refused}}
	}
	answer := p.simulated.Do(r)
	if len(answer.Failed) > 0 {
		return outcome{Failed: answer.Failed}
	}
	return outcome{Revision: answer.Revision}
}
