package hub_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/elect"
)

// leader plays the elected leader, which decides as the real one does, and the regions' agents: what the
// probes find out, and when a region says that it is fenced or has caught up, is as the test says.
type leader struct {
	t       *testing.T
	store   *coordination.Store
	term    *coordination.Term
	memory  *change.Memory
	started time.Time

	mu   sync.Mutex
	beat map[string]*coordination.Registration
	// losing are the regions that the probes do not reach, returning those that are let in again.
	losing, returning map[string]bool
	n                 int64
	// anew has another leader take over, which remembers nothing.
	anew bool
	// suspects are the regions that some observer cannot reach.
	suspects map[string]bool
}

const (
	// tick is how often the leader and the agents act.
	tick = 200 * time.Millisecond
	// pace is how fast the leader's clock runs, so that what it leaves alone for a while after it has tried
	// it makes no test wait.
	pace = 20
)

func lead(t *testing.T, store *coordination.Store) *leader {
	t.Helper()
	term, err := elect.Lead(t.Context(), store, "test", 30*time.Second)
	must(t, err)
	l := &leader{
		t: t, store: store, term: term, memory: change.NewMemory(), started: time.Now(),
		beat: map[string]*coordination.Registration{}, losing: map[string]bool{}, returning: map[string]bool{}, suspects: map[string]bool{},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for ctx.Err() == nil {
			l.act(ctx)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
	t.Cleanup(func() { cancel(); running.Wait(); term.Resign() })
	return l
}

// act is one pass of everybody, each on what the one before has written. Whatever fails is tried again.
func (l *leader) act(ctx context.Context) {
	for _, do := range []func(context.Context, ownership.Configuration){l.beats, l.accept, l.decide, l.acknowledge} {
		c, err := l.store.Read(ctx)
		if err != nil {
			return
		}
		do(ctx, c)
	}
}

func (l *leader) decide(ctx context.Context, c ownership.Configuration) {
	l.mu.Lock()
	if l.anew {
		l.memory, l.anew = change.NewMemory(), false
	}
	l.mu.Unlock()
	in := change.Input{
		Now: pace * time.Since(l.started), At: time.Now(), Conf: c, Timings: ownership.DefaultTimings(), Health: l.health(ctx, c), Memory: l.memory,
	}
	in.Timings.PlannedLimit, in.Timings.LossLimit = time.Hour, time.Hour // the machine may be busy
	if txn, ok := change.Decide(in); ok {
		_, _ = l.term.Commit(ctx, c, txn)
	}
	for _, o := range change.Orders(in) {
		_, _ = l.term.PutOrder(ctx, c, o)
	}
	for _, name := range change.FinishedOrders(c) {
		_, _ = l.term.DeleteOrder(ctx, c, name)
	}
}

// health says what probes would lead to.
func (l *leader) health(ctx context.Context, c ownership.Configuration) health.Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := health.Decision{}
	for name, rec := range c.View.Regions {
		switch {
		case l.losing[name] && c.Gates[name].Open:
			_, _ = l.term.CloseGate(ctx, c, name)
		case l.losing[name] && rec.State != ownership.RegionLost:
			d.Intents = append(d.Intents, health.Intent{Kind: health.DeclareLost, Region: name, Message: "as the test says"})
		case l.returning[name] && rec.State == ownership.RegionLost:
			d.Intents = append(d.Intents, health.Intent{Kind: health.OpenGateReturning, Region: name, Message: "as the test says"})
		case rec.State == ownership.RegionServing && rec.Suspect != l.suspects[name]:
			kind := map[bool]health.Kind{true: health.Suspect, false: health.ClearSuspect}[l.suspects[name]]
			d.Intents = append(d.Intents, health.Intent{Kind: kind, Region: name, Message: "as the test says"})
		case l.beat[name] != nil:
			d.Reachable, d.Beating = append(d.Reachable, name), append(d.Beating, name)
			if rec.State == ownership.RegionReturning {
				d.Ready = append(d.Ready, name)
			}
		}
	}
	return d
}

// acknowledge has every agent that beats say what the change under way asks of it.
func (l *leader) acknowledge(ctx context.Context, c ownership.Configuration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for region, registration := range l.beat {
		if fence, catchUp := change.Concerns(c, region); fence || catchUp {
			_, _ = registration.PutAck(ctx, c, ownership.Ack{Epoch: c.View.Epoch, Fenced: fence, CaughtUp: catchUp})
		}
	}
}

// accept turns proposals into records, as the leader does.
func (l *leader) accept(ctx context.Context, c ownership.Configuration) {
	for uid, intent := range c.ServiceIntents {
		record, known := c.Services[uid]
		switch {
		case !known && !intent.Deleted:
			record = ownership.ServiceRecord{
				UID: uid, Namespace: intent.Namespace, Name: intent.Name, Handback: intent.Handback, PeerKey: []byte("k"),
				ServiceState: ownership.ServiceState{SpecHash: intent.SpecHash, Regions: intent.Regions, Manual: intent.Manual},
			}
		case known && intent.Deleted && !record.Deleted:
			record.Deleted = true
		default:
			continue
		}
		_, _ = l.term.PutServiceRecords(ctx, c, record)
	}
	for uid, record := range c.Services {
		if _, wanted := c.ServiceIntents[uid]; record.Deleted && !wanted {
			_, _ = l.term.DeleteServiceRecord(ctx, c, uid)
		}
	}
}

func (l *leader) beats(ctx context.Context, c ownership.Configuration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	for _, registration := range l.beat {
		_, _ = registration.Beat(ctx, c, l.n)
	}
}

// agent lets a region's agent beat from now on.
func (l *leader) agent(region string) {
	l.t.Helper()
	registration, err := l.store.RegisterAgent(l.t.Context(), region, fmt.Sprintf("%s-%d", region, time.Now().UnixNano()), 0)
	must(l.t, err)
	c, err := l.store.Read(l.t.Context())
	must(l.t, err)
	if !c.Gates[region].Open {
		_, err = l.term.OpenGate(l.t.Context(), c, region)
		must(l.t, err)
	}
	l.mu.Lock()
	l.beat[region] = registration
	l.mu.Unlock()
}

// lose lets a region be lost, and waits until it is.
func (l *leader) lose(region string) {
	l.t.Helper()
	l.mu.Lock()
	delete(l.beat, region)
	delete(l.returning, region)
	l.losing[region] = true
	l.mu.Unlock()
	l.until(region, ownership.RegionLost)
}

// comeBack lets a lost region return, and waits until it has.
func (l *leader) comeBack(region string) {
	l.t.Helper()
	registration, err := l.store.RegisterAgent(l.t.Context(), region, fmt.Sprintf("%s-%d", region, time.Now().UnixNano()), 0)
	must(l.t, err)
	l.mu.Lock()
	delete(l.losing, region)
	l.returning[region] = true
	l.mu.Unlock()
	l.retry(func(c ownership.Configuration) error {
		if !c.Gates[region].Open {
			return errNotYet
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.returning, region)
	l.beat[region] = registration
}

// another lets another leader take over.
func (l *leader) another() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.anew = true
}

// suspect lets a region be suspected, or not any more.
func (l *leader) suspect(region string, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.suspects[region] = is
}

// until waits for a region's state in a view that is in force.
func (l *leader) until(region string, state ownership.RegionState) {
	l.t.Helper()
	l.retry(func(c ownership.Configuration) error {
		if got := c.View.Regions[region].State; got != state || c.View.Phase != ownership.PhaseOpen {
			return fmt.Errorf("region %s is %s in a view that is %s, want %s", region, got, c.View.Phase, state)
		}
		return nil
	})
}

// commit writes the next view, with the regions' states changed.
func (l *leader) commit(states map[string]ownership.RegionRecord) int64 {
	l.t.Helper()
	var epoch int64
	l.retry(func(c ownership.Configuration) error {
		next := ownership.View{Epoch: c.View.Epoch + 1, Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}}
		maps.Copy(next.Regions, c.View.Regions)
		maps.Copy(next.Regions, states)
		epoch = next.Epoch
		txn := change.Txn{What: "test", View: next}
		if err := l.gates(c, states, &txn); err != nil {
			return err
		}
		_, err := l.term.Commit(l.t.Context(), c, txn)
		return err
	})
	return epoch
}

// gates makes the regions' gates fit their states, as a leader does: closed before a region is lost, open
// before one is new, and opened with the view that lets one return.
func (l *leader) gates(c ownership.Configuration, states map[string]ownership.RegionRecord, txn *change.Txn) error {
	for region, rec := range states {
		open := rec.State != ownership.RegionLost
		gate, there := c.Gates[region]
		if there && gate.Open == open {
			continue
		}
		_, known := c.View.Regions[region]
		var err error
		switch {
		case !open:
			_, err = l.term.CloseGate(l.t.Context(), c, region)
		case !known:
			_, err = l.term.OpenGate(l.t.Context(), c, region)
		default:
			txn.OpenGate = region
			continue
		}
		return cmp.Or(err, errNotYet)
	}
	return nil
}

func (l *leader) incident(i ownership.Incident) {
	l.t.Helper()
	l.retry(func(c ownership.Configuration) error {
		_, err := l.term.PutIncident(l.t.Context(), c, i)
		return err
	})
}

// hold writes why a region is left as it is; no reason: it is not.
func (l *leader) hold(region, reason string) {
	l.t.Helper()
	held := map[string]string{}
	if reason != "" {
		held[region] = reason
	}
	l.retry(func(ownership.Configuration) error {
		_, err := l.term.PutHeld(l.t.Context(), held)
		return err
	})
}

// retry repeats a write that something else came before.
func (l *leader) retry(write func(ownership.Configuration) error) {
	l.t.Helper()
	testkit.Eventually(l.t, soon, func() error {
		c, err := l.store.Read(l.t.Context())
		if err != nil {
			return err
		}
		return write(c)
	})
}

func serving() ownership.RegionRecord {
	return ownership.RegionRecord{State: ownership.RegionServing, Role: "Active", Since: time.Now().UTC()}
}

var errNotYet = errors.New("not yet")
