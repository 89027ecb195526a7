package sim

import (
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// data is what a region's stores hold. Every accepted write is an entry of the stream of its service in
// its region; entries are numbered from 1.
type data struct {
	// log has the time of every entry of the region's own streams, by service.
	log [][]time.Duration
	// received and applied say how far the other regions' streams are here, by origin and service.
	received, applied [][]int64
	applying          [][]bool
	// stuck counts, by service, what keeps its entries from being applied.
	stuck []int
	// latched is what the region has received of others, by origin, when it first saw their gates closed.
	latched []latch

	// What the promises are checked with. acked has the last entry of each cell that a user was told of:
	// of those accepted by a complete owner, and of those since the gate was last opened.
	ackedComplete, ackedSinceOpen []int64
	// atOpen is how long the streams were when the gate was last opened, and atClose how much of them each
	// other region had received when it was last closed after that, by region and service.
	atOpen  []int64
	atClose [][]int64
	// given: a person has declared the region lost for good, or what only such a region had is lost.
	given bool
}

// latch is what was received of a region whose gate is closed in a generation.
type latch struct {
	generation int64
	received   []int64
}

func newData(regions, cells int) data {
	n := len(serviceUIDs())
	table := func() [][]int64 {
		t := make([][]int64, regions)
		for i := range t {
			t[i] = make([]int64, n)
		}
		return t
	}
	d := data{
		log: make([][]time.Duration, n), received: table(), applied: table(), stuck: make([]int, n), latched: make([]latch, regions),
		ackedComplete: make([]int64, cells), ackedSinceOpen: make([]int64, cells), atOpen: make([]int64, n), atClose: table(),
	}
	for range regions {
		d.applying = append(d.applying, make([]bool, n))
	}
	return d
}

// head is how long the region's own stream of a service is.
func (r *region) head(service int) int64 { return int64(len(r.data.log[service])) }

func (r *region) heads() []int64 {
	heads := make([]int64, len(r.data.log))
	for i := range heads {
		heads[i] = r.head(i)
	}
	return heads
}

// vector repeats handover.Region.Vector: all that the region has, its own entries and the others' that it
// has received.
func (r *region) vector() ownership.Vector {
	v := ownership.Vector{}
	for _, origin := range r.s.regions {
		has := r.data.received[origin.index]
		if origin == r {
			has = r.heads()
		}
		v[origin.name] = map[string]int64{}
		for i, uid := range serviceUIDs() {
			v[origin.name][uid] = has[i]
		}
	}
	return v
}

// behind returns the services for which the region has not applied what v has of others.
func (r *region) behind(v ownership.Vector) []string {
	var out []string
	for i, uid := range serviceUIDs() {
		for _, origin := range r.s.regions {
			if origin != r && r.data.applied[origin.index][i] < v[origin.name][uid] {
				out = append(out, uid)
				break
			}
		}
	}
	return out
}

// lag is for how long the region has not applied what another has written for a service.
func (r *region) lag(origin *region, service int) time.Duration {
	applied := r.data.applied[origin.index][service]
	if applied == origin.head(service) {
		return 0
	}
	return r.s.Now() - origin.data.log[service][applied]
}

// halted reports whether the region's stores do nothing.
func (r *region) halted() bool { return r.down || r.frozen > 0 }

// link carries one region's streams to another: nothing is lost and nothing overtakes, but it stalls.
type link struct {
	s        *Sim
	from, to *region
	// stuck counts what keeps the link from carrying anything.
	stuck int
	busy  bool
}

// ship sends what is new, one load at a time.
func (l *link) ship() {
	if !l.busy && l.news(l.from.heads()) {
		l.busy = true
		l.try()
	}
}

func (l *link) news(heads []int64) bool {
	for i, head := range heads {
		if l.to.data.received[l.from.index][i] < head {
			return true
		}
	}
	return false
}

func (l *link) try() {
	s := l.s
	d, ok := s.net.Delay(l.from.edgeNode, l.to.edgeNode)
	if !ok || l.stuck > 0 || !s.net.Both(l.from.edgeNode, l.to.edgeNode) || l.from.halted() || l.to.halted() {
		s.After(s.Between(minRetransmit, maxRetransmit), l.try)
		return
	}
	load := l.from.heads()
	s.After(d, func() {
		if l.busy = false; !l.to.halted() {
			copy(l.to.data.received[l.from.index], load)
			for i := range load {
				l.to.apply(l.from, i)
			}
		}
		l.ship()
	})
}

// apply applies what has been received of a stream, after a while.
func (r *region) apply(origin *region, service int) {
	d := &r.data
	if d.applying[origin.index][service] || d.applied[origin.index][service] == d.received[origin.index][service] {
		return
	}
	d.applying[origin.index][service] = true
	until := d.received[origin.index][service]
	var finish func()
	finish = func() {
		if d.stuck[service] > 0 || r.halted() {
			r.s.After(r.s.Between(minRetransmit, maxRetransmit), finish)
			return
		}
		d.applied[origin.index][service] = until
		d.applying[origin.index][service] = false
		r.apply(origin, service)
	}
	r.s.After(r.s.Between(0, r.s.applyLag), finish)
}

// written adds an entry to the region's stream of a service and returns its number.
func (r *region) written(service int) int64 {
	r.data.log[service] = append(r.data.log[service], r.s.Now())
	for _, l := range r.links {
		l.ship()
	}
	return r.head(service)
}
