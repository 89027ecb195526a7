package search

import (
	"fmt"

	"multiactive.dev/operator/internal/ownership"
)

// people order changes and declare services anew.
func (m *model) people(s state, do visit) {
	conf := m.contents[s.conf].conf
	if len(conf.OrderIntents) == 0 && s.used.orders < m.bounds.orders {
		for i, o := range m.orders {
			m.place(s, i, o, do)
		}
	}
	if len(conf.OrderIntents) > 0 {
		next := s
		next.conf = m.written(write{to: s.conf, kind: actOrderEnds}, func(c *ownership.Configuration) {
			// A drill may be deleted at any time: its region comes back.
			deleted := c.OrderIntents[orderName].Type == ownership.OrderDrill
			if record, changed := standing(*c); deleted || changed && record.State != ownership.OrderRunning {
				c.Orders, c.OrderIntents = nil, nil
			}
		})
		if next.conf != s.conf {
			do(next, func() string { return "the order has ended, the hub withdraws it" })
		}
	}
	if s.used.respecs < m.bounds.respecs {
		for i, sp := range m.specs[1:] {
			next := s
			next.used.respecs++
			next.conf = m.written(write{to: s.conf, kind: actRespec, extra: uint8(i)}, func(c *ownership.Configuration) {
				c.ServiceIntents = map[string]ownership.ServiceIntent{uid: {
					UID: uid, SpecHash: sp.hash, Regions: sp.regions(), Manual: m.manual, Handback: ownership.HandbackAutomatic,
				}}
			})
			if next.conf != s.conf {
				do(next, func() string { return "the hub proposes the spec " + sp.hash + ", order " + sp.order() })
			}
		}
	}
}

// place lets a person order something, which the leader takes up at once or refuses.
func (m *model) place(s state, i int, o ownership.OrderIntent, do visit) {
	o.Name = orderName
	before := s.conf
	s.conf = m.written(write{to: s.conf, kind: actOrder, extra: uint8(i)}, func(c *ownership.Configuration) {
		with := *c
		with.OrderIntents = map[string]ownership.OrderIntent{orderName: o}
		if record, changed := standing(with); changed && record.State == ownership.OrderRunning {
			record.Message = "" // for people
			with.Orders = map[string]ownership.OrderRecord{orderName: record}
			*c = with
		}
	})
	s.used.orders++
	if s.conf != before {
		do(s, func() string {
			return fmt.Sprintf("a person orders %s of %s (service %q)", o.Type, o.Region, o.Service)
		})
	}
}
