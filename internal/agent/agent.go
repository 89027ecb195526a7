package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
)

// ErrReplaced is returned by Run when a newer incarnation of this region's agent has registered.
// The process should end: two agents of one region would take turns.
var ErrReplaced = errors.New("another agent of this region has registered, or somebody has edited its record; if this goes on, " +
	"two members run with the same --region, of which one must have another or be stopped")

// Config is what an Agent needs. All fields but Local and Log are required.
type Config struct {
	// Region is the name of the region that the agent runs in.
	Region string
	// Store is the coordination store.
	Store *coordination.Store
	// Clock is SystemClock outside of tests.
	Clock Clock
	// Timings must be the same in all regions.
	Timings ownership.Timings
	// AboveEpoch and RevisionBase are kept with the position of a store that was adopted, else 0: the
	// region takes no lease from a view of AboveEpoch or less, and tells its gateways revisions of the
	// store plus RevisionBase, so that they never go back.
	AboveEpoch, RevisionBase int64
	// Epoch is the highest that the region has seen in this store, as kept with its position: a view
	// with a lower one was edited, and gives no lease.
	Epoch int64
	// Place identifies the cluster that the process runs in, and Process is where a person finds it. An
	// agent does not take the place of another that still beats in another place, or, unless Alone,
	// in the same. Without a Place it takes anybody's.
	Place, Process string
	// Pod is the UID of the process's Pod; empty when not known. An agent takes the place of one of the same Pod
	// at once: it was started because that has ended, and its region's lease goes on running out meanwhile.
	Pod string
	// Alone: no second process of this place acts at the same time, since an election there sees to it.
	Alone bool
	// Ballots has this agent take a ballot for each of its terms, for the hub beside it (peer mode).
	Ballots bool
	// Prober asks the other regions; NewProber outside of tests.
	Prober Prober
	// Local takes part in changes of owners; without one, the gateways alone do.
	Local Local
	// Log defaults to silence.
	Log logr.Logger
}

// Agent is one region's agent. Its methods are safe for concurrent use.
type Agent struct {
	config    Config
	publisher *Publisher
	acks      *ackBook
	memory    *memory

	mu sync.Mutex
	// registration is set once the agent is registered.
	registration *coordination.Registration
	conf         ownership.Configuration
	have         bool
	leaseUntil   time.Duration
	// renewed, if not nil, is closed when the lease is extended after running short.
	renewed    chan struct{}
	lastAnswer time.Duration
	answered   bool
	refused    error
	// damaged is what nobody agreed on of the newest content, nil if all is sound; delivered is the
	// newest revision, also of a damaged one.
	damaged *damaged
	// taken is what is known of another agent that acts for the region, empty while none does.
	taken     string
	delivered int64
	// term is set while this agent leads.
	term *coordination.Term
	// ballotFloor is what this agent's ballots have to be above.
	ballotFloor int64
	// committed and previous are the revisions of this agent's last two beats: a watch that has not
	// shown the earlier when the next is committed has stalled.
	committed, previous int64
	subscribers         map[chan struct{}]struct{}
	// restartWatch ends the present watch, and shown is whether that has delivered anything.
	restartWatch    context.CancelFunc
	shown           bool
	observer        *health.Observer
	evidenceChanged chan struct{}
}

// New returns an Agent that does nothing until Run.
func New(c Config) (*Agent, error) {
	switch {
	case c.Region == "":
		return nil, errors.New("creating the agent: no region; say which region it runs in")
	case c.Store == nil || c.Clock == nil || c.Prober == nil:
		return nil, errors.New("creating the agent: store, clock and prober are required")
	}
	if err := CheckTimings(c.Timings); err != nil {
		return nil, fmt.Errorf("creating the agent: %w", err)
	}
	a := &Agent{
		config: c, acks: newAckBook(c.Clock), memory: newMemory(c.Timings), subscribers: map[chan struct{}]struct{}{},
		observer: health.NewObserver(c.Timings), evidenceChanged: make(chan struct{}, 1),
	}
	a.publisher = newPublisher(a.Snapshot)
	return a, nil
}

// electionAtMost is how long etcd may take to elect a leader of its own: its election timeout is
// set to less than half of LeaderSession, which must outlast one.
func electionAtMost(t ownership.Timings) time.Duration { return t.LeaderSession / 2 }

// CheckTimings refuses timings with which a healthy region would lose its lease, or a healthy
// leader its session.
func CheckTimings(t ownership.Timings) error {
	for name, d := range map[string]time.Duration{
		"probeInterval": t.ProbeInterval, "probeTimeout": t.ProbeTimeout, "downAfter": t.DownAfter,
		"upAfter": t.UpAfter, "beatInterval": t.BeatInterval, "regionLease": t.RegionLease,
		"leaderSession": t.LeaderSession,
	} {
		if d <= 0 {
			return fmt.Errorf("timings: %s is %s; it must be positive", name, d)
		}
	}
	if need := electionAtMost(t) + 2*t.BeatInterval; t.RegionLease <= need {
		return fmt.Errorf("timings: regionLease %s does not outlast an election of the store and two beats (%s); raise it",
			t.RegionLease, need)
	}
	return nil
}

// Run runs the agent until ctx ends or another incarnation replaces it (ErrReplaced). It survives
// everything else.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{a.watch, a.beat, a.probe, a.report, a.follow, a.campaign, a.publish, a.acknowledge} {
		g.Go(func() error { return part(ctx) })
	}
	err := g.Wait()
	a.mu.Lock()
	a.leaseUntil = 0
	a.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Identity names this incarnation, in elections too: "<region>/<incarnation>". It is empty until
// the agent is registered.
func (a *Agent) Identity() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.identity()
}

// identity is Identity; mu is held.
func (a *Agent) identity() string {
	if a.registration == nil {
		return ""
	}
	return a.config.Region + "/" + a.registration.Incarnation()
}

// Region returns the region that the agent runs in.
func (a *Agent) Region() string { return a.config.Region }

// Publisher returns where controllers publish the routing of services.
func (a *Agent) Publisher() *Publisher { return a.publisher }

// IsLeader reports whether this agent leads, as far as it knows. Only guarded writes make sure.
func (a *Agent) IsLeader() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.term != nil
}

// wait waits for d on the agent's clock.
func (a *Agent) wait(ctx context.Context, d time.Duration) error {
	timer := a.config.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newIncarnation returns a name that no agent has had.
func newIncarnation() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}
