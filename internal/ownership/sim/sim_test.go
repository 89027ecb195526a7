package sim_test

import (
	"flag"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim"
)

var (
	seeds  = flag.Uint64("seeds", defaultSeeds, "how many seeds TestSeeds runs")
	seed   = flag.Uint64("seed", 1, "the seed that TestSeed runs")
	mutant = flag.String("mutant", "", "the mutant that TestSeed runs")
)

// TestMain collects garbage less often: worlds keep their history, and are thrown away as a whole.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// options are what a seed means in TestSeeds, TestSeed and TestMutants: some with routing that is made
// late, and some with harmless faults alone.
func options(seed uint64, m sim.Mutant) sim.Options {
	return sim.Options{
		Seed: seed, LatePublisher: seed%8 == 0, Harmless: seed%8 == 1, Mutant: m,
	}
}

// harmless returns the nth seed that options leaves to harmless faults.
func harmless(n uint64) uint64 { return 8*n + 1 }

// search runs the seeds from 1 to count, on all processors, until one breaks a promise. It returns the
// first such seed, 0 if there is none.
func search(count uint64, of func(seed uint64) sim.Options, each func(sim.Result)) uint64 {
	var next, found atomic.Uint64
	var all sync.WaitGroup
	var mu sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for n := next.Add(1); n <= count && (found.Load() == 0 || n < found.Load()); n = next.Add(1) {
				r := sim.Run(of(n))
				mu.Lock()
				if each(r); r.Violation != nil && (found.Load() == 0 || n < found.Load()) {
					found.Store(n)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return found.Load()
}

// show runs a seed again, with its trace, and fails the test with it.
func show(t *testing.T, o sim.Options) {
	t.Helper()
	o.Traced = true
	r := sim.Run(o)
	t.Errorf("seed %d: %v\n%s", o.Seed, r.Violation, strings.Join(r.Trace, "\n"))
}

func replay(n uint64) string {
	return "replay it with: go test ./internal/ownership/sim -run 'TestSeed$' -seed " + strconv.FormatUint(n, 10) + " -v"
}

// TestSeeds runs the protocol under faults; it keeps every promise.
func TestSeeds(t *testing.T) {
	var sum sim.Result
	var slowest time.Duration
	changes, began := map[ownership.ChangeKind]int{}, time.Now()
	broken := search(*seeds, func(n uint64) sim.Options { return options(n, "") }, func(r sim.Result) {
		sum.Duration += r.Duration
		sum.Losses += r.Losses
		sum.Returns += r.Returns
		sum.Accepted += r.Accepted
		sum.Refused += r.Refused
		for kind, n := range r.Changes {
			changes[kind] += n
		}
		slowest = max(slowest, r.Recovery)
	})
	if broken != 0 {
		show(t, options(broken, ""))
		t.Fatal(replay(broken))
	}
	t.Logf("%.0f seeds a second; changes of owners: %v", float64(*seeds)/time.Since(began).Seconds(), changes)
	t.Logf("%d seeds: %s of true time, %d regions lost and %d back, %d home writes accepted and %d refused, slowest recovery %s",
		*seeds, sum.Duration.Round(time.Hour), sum.Losses, sum.Returns, sum.Accepted, sum.Refused, slowest.Round(time.Second))
	// Worlds in which nothing happens would keep every promise too.
	if n := int(*seeds); n >= 100 && (sum.Losses < n/10 || sum.Returns < n/20 || sum.Refused < n || sum.Accepted < 10*n) {
		t.Errorf("too little happened: %+v", sum)
	}
}

// TestSeed replays one seed and shows its last events.
func TestSeed(t *testing.T) {
	o := options(*seed, sim.Mutant(*mutant))
	o.Traced = true
	r := sim.Run(o)
	t.Logf("the last events of seed %d:\n%s", *seed, strings.Join(r.Trace, "\n"))
	if r.Violation != nil {
		t.Errorf("seed %d: %v", *seed, r.Violation)
	}
}

// TestRunIsRepeatable holds what replaying rests on: a seed is one run, traced or not.
func TestRunIsRepeatable(t *testing.T) {
	for n := range uint64(20) {
		first := sim.Run(options(n, sim.LeaseAfterGateClosed))
		traced := options(n, sim.LeaseAfterGateClosed)
		traced.Traced = true
		again := sim.Run(traced)
		again.Trace = nil
		if (first.Violation == nil) != (again.Violation == nil) || first.Violation != nil && *first.Violation != *again.Violation {
			t.Fatalf("seed %d: %v, then %v", n, first.Violation, again.Violation)
		}
		first.Violation, again.Violation = nil, nil
		if first.Duration != again.Duration || first.Accepted != again.Accepted || first.Refused != again.Refused {
			t.Fatalf("seed %d: %+v, then %+v", n, first, again)
		}
	}
}

// TestRestored restores the store in every run: nobody goes back to what it says.
func TestRestored(t *testing.T) {
	for _, how := range []sim.Restore{sim.NewIdentity, sim.OldIdentity} {
		t.Run(string(how), func(t *testing.T) {
			with := func(n uint64) sim.Options { return sim.Options{Seed: n, Restore: how} }
			if broken := search(otherSeeds, with, func(sim.Result) {}); broken != 0 {
				show(t, with(broken))
			}
		})
	}
}

// TestMeasured holds what a new leader measures of the loss of its predecessor's region against true
// time: it counts from the first evidence that it saw itself as a follower, while the store had no
// leader either.
func TestMeasured(t *testing.T) {
	measured := 0
	for n := range uint64(60) {
		o := sim.Options{Seed: n, LeaderLost: true, Pace: []sim.Pace{sim.PaceDefault, sim.PaceFast}[n%2]}
		r := sim.Run(o)
		timings := []ownership.Timings{ownership.DefaultTimings(), ownership.FastTimings()}[n%2]
		const onTheWay = 1500 * time.Millisecond // a write that is answered late, as the request timeout allows
		for _, m := range r.Measured {
			if m.Step != ownership.StepCommitted {
				continue
			}
			measured++
			if late := m.True - m.Since; m.Approximate || late < -m.True/50 || late > timings.ProbeInterval+onTheWay {
				t.Errorf("seed %d: %+v, which begins %s after the loss", n, m, late)
			}
		}
	}
	if measured < 40 {
		t.Errorf("%d losses were measured, want most of 60", measured)
	}
}

// TestLeaderLost bounds what it costs more when the lost region is that of the leader, and of a member of the
// store: in the world of a single fault, its loss is committed about as soon as the lease has run out and the
// session has, whatever comes first.
func TestLeaderLost(t *testing.T) {
	for pace, timings := range map[sim.Pace]ownership.Timings{
		sim.PaceDefault: ownership.DefaultTimings(), sim.PaceFast: ownership.FastTimings(),
	} {
		bound := health.Expiry(timings) + timings.LeaderSession
		var after []time.Duration
		for n := range uint64(100) {
			took := sim.Run(sim.Options{Seed: n, LeaderLost: true, Pace: pace}).Committed
			if took == 0 {
				continue
			}
			if after = append(after, took); took > bound {
				t.Errorf("%s, seed %d: the loss is committed after %s, later than %s", pace, n, took, bound)
			}
		}
		if slices.Sort(after); len(after) < 75 {
			t.Fatalf("%s: %d of 100 losses were committed", pace, len(after))
		}
		t.Logf("%s: committed after %s (median), %s (95th percentile), %s at most", pace,
			after[len(after)/2], after[len(after)*95/100], after[len(after)-1])
	}
}

// TestFlapping bounds how often a region's slots move when it comes and goes (R14): the hold-downs
// before its returns add up to less than the whole time, and each is twice the one before.
func TestFlapping(t *testing.T) {
	for n := range uint64(20) {
		o := sim.Options{Seed: n, Flaps: 20, Pace: sim.PaceFast}
		r := sim.Run(o)
		if r.Violation != nil {
			show(t, o)
			return
		}
		most := int(math.Log2(float64(r.Duration)/float64(ownership.FastTimings().UpAfter) + 1))
		if r.Losses < 3 || r.Returns > most {
			t.Errorf("seed %d: lost %d times and back %d times within %s, want some losses and at most %d returns",
				n, r.Losses, r.Returns, r.Duration, most)
		}
	}
}

func TestBound(t *testing.T) {
	for name, timings := range map[string]ownership.Timings{"default": ownership.DefaultTimings(), "fast": ownership.FastTimings()} {
		last := time.Duration(0)
		for flaps := range 10 {
			bound := sim.Bound(timings, flaps)
			if bound < last || bound <= timings.RegionLease+timings.UpAfter {
				t.Errorf("%s: the bound with %d flaps is %s, after %s", name, flaps, bound, last)
			}
			last = bound
		}
	}
}
