package store

import (
	"maps"
	"reflect"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// Registration is the right of one incarnation of a region's agent to write, as
// coordination.Registration is.
type Registration struct {
	Region, Incarnation string
	// Revision of the registration.
	Revision int64
	// LastBeat is the number of the region's last beat before the registration.
	LastBeat int64
}

// Register is the write of coordination.Store.RegisterAgent.
func Register(region, incarnation string) Request {
	acting := ownership.AgentRecord{Incarnation: incarnation}
	return Request{What: "agent/" + region, puts: []put{{
		key:   "agent/" + region,
		apply: func(c *ownership.Configuration) { c.Agents = with(c.Agents, region, acting) },
	}}}
}

// Beat commits beat n (R3).
func (r *Registration) Beat(from ownership.Configuration, n int64) Request {
	beat := ownership.Beat{N: n, Incarnation: r.Incarnation}
	return r.open(from, Request{What: "beat/" + r.Region, puts: []put{{
		key:   "beat/" + r.Region,
		apply: func(c *ownership.Configuration) { c.Beats = with(c.Beats, r.Region, beat) },
	}}})
}

// PutEvidence writes what the region sees of the others, if it differs (R13).
func (r *Registration) PutEvidence(from ownership.Configuration, e ownership.Evidence) Request {
	return r.open(from, Request{What: "evidence/" + r.Region, onlyChanges: true, puts: []put{{
		key:    "evidence/" + r.Region,
		apply:  func(c *ownership.Configuration) { c.Evidence = with(c.Evidence, r.Region, e) },
		equals: func(c *ownership.Configuration) bool { return reflect.DeepEqual(c.Evidence[r.Region], e) },
	}}})
}

// PutAck says what the region has done of the change that from shows, if it differs (R8).
func (r *Registration) PutAck(from ownership.Configuration, a ownership.Ack) Request {
	a.Incarnation = r.Incarnation
	return r.open(from, Request{What: "ack/" + r.Region, onlyChanges: true, puts: []put{{
		key:    "ack/" + r.Region,
		apply:  func(c *ownership.Configuration) { c.Acks = with(c.Acks, r.Region, a) },
		equals: func(c *ownership.Configuration) bool { return reflect.DeepEqual(c.Acks[r.Region], a) },
	}}})
}

// Ask asks for the gate to be opened that from shows closed or missing (R5).
func (r *Registration) Ask(from ownership.Configuration) Request {
	ask := ownership.Ask{Generation: from.Gates[r.Region].Generation, Incarnation: r.Incarnation}
	return Request{What: "ask/" + r.Region, Guards: r.guards(from), onlyChanges: true, puts: []put{{
		key:    "ask/" + r.Region,
		apply:  func(c *ownership.Configuration) { c.Asks = with(c.Asks, r.Region, ask) },
		equals: func(c *ownership.Configuration) bool { return c.Asks[r.Region] == ask },
	}}}
}

// open makes a write one that the region's gate must be open for.
func (r *Registration) open(from ownership.Configuration, write Request) Request {
	if !from.Gates[r.Region].Open {
		write.Refused = GuardGate
	}
	write.Guards = r.guards(from)
	return write
}

func (r *Registration) guards(from ownership.Configuration) []Guard {
	return []Guard{
		{GuardAgent, "agent/" + r.Region, writtenAt, r.Revision},
		{GuardGate, "gate/" + r.Region, unwrittenSince, from.Revision},
	}
}

// Term is one leader's time in office, as coordination.Term is.
type Term struct {
	Key string
	// Created is the revision at which the key was created.
	Created int64
}

// Stand is the write of a campaign: the candidate's key, which lives as long as its session.
func Stand(key, identity string) Request {
	return Request{What: key, puts: []put{{key: key, identity: identity}}}
}

// Leads reports whether the configuration shows the candidate as the leader.
func (t Term) Leads(c ownership.Configuration) bool { return c.LeaderSince == t.Created }

// Commit carries out a change of the view and everything that goes with it, at once.
func (t Term) Commit(from ownership.Configuration, x change.Txn) Request {
	guards, puts := []Guard{view(from)}, []put{putView(x.View)}
	if x.OpenGate != "" {
		g := ownership.Gate{Generation: from.Gates[x.OpenGate].Generation + 1, Open: true}
		puts = append(puts, putGate(x.OpenGate, g))
		guards = append(guards, asked(from, x.OpenGate))
	}
	for _, region := range x.Gates {
		guards = append(guards, gate(from, region))
	}
	for _, region := range x.Acks {
		guards = append(guards, Guard{GuardAck, "ack/" + region, unwrittenSince, from.Revision})
	}
	for _, s := range x.Services {
		guards = append(guards, Guard{GuardRecord, "service/" + s.UID, unwrittenSince, from.Revision},
			Guard{Name: GuardRecord, key: "service/" + s.UID, kind: exists})
		puts = append(puts, putService(s))
	}
	for origin, debt := range x.Debts {
		guards = append(guards, Guard{GuardRecord, "debt/" + origin, unwrittenSince, from.Revision})
		puts = append(puts, putDebt(origin, debt))
	}
	for _, o := range x.Orders {
		puts = append(puts, put{key: "order/" + o.Name, apply: func(c *ownership.Configuration) { c.Orders = with(c.Orders, o.Name, o) }})
	}
	return Request{What: x.What, View: true, Guards: t.guards(guards...), puts: puts}
}

// OpenGate opens the gate of a region that the view does not have yet.
func (t Term) OpenGate(from ownership.Configuration, region string) Request {
	g := ownership.Gate{Generation: from.Gates[region].Generation + 1, Open: true}
	return Request{
		What: "gate/" + region, Guards: t.guards(gate(from, region), asked(from, region)),
		puts: []put{putGate(region, g)},
	}
}

// CloseGate closes the region's gate: refused when the region has beaten since from (R4).
func (t Term) CloseGate(from ownership.Configuration, region string) Request {
	g := ownership.Gate{Generation: from.Gates[region].Generation + 1, After: from.Beats[region].N}
	beat := Guard{GuardBeat, "beat/" + region, unwrittenSince, from.Revision}
	return Request{
		What: "gate/" + region, Guards: t.guards(gate(from, region), beat),
		puts: []put{putGate(region, g)},
	}
}

// PutIncident writes an incident.
func (t Term) PutIncident(from ownership.Configuration, i ownership.Incident) Request {
	unchanged := Guard{GuardRecord, "incident/" + i.Name, unwrittenSince, from.Revision}
	return Request{What: "incident/" + i.Name, Guards: t.guards(unchanged), puts: []put{{
		key:   "incident/" + i.Name,
		apply: func(c *ownership.Configuration) { c.Incidents = with(c.Incidents, i.Name, i) },
	}}}
}

// PutServiceRecord writes a service's record, if it and the intent that it answers are as from has them.
func (t Term) PutServiceRecord(from ownership.Configuration, s ownership.ServiceRecord) Request {
	unchanged := Guard{GuardRecord, "service/" + s.UID, unwrittenSince, from.Revision}
	guards := append([]Guard{unchanged}, serviceIntent(from, s.UID)...)
	return Request{What: "service/" + s.UID, Guards: t.guards(guards...), puts: []put{putService(s)}}
}

// serviceIntent demands that a service's intent is as from has it, there or not.
func serviceIntent(from ownership.Configuration, uid string) []Guard {
	key := "intent/service/" + uid
	if _, proposed := from.ServiceIntents[uid]; !proposed {
		return []Guard{{GuardIntent, key, createdAt, 0}}
	}
	return []Guard{{Name: GuardIntent, key: key, kind: exists}, {GuardIntent, key, unwrittenSince, from.Revision}}
}

// PutOrder writes what became of an order.
func (t Term) PutOrder(from ownership.Configuration, o ownership.OrderRecord) Request {
	guards := t.guards(Guard{GuardRecord, "order/" + o.Name, unwrittenSince, from.Revision},
		Guard{Name: GuardIntent, key: "intent/order/" + o.Name, kind: exists})
	return Request{What: "order/" + o.Name, Guards: guards, puts: []put{{
		key: "order/" + o.Name, apply: func(c *ownership.Configuration) { c.Orders = with(c.Orders, o.Name, o) },
	}}}
}

// DeleteOrder removes the record of an order whose intent was withdrawn.
func (t Term) DeleteOrder(from ownership.Configuration, name string) Request {
	key := "order/" + name
	guards := t.guards(Guard{GuardRecord, key, unwrittenSince, from.Revision}, Guard{Name: GuardRecord, key: key, kind: exists})
	return Request{What: key, Guards: guards, puts: []put{{
		key: key, removes: true, apply: func(c *ownership.Configuration) { c.Orders = without(c.Orders, name) },
	}}}
}

// PutHeld writes why regions are left as they are, if that differs.
func (t Term) PutHeld(held map[string]string) Request {
	return Request{What: "held", Guards: t.guards(), onlyChanges: true, puts: []put{{
		key:    "held",
		apply:  func(c *ownership.Configuration) { c.Held = held },
		equals: func(c *ownership.Configuration) bool { return maps.Equal(c.Held, held) },
	}}}
}

func (t Term) guards(more ...Guard) []Guard {
	return append([]Guard{{GuardLeader, t.Key, createdAt, t.Created}}, more...)
}

func view(from ownership.Configuration) Guard {
	return Guard{GuardView, "view", unwrittenSince, from.Revision}
}

func gate(from ownership.Configuration, region string) Guard {
	return Guard{GuardGate, "gate/" + region, unwrittenSince, from.Revision}
}

// asked demands that the incarnation that asked still acts.
func asked(from ownership.Configuration, region string) Guard {
	return Guard{GuardAgent, "agent/" + region, unwrittenSince, from.Revision}
}
