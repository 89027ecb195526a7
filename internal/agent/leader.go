package agent

import (
	"context"
	"errors"
	"maps"
	"time"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// campaign stands for election whenever nobody leads, and leads while elected. An agent that refuses
// the store (R2), or cannot mend its content, does neither.
func (a *Agent) campaign(ctx context.Context) error {
	for {
		identity := a.Identity()
		if identity == "" || !a.mayLead() {
			if err := a.wait(ctx, a.config.Timings.BeatInterval); err != nil {
				return err
			}
			continue
		}
		term, err := a.config.Store.Stand(ctx, identity, a.config.Timings.LeaderSession)
		if err == nil {
			err = a.elected(ctx, term)
		}
		if err == nil {
			a.config.Log.Info("This agent leads.", "identity", identity)
			err = a.lead(ctx, term)
		}
		if term != nil {
			term.Resign()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.config.Log.Info("This agent does not lead; standing for election again.", "reason", errorText(err))
		if err := a.wait(ctx, a.config.Timings.BeatInterval); err != nil {
			return err
		}
	}
}

// elected blocks until the term leads. The agent's own watch tells: it is started over when it stalls. Damaged
// content, of which subscribers hear nothing, counts too: whoever leads puts it right.
func (a *Agent) elected(ctx context.Context, term *coordination.Term) error {
	news, cancel := a.Subscribe()
	defer cancel()
	ticker := a.config.Clock.NewTicker(a.config.Timings.BeatInterval / 2)
	defer ticker.Stop()
	for {
		switch c, have := a.newest(); {
		case have && term.Leads(c):
			return nil
		case have && term.Gone(c):
			return errTermOver
		}
		select {
		case <-news:
		case <-ticker.C():
		case <-term.Done():
			return errTermOver
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var (
	errTermOver     = errors.New("the term is over")
	errStoreRefused = errors.New("the store is another one, or older, than this region has followed")
)

// lead decides on every configuration, and between them because time passes, until the term ends.
func (a *Agent) lead(ctx context.Context, term *coordination.Term) error {
	a.setTerm(term)
	defer a.setTerm(nil)
	news, cancel := a.Subscribe()
	defer cancel()
	ticker := a.config.Clock.NewTicker(a.config.Timings.BeatInterval / 2)
	defer ticker.Stop()
	l := &leader{agent: a, term: term, memory: change.NewMemory()}
	for {
		select {
		case <-news:
		case <-ticker.C():
		case <-term.Done():
			return errTermOver
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := l.pass(ctx); err != nil {
			return err
		}
	}
}

func (a *Agent) setTerm(term *coordination.Term) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.term = term
}

// leader is one term's memory.
type leader struct {
	agent *Agent
	term  *coordination.Term
	// written is the revision of the latest write: older configurations are not decided on.
	written int64
	memory  *change.Memory
}

// pass decides once and carries it out. It returns an error only when the term is over: whatever
// else fails is decided again on the next configuration.
func (l *leader) pass(ctx context.Context) error {
	if l.agent.refusesStore() {
		return errStoreRefused
	}
	if d, before := l.agent.damage(); d != nil {
		return l.putBack(ctx, d, before)
	}
	c, have := l.agent.Snapshot()
	if !have || c.Revision < l.written || !l.agent.upToDate() {
		return nil
	}
	now, at := l.agent.config.Clock.Boottime(), l.agent.config.Clock.Now()
	var steps []step
	l.agent.look(now, c, func(w *health.Watch) {
		w.Routed(l.agent.acks.Epoch())
		steps = l.steps(now, at, c, w)
	})
	for _, step := range steps {
		revision, err := step.write(ctx)
		if err != nil {
			return l.failed(step.what, err)
		}
		l.written = max(l.written, revision)
	}
	return nil
}

func (l *leader) failed(what string, err error) error {
	var refused *coordination.GuardError
	switch {
	case errors.As(err, &refused) && refused.Has(coordination.GuardLeader):
		return err
	case errors.Is(err, coordination.ErrGuard):
		// Somebody else has written what this decision depended on. Its configuration is on the
		// way, or the watch has stalled, which the beats find out.
		l.agent.config.Log.V(1).Info("A decision was overtaken; deciding again.", "step", what, "error", err.Error())
	default:
		l.agent.config.Log.Info("A decision could not be written; deciding again.", "step", what, "error", err.Error())
	}
	return nil
}

// step is one write of a pass.
type step struct {
	what  string
	write func(context.Context) (int64, error)
}

// steps decides and turns the decision into writes, the urgent ones first. All start from the same
// configuration and touch different keys.
func (l *leader) steps(now time.Duration, at time.Time, c ownership.Configuration, w *health.Watch) []step {
	d := health.Decide(now, c, w)
	var steps []step
	add := func(what string, write func(context.Context) (int64, error)) {
		steps = append(steps, step{what, write})
	}
	for _, i := range d.Intents {
		switch i.Kind { //nolint:exhaustive // the others are for package change, or incidents
		case health.CloseGate:
			add("close gate", func(ctx context.Context) (int64, error) { return l.term.CloseGate(ctx, c, i.Region) })
		case health.OpenGate:
			add("open gate", func(ctx context.Context) (int64, error) { return l.term.OpenGate(ctx, c, i.Region) })
		}
	}
	in := change.Input{Now: now, At: at, Conf: c, Timings: l.agent.config.Timings, Health: d, Silent: w.Silent(now), Memory: l.memory}
	if txn, ok := change.Decide(in); ok {
		l.announce(c, txn)
		add(txn.What, func(ctx context.Context) (int64, error) { return l.term.Commit(ctx, c, txn) })
	}
	for _, i := range health.Incidents(now, at, c, w, d.Intents) {
		add("incident", func(ctx context.Context) (int64, error) { return l.term.PutIncident(ctx, c, i) })
	}
	for _, name := range surplusIncidents(c) {
		add("old incident", func(ctx context.Context) (int64, error) { return l.term.DeleteIncident(ctx, c, name) })
	}
	if records := acceptedServices(c, newPeerKey); len(records) > 0 {
		add("services", func(ctx context.Context) (int64, error) { return l.term.PutServiceRecords(ctx, c, records...) })
	}
	for _, o := range change.Orders(in) {
		add("order", func(ctx context.Context) (int64, error) { return l.term.PutOrder(ctx, c, o) })
	}
	for _, name := range change.FinishedOrders(c) {
		add("finished order", func(ctx context.Context) (int64, error) { return l.term.DeleteOrder(ctx, c, name) })
	}
	for _, uid := range finishedServices(c) {
		add("deleted service", func(ctx context.Context) (int64, error) { return l.term.DeleteServiceRecord(ctx, c, uid) })
	}
	if floor, due := l.agent.ballot(c); due {
		add("ballot", func(ctx context.Context) (int64, error) { return l.term.PutBallot(ctx, c, l.agent.Identity(), floor) })
	}
	if !maps.Equal(c.Held, d.Held) {
		add("held", func(ctx context.Context) (int64, error) { return l.term.PutHeld(ctx, d.Held) })
	}
	return steps
}

func (l *leader) announce(c ownership.Configuration, txn change.Txn) {
	l.agent.config.Log.Info("Changing the view of the regions.", "change", txn.What, "because", txn.Because,
		"phase", string(txn.View.Phase), "fromEpoch", c.View.Epoch, "epoch", txn.View.Epoch)
}
