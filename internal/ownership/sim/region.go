package sim

import (
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership/sim/world"
)

// region is one region's machines. Its three nodes in the network are the agents' (with the API
// server), the edge's (the gateways) and the store member's.
type region struct {
	s                              *Sim
	name                           string
	index                          int
	witness                        bool
	agentNode, edgeNode, storeNode int
	agents                         []*agent
	gateways                       []*gateway
	// down: nothing is started again. gone: and that for good. frozen counts what stops its machines.
	down, gone bool
	frozen     int
	// gatewayCount is how many gateways run at least.
	gatewayCount int
	data         data
	// links carry its data to the others.
	links []*link
	// kept is the highest position that the agents have kept for their successors (R2).
	kept position
	// restored is what they have kept of their refusal: the known store came back with a lower revision.
	restored bool
	// underWay is the true time until which writes to a cell are under way here, besides those that a
	// gateway which runs may still accept.
	underWay []time.Duration
	// returned is when the region's gate was last opened again.
	returned time.Duration
}

// reaction is what a region answers to a probe.
type reaction int

const (
	silent reaction = iota
	refuses
	well
)

// answers repeats what a probe of the region finds: an edge that works, none, or one that hangs.
func (r *region) answers() reaction {
	found := refuses
	look := func(p *world.Process) {
		switch {
		case p.Running():
			found = well
		case found == refuses:
			found = silent
		}
	}
	for _, g := range r.gateways {
		look(g.p)
	}
	for _, a := range r.agents {
		if r.witness {
			look(a.p)
		}
	}
	if found == refuses && r.down {
		return silent
	}
	return found
}

// forget takes an ended agent off the list, and has another started if it was the last one.
func (r *region) forget(a *agent) {
	r.agents = slices.DeleteFunc(slices.Clone(r.agents), func(other *agent) bool { return other == a })
	r.revive()
}

func (r *region) forgetGateway(g *gateway) {
	r.gateways = slices.DeleteFunc(slices.Clone(r.gateways), func(other *gateway) bool { return other == g })
	r.revive()
}

// revive starts what a region lacks, after the time that a restart takes.
func (r *region) revive() {
	r.s.After(r.s.Between(r.s.timings.BeatInterval/10, r.s.timings.BeatInterval), func() {
		if r.down {
			return
		}
		if len(r.agents) == 0 {
			r.s.startAgent(r)
		}
		if len(r.gateways) < r.gatewayCount {
			r.s.startGateway(r)
		}
	})
}
