package mirror

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	soakSeed = flag.Uint64("seed", 0, "TestSoak: the first run's seed; 0: another one every time")
	soakRuns = flag.Int("runs", defaultSoakRuns, "TestSoak: how many runs, with a seed each")
)

// Faults of one run, and the pause before each.
const (
	soakFaults   = 8
	shortestWait = 50 * time.Millisecond
	longestWait  = 400 * time.Millisecond
)

// Three clusters mirror each other through all kinds of faults, in an order and at times drawn from a seed: a
// cluster or a mirror is killed and comes back, a way between the two is cut, a topic is deleted and made anew, or
// gets more partitions. Then whatever was acknowledged is at every other cluster, or counts as lost with its topic.
//
//	go test ./internal/mirror -run TestSoak -seed 7 -runs 1
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64N(1 << 32)
	}
	clusters := map[string]*soakCluster{}
	for _, region := range soakRegions {
		clusters[region] = newSoakCluster(t, region)
	}
	var total soakCounts
	for run := range *soakRuns {
		own := seed + uint64(run)
		t.Run(fmt.Sprintf("seed=%d", own), func(t *testing.T) {
			s := newSoak(t, own, run, clusters)
			defer func() {
				if t.Failed() {
					t.Logf("repeat it with -seed %d -runs 1:\n%s", own, s.history)
				}
			}()
			s.run()
			total.add(s.check())
		})
		if t.Failed() {
			break // the clusters may be in any state
		}
	}
	t.Logf("from seed %d on, %d runs: %s", seed, *soakRuns, total)
}

// step is one kind of fault. It returns what it did, or nothing when it does not apply now.
type step struct {
	weight int
	do     func(*soak) string
}

var steps = []step{
	{2, (*soak).killCluster},
	{3, (*soak).startCluster},
	{4, (*soak).killMirror},
	{3, (*soak).startMirror},
	{5, (*soak).cutLink},
	{4, (*soak).mendLink},
	{4, (*soak).remakeTopic},
	{3, (*soak).growTopic},
}

// run has the faults happen and then mends everything.
func (s *soak) run() {
	weights := 0
	for _, st := range steps {
		weights += st.weight
	}
	for done := 0; done < soakFaults; {
		at := s.random.IntN(weights)
		for _, st := range steps {
			if at -= st.weight; at >= 0 {
				continue
			}
			if what := st.do(s); what != "" {
				s.tell(what)
				s.pause()
				done++
			}
			break
		}
	}
	s.mend()
}

// pause lets records flow for a while.
func (s *soak) pause() {
	select {
	case <-time.After(shortestWait + time.Duration(s.random.Int64N(int64(longestWait-shortestWait)))):
	case <-s.t.Context().Done():
	}
}

func (s *soak) tell(what string) { s.history += what + "\n" }

// mend ends every fault that lasts.
func (s *soak) mend() {
	for s.startCluster() != "" || s.mendLink() != "" || s.startMirror() != "" { //nolint:revive // that is all
	}
	for _, src := range s.sources {
		src.halt(s.t)
	}
	s.tell("everything is mended")
}

func (s *soak) killCluster() string {
	for _, region := range soakRegions {
		if s.clusters[region].down {
			return "" // the other two go on
		}
	}
	c := s.clusters[soakRegions[s.random.IntN(len(soakRegions))]]
	c.broker.Kill()
	c.down, c.kills = true, c.kills+1
	return "the Kafka of " + c.region + " is killed"
}

func (s *soak) startCluster() string {
	for _, region := range soakRegions {
		if c := s.clusters[region]; c.down {
			c.broker.Start()
			c.down = false
			return "the Kafka of " + region + " is back"
		}
	}
	return ""
}

func (s *soak) killMirror() string {
	m := s.anyMirror(func(m *soakMirror) bool { return m.process != nil })
	if m == nil {
		return ""
	}
	m.process.Kill()
	m.process = nil
	return "the mirror " + m.name() + " is killed"
}

func (s *soak) startMirror() string {
	m := s.anyMirror(func(m *soakMirror) bool { return m.process == nil })
	if m == nil {
		return ""
	}
	m.start(s.t)
	return "the mirror " + m.name() + " is started"
}

func (s *soak) cutLink() string {
	m := s.anyMirror(func(m *soakMirror) bool { return !m.cut[0] || !m.cut[1] })
	if m == nil {
		return ""
	}
	end := s.random.IntN(2)
	if m.cut[end] {
		end = 1 - end
	}
	m.setCut(end, true)
	return "the mirror " + m.name() + " is cut off from its " + soakEnds[end]
}

func (s *soak) mendLink() string {
	m := s.anyMirror(func(m *soakMirror) bool { return m.cut[0] || m.cut[1] })
	if m == nil {
		return ""
	}
	end := 0
	if !m.cut[0] {
		end = 1
	}
	m.setCut(end, false)
	return "the mirror " + m.name() + " reaches its " + soakEnds[end] + " again"
}

// remakeTopic deletes a topic and makes it anew. It is done once to each topic of a run, so that what counts as lost of it
// is of this time.
func (s *soak) remakeTopic() string {
	src := s.anySource(func(src *soakSource) bool { return !s.clusters[src.region].down && src.incarnation == 0 })
	if src == nil {
		return ""
	}
	if m := s.anyMirror(func(m *soakMirror) bool { return m.from.region == src.region && m.process != nil && m.cut == [2]bool{} }); m != nil && s.random.IntN(3) > 0 {
		m.setCut(1, true) // or everything would be copied when it is deleted
		s.pause()
	}
	src.halt(s.t)
	watching := s.watch(src)
	src.remake(s.t, 1+s.random.IntN(4))
	src.begin(s.t)
	return fmt.Sprintf("topic %s of %s is deleted and made anew; its records are counted by the mirrors %s", src.topic, src.region, watching)
}

func (s *soak) growTopic() string {
	src := s.anySource(func(src *soakSource) bool { return !s.clusters[src.region].down && src.partitions < 6 })
	if src == nil {
		return ""
	}
	src.halt(s.t)
	src.grow(s.t, src.partitions+1+s.random.IntN(2))
	src.begin(s.t)
	return fmt.Sprintf("topic %s of %s has %d partitions now", src.topic, src.region, src.partitions)
}
