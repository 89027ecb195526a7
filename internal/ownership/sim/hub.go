package sim

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
)

// hubDoes writes what a hub writes, if the store takes writes at all. What it has begun and not finished
// when it dies stays as it is. A hub refuses a restored store as agents do: what it wrote would raise the
// revision to where agents that were away could not tell any more.
func (s *Sim) hubDoes(r store.Request) {
	if s.store.leader != noLeader && !s.restored {
		s.store.content.Do(r)
		s.store.committed()
	}
}

// hubWrites makes the hub write often.
func (s *Sim) hubWrites(until time.Duration) {
	s.After(s.Between(time.Millisecond, 20*time.Millisecond), func() {
		if s.Now() > until {
			return
		}
		s.incarnations++
		s.hubDoes(store.PutServiceIntent(ownership.ServiceIntent{UID: "other", SpecHash: strconv.Itoa(s.incarnations), Deleted: true}))
		s.hubWrites(until)
	})
}

// order has a hub write an order. A hub that dies never withdraws it.
func (s *Sim) order(kind, region, service string) string {
	s.ordered++
	o := ownership.OrderIntent{Name: fmt.Sprintf("o%04d", s.ordered), Type: kind, Region: region, Service: service}
	if !s.calm && s.Chance(0.1) {
		o.ExpectedEpoch = s.store.content.Now().View.Epoch
	}
	if !s.calm && s.Chance(0.2) {
		o.Timeout = s.timings.PlannedLimit
	}
	if kind == ownership.OrderDrill {
		o.Service, o.Mode, o.Duration = "", ownership.DrillFailover, s.Between(s.timings.BeatInterval, 4*s.timings.RegionLease)
	}
	s.Tracef("order %s: %s of %s for service %q", o.Name, kind, region, service)
	s.hubDoes(store.PutOrderIntent(o))
	if dies := !s.calm && s.Chance(0.3); !dies {
		s.withdrawWhenDone(o.Name)
	}
	return o.Name
}

func (s *Sim) withdrawWhenDone(name string) {
	s.After(s.Between(s.timings.BeatInterval, 3*s.timings.BeatInterval), func() {
		if done(s.store.content.Now().Orders[name].State) {
			s.hubDoes(store.DeleteOrderIntent(name))
			return
		}
		s.withdrawWhenDone(name)
	})
}

func done(state ownership.OrderState) bool {
	return state != "" && state != ownership.OrderRunning
}

// anyOrder orders something, which need not make sense.
func (p *plan) anyOrder() *fault {
	s := p.s
	kind := []string{
		ownership.OrderDrain, ownership.OrderDrain, ownership.OrderUndrain, ownership.OrderHandback, ownership.OrderApproveFailover, ownership.OrderDrill,
	}[s.IntN(6)]
	service := ""
	if s.Chance(0.3) {
		service = serviceUIDs()[s.IntN(len(serviceUIDs()))]
	}
	name := s.order(kind, s.regions[s.IntN(len(s.specs[s.hashes[0]].weights))].name, service)
	return &fault{name: "order " + name + " is given", undo: func() {}}
}

// respec proposes other ownership specs for some of the services.
func (p *plan) respec() *fault {
	s := p.s
	for _, uid := range serviceUIDs() {
		if i, there := s.store.content.Now().ServiceIntents[uid]; there && s.Chance(0.6) {
			i.SpecHash = s.hashes[s.IntN(len(s.hashes))]
			s.Tracef("service %s is declared anew as %s", uid, i.SpecHash)
			s.hubDoes(store.PutServiceIntent(i))
		}
	}
	return &fault{name: "services are declared anew", undo: func() {}}
}

// drainThenLose orders a region empty, and cuts it off or kills it soon after.
func (p *plan) drainThenLose() *fault {
	r := p.target()
	if r.witness {
		return nil
	}
	p.s.order(ownership.OrderDrain, r.name, "")
	p.s.After(p.s.Between(0, p.s.timings.RegionLease), func() {
		if !p.s.calm {
			p.begin(p.isolate(r), p.lasts()+p.s.timings.RegionLease)
		}
	})
	return &fault{name: "region " + r.name + " will be drained and lost", undo: func() {}}
}

// person looks after the regions and services once nothing goes wrong any more: it orders what does not
// go by itself, one order for each thing at a time.
func (s *Sim) person() {
	c := s.store.content.Now()
	for _, r := range s.regions {
		rec := c.View.Regions[r.name]
		switch {
		case r.gone && rec.State != "" && !rec.Gone:
			s.need(c, ownership.OrderDeclareLost, r.name, "")
		case rec.State == ownership.RegionDrained:
			s.need(c, ownership.OrderUndrain, r.name, "")
		}
		for _, uid := range serviceUIDs() {
			if record := c.Services[uid]; record.UID != "" && !r.gone && !r.witness {
				s.lookAfter(c, record, r.name)
			}
		}
	}
}

// lookAfter orders what a service needs in a region.
func (s *Sim) lookAfter(c ownership.Configuration, record ownership.ServiceRecord, region string) {
	rec := c.View.Regions[region]
	switch {
	case slices.Contains(record.Excluded, region):
		s.need(c, ownership.OrderUndrain, region, record.UID)
	case rec.State == ownership.RegionReturning && record.HandedBack[region] != rec.ReturnedEpoch && record.Handback != ownership.HandbackAutomatic:
		s.need(c, ownership.OrderHandback, region, record.UID)
	}
}

// need gives an order unless the last one of its kind is still being carried out.
func (s *Sim) need(c ownership.Configuration, kind, region, service string) {
	key := kind + region + service
	if name, given := s.given[key]; given && !done(c.Orders[name].State) && c.OrderIntents[name].Name != "" {
		return
	}
	s.given[key] = s.order(kind, region, service)
}
