package gateway

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
	"multiactive.dev/operator/internal/routing"
)

// protocol runs package change as a leader would, and has every region's gateways lag as far behind as
// the protocol lets them: at a configuration before a change until the region has acknowledged, or as
// long as its gate is open.
type protocol struct {
	t    *rapid.T
	conf ownership.Configuration
	mem  *change.Memory
	now  time.Duration
	// specs are the weights that ownership specs name.
	specs map[string][]ownership.WeightedRegion
	// owners has who accepts each slot, by every configuration that there was.
	owners [][]string
	// oldest is the first configuration that some gateway of a region may still act on. A region whose gate
	// is closed has none.
	oldest map[string]int
}

const protocolUID = "u"

// newProtocol begins with all regions serving, and a flow that is pinned to shanghai, then beijing.
func newProtocol(t *rapid.T) *protocol {
	p := &protocol{t: t, mem: change.NewMemory(), specs: map[string][]ownership.WeightedRegion{}, oldest: map[string]int{}}
	p.conf = ownership.Configuration{
		View:  ownership.View{Epoch: 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
		Gates: map[string]ownership.Gate{}, Acks: map[string]ownership.Ack{}, Debts: map[string]ownership.Debt{},
		OrderIntents: map[string]ownership.OrderIntent{}, Orders: map[string]ownership.OrderRecord{},
		ServiceIntents: map[string]ownership.ServiceIntent{}, RegionIntents: map[string]ownership.RegionIntent{},
		Evidence: map[string]ownership.Evidence{},
	}
	for _, name := range worldRegions {
		p.conf.View.Regions[name] = ownership.RegionRecord{State: ownership.RegionServing, Role: health.RoleActive}
		p.conf.RegionIntents[name] = ownership.RegionIntent{Name: name, Role: health.RoleActive}
		p.conf.Gates[name], p.oldest[name] = ownership.Gate{Generation: 1, Open: true}, 0
	}
	record := ownership.ServiceRecord{UID: protocolUID, ServiceState: ownership.ServiceState{SpecHash: p.spec(), Regions: worldRegions}}
	p.conf.Services = map[string]ownership.ServiceRecord{protocolUID: record}
	p.conf.ServiceIntents[protocolUID] = ownership.ServiceIntent{UID: protocolUID, SpecHash: record.SpecHash, Regions: worldRegions}
	p.owners = append(p.owners, p.accepted())
	return p
}

// spec makes up an ownership spec and returns its hash.
func (p *protocol) spec() string {
	var weights []ownership.WeightedRegion
	for _, name := range worldRegions {
		weights = append(weights, ownership.WeightedRegion{Name: name, Weight: rapid.Int32Range(0, 2).Draw(p.t, "weight")})
	}
	hash := string(rune('a' + len(p.specs)))
	p.specs[hash] = weights
	return hash
}

// accepted compiles the present configuration as gateways do and returns who accepts each slot.
func (p *protocol) accepted() []string {
	record := p.conf.Services[protocolUID]
	cfg := testConfig()
	cfg.Closing, cfg.Regions = p.conf.View.Phase == ownership.PhaseClosing, nil
	for _, v := range p.conf.RegionViews(record, p.specs[record.SpecHash]) {
		cfg.Regions = append(cfg.Regions, routing.RegionOf(v))
	}
	if state, regions, closing := p.conf.Before(record); closing {
		for _, v := range ownership.Views(state, regions, p.specs[state.SpecHash]) {
			cfg.Before = append(cfg.Before, routing.RegionOf(v))
		}
	}
	r, err := Compile(&cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	out := make([]string, len(r.holders))
	for slot := range r.holders {
		if owner := r.holders[slot].owner; owner != noRegion {
			out[slot] = r.regions[owner].Name
		}
	}
	return out
}

// decide lets the leader decide once, and everybody see it.
func (p *protocol) decide(intents ...health.Intent) {
	ready := rapid.SliceOfDistinct(rapid.SampledFrom(worldRegions), rapid.ID).Draw(p.t, "ready")
	reachable := slices.DeleteFunc(slices.Clone(worldRegions), func(r string) bool { return !p.conf.Gates[r].Open })
	in := change.Input{
		Now: p.now, At: time.Unix(0, 0).Add(p.now), Conf: p.conf, Timings: ownership.DefaultTimings(), Memory: p.mem,
		Health: health.Decision{Intents: intents, Ready: p.returning(ready), Reachable: reachable},
	}
	for _, o := range change.Orders(in) {
		p.conf.Orders[o.Name] = o
	}
	t, ok := change.Decide(in)
	if !ok {
		return
	}
	was := p.conf.View.Phase
	p.conf.View = t.View
	services := maps.Clone(p.conf.Services)
	for _, s := range t.Services {
		services[s.UID] = s
	}
	p.conf.Services = services
	for _, o := range t.Orders {
		p.conf.Orders[o.Name] = o
	}
	p.owners = append(p.owners, p.accepted())
	if t.OpenGate != "" {
		p.conf.Gates[t.OpenGate] = ownership.Gate{Generation: p.conf.Gates[t.OpenGate].Generation + 1, Open: true}
		p.oldest[t.OpenGate] = len(p.owners) - 1 // the lease goes out with routing made under the new gate
	}
	p.t.Logf("%s -> %s: %s (%s) %+v, service %+v", was, t.View.Phase, t.What, t.Because, t.View.Regions, p.conf.Services[protocolUID].ServiceState)
}

func (p *protocol) returning(of []string) []string {
	return slices.DeleteFunc(of, func(r string) bool { return p.conf.View.Regions[r].State != ownership.RegionReturning })
}

// acknowledge has some regions say what the change under way asks of them. Those that are fenced have no
// gateway left that acts on anything older.
func (p *protocol) acknowledge() {
	for _, name := range worldRegions {
		fence, catchUp := change.Concerns(p.conf, name)
		if !p.conf.Gates[name].Open || !fence && !catchUp || !rapid.Bool().Draw(p.t, "acknowledges") {
			continue
		}
		ack := ownership.Ack{Epoch: p.conf.View.Epoch, Fenced: fence, CaughtUp: catchUp}
		if catchUp && rapid.IntRange(0, 5).Draw(p.t, "stuck") == 0 {
			ack.Stuck = []string{protocolUID}
		}
		p.conf.Acks[name] = ack
		if fence {
			p.oldest[name] = len(p.owners) - 1
		}
	}
}

// check holds the promise: no slot has two regions whose gateways may accept.
func (p *protocol) check() {
	for slot := range p.owners[0] {
		accepts := ""
		for _, name := range worldRegions {
			if !p.conf.Gates[name].Open || !p.mayAccept(name, slot) {
				continue
			}
			if accepts != "" {
				p.t.Fatalf("slot %d: gateways of %s and of %s accept, those of %s from configuration %d on, of %s from %d on, of %d",
					slot, accepts, name, accepts, p.oldest[accepts], name, p.oldest[name], len(p.owners))
			}
			accepts = name
		}
	}
}

func (p *protocol) mayAccept(region string, slot int) bool {
	return slices.ContainsFunc(p.owners[p.oldest[region]:], func(owners []string) bool { return owners[slot] == region })
}

// step does one thing that may happen.
func (p *protocol) step() {
	name := rapid.SampledFrom(worldRegions).Draw(p.t, "region")
	switch rapid.SampledFrom([]string{"lose", "return", "order", "declare", "tick", "tick", "tick"}).Draw(p.t, "step") {
	case "lose":
		open := slices.DeleteFunc(slices.Clone(worldRegions), func(r string) bool { return !p.conf.Gates[r].Open })
		if p.conf.Gates[name].Open && len(open) > 1 { // R14, and by now every lease has run out (R4)
			p.conf.Gates[name] = ownership.Gate{Generation: p.conf.Gates[name].Generation + 1}
			p.decide(health.Intent{Kind: health.DeclareLost, Region: name})
		}
	case "return":
		if p.conf.View.Regions[name].State == ownership.RegionLost && p.conf.View.Phase == ownership.PhaseOpen {
			p.decide(health.Intent{Kind: health.OpenGateReturning, Region: name})
		}
	case "order":
		kinds := []string{ownership.OrderDrain, ownership.OrderUndrain, ownership.OrderHandback, ownership.OrderApproveFailover, ownership.OrderDeclareLost}
		o := ownership.OrderIntent{Name: "order", Type: rapid.SampledFrom(kinds).Draw(p.t, "order"), Region: name}
		if o.Type != ownership.OrderDeclareLost && rapid.Bool().Draw(p.t, "one service") {
			o.Service = protocolUID
		}
		p.conf.OrderIntents, p.conf.Orders = map[string]ownership.OrderIntent{o.Name: o}, map[string]ownership.OrderRecord{}
		p.mem = change.NewMemory() // another leader: it may try again what was tried
	case "declare":
		p.conf.ServiceIntents = map[string]ownership.ServiceIntent{protocolUID: {
			UID: protocolUID, SpecHash: p.spec(), Regions: worldRegions, Manual: rapid.Bool().Draw(p.t, "manual"),
		}}
	case "tick":
		p.now += rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(p.t, "passes")
		p.decide()
	}
}

// TestNoTwoRegionsAccept: whatever changes of owners the leader makes, and whichever of the configurations
// before, while and after each gateway acts on, as far as the acknowledgements let it, no slot has two
// regions that accept home writes.
func TestNoTwoRegionsAccept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newProtocol(t)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			p.step()
			p.check()
			p.acknowledge()
			p.check()
		}
	})
}
