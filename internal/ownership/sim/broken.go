package sim

import (
	"maps"
	"slices"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

// What mutants make of the decisions of package change, which itself has no seam for them: they decide from
// another configuration than the one that was read, or commit something else than what was decided.

// asRead returns what a mutant reads into a configuration, gateways and leaders alike.
func (s *Sim) asRead(c ownership.Configuration) ownership.Configuration {
	if !s.mutant(EarlierHandbackCounts) {
		return c
	}
	services := maps.Clone(c.Services)
	for uid, record := range services {
		record.HandedBack = maps.Clone(record.HandedBack)
		for name := range record.HandedBack {
			record.HandedBack[name] = c.View.Regions[name].ReturnedEpoch
		}
		services[uid] = record
	}
	c.Services = services
	return c
}

// ledBy returns what a leader reads into a configuration.
func (s *Sim) ledBy(c ownership.Configuration) ownership.Configuration {
	c = s.asRead(c)
	if s.mutant(EarlierAckCounts) {
		acks := maps.Clone(c.Acks)
		for name, ack := range acks {
			ack.Epoch = c.View.Epoch
			acks[name] = ack
		}
		c.Acks = acks
	}
	return c
}

// decide is change.Decide.
func (l *leader) decide(in change.Input) (change.Txn, bool) {
	c, s := in.Conf, l.a.s
	if t, ok := l.returnEarly(in); ok {
		return t, true
	}
	t, ok := change.Decide(in)
	closing := ok && c.View.Phase == ownership.PhaseClosing
	switch {
	case ok && s.mutant(DebtsForgotten):
		t.Debts = nil
	case closing && s.mutant(PreviousIsLastView) && t.View.Phase == ownership.PhaseClosing:
		t.View.Previous, t.View.Base = c.View.Regions, c.View.Epoch
	case closing && s.mutant(PreemptedNotUndone) && c.View.Change.Kind.Planned() && t.View.Change != nil:
		regions := maps.Clone(c.View.Regions)
		for _, name := range t.View.Change.Regions {
			regions[name] = t.View.Regions[name]
		}
		t.View.Regions, t.Services = regions, nil
	}
	return t, ok
}

// returnEarly is what GateOpenedWhileClosing does: it lets a region in whose loss is under way.
func (l *leader) returnEarly(in change.Input) (change.Txn, bool) {
	c := in.Conf
	if !l.a.s.mutant(GateOpenedWhileClosing) || c.View.Phase != ownership.PhaseClosing {
		return change.Txn{}, false
	}
	for _, i := range in.Health.Intents {
		if i.Kind != health.OpenGateReturning || !slices.Contains(c.View.Change.Regions, i.Region) {
			continue
		}
		regions := maps.Clone(c.View.Regions)
		rec := regions[i.Region]
		rec.State, rec.ReturnedEpoch = ownership.RegionReturning, c.View.Epoch+1
		regions[i.Region] = rec
		view := ownership.View{Epoch: c.View.Epoch + 1, Phase: ownership.PhaseOpen, Regions: regions}
		return change.Txn{What: "return", View: view, OpenGate: i.Region, Gates: []string{i.Region}}, true
	}
	return change.Txn{}, false
}

// commit is Term.Commit.
func (l *leader) commit(c ownership.Configuration, t change.Txn) store.Request {
	s := l.a.s
	s.Tracef("%s: %s (%s) because %s", l.a.p.Name, t.What, t.View.Phase, t.Because)
	return l.term.Commit(c, t)
}
