package world

import "time"

// Network carries messages between nodes, each on its own: they are lost, delayed and overtake one
// another. Faults add up: a link that was cut twice has to be mended twice.
type Network struct {
	w    *World
	size int
	// zone of each node. Within a zone messages are quick and never lost by chance.
	zone []int
	base [][]time.Duration
	cuts [][]int
	slow [][]time.Duration
	// Loss is the probability that a message between zones is lost.
	Loss float64
	// Tail is the probability that a message takes up to TailDelay longer.
	Tail      float64
	TailDelay time.Duration
	// Changed, if set, is called after every cut or mending.
	Changed func()
}

// within a zone.
const (
	minLocal = 50 * time.Microsecond
	maxLocal = time.Millisecond
)

// NewNetwork returns a network of whole links whose one-way delays between zones are below far.
func (w *World) NewNetwork(zone []int, far time.Duration) *Network {
	n := &Network{w: w, size: len(zone), zone: zone}
	zones := 0
	for _, z := range zone {
		zones = max(zones, z+1)
	}
	between := make([][]time.Duration, zones)
	for i := range between {
		between[i] = make([]time.Duration, zones)
		for j := range i {
			d := w.Between(far/10, far)
			between[i][j], between[j][i] = d, d
		}
	}
	for i := range n.size {
		n.base = append(n.base, make([]time.Duration, n.size))
		n.cuts = append(n.cuts, make([]int, n.size))
		n.slow = append(n.slow, make([]time.Duration, n.size))
		for j := range n.size {
			n.base[i][j] = between[zone[i]][zone[j]]
		}
	}
	return n
}

// Size returns the number of nodes.
func (n *Network) Size() int { return n.size }

// Up reports whether messages from one node can reach another.
func (n *Network) Up(from, to int) bool { return n.cuts[from][to] == 0 }

// Both reports whether messages pass in both directions.
func (n *Network) Both(a, b int) bool { return n.Up(a, b) && n.Up(b, a) }

// Delay draws how long a message takes from one node to another, and false if it gets lost.
func (n *Network) Delay(from, to int) (time.Duration, bool) {
	if !n.Up(from, to) {
		return 0, false
	}
	if from == to || n.zone[from] == n.zone[to] {
		return n.w.Between(minLocal, maxLocal) + n.slow[from][to], true
	}
	if n.w.Chance(n.Loss) {
		return 0, false
	}
	d := n.base[from][to] + n.slow[from][to]
	d += n.w.Between(0, d/2+1)
	if n.w.Chance(n.Tail) {
		d += n.w.Between(0, n.TailDelay)
	}
	return d, true
}

// Link is one direction between two nodes.
type Link struct{ From, To int }

// Cut cuts links until Mend is called with them.
func (n *Network) Cut(links []Link) { n.change(links, 1) }

// Mend undoes one Cut of the links.
func (n *Network) Mend(links []Link) { n.change(links, -1) }

func (n *Network) change(links []Link, by int) {
	for _, l := range links {
		n.cuts[l.From][l.To] += by
	}
	if n.Changed != nil {
		n.Changed()
	}
}

// Slow adds a delay to links; a negative one takes it off.
func (n *Network) Slow(links []Link, by time.Duration) {
	for _, l := range links {
		n.slow[l.From][l.To] += by
	}
}
