package coordination

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"multiactive.dev/operator/internal/ownership"
)

// Term is one leader's time in office. Every write through it is refused once it is over, whether
// or not its holder has noticed (R1).
type Term struct {
	store    *Store
	session  *concurrency.Session
	election *concurrency.Election
	key      string
	revision int64
}

// Campaign blocks until this client leads under the given identity, ctx ends or the session is
// lost. The session lives for ttl (whole seconds, rounded up) without news from the holder.
func (s *Store) Campaign(ctx context.Context, identity string, ttl time.Duration) (*Term, error) {
	seconds := int((ttl + time.Second - 1) / time.Second)
	grant, cancel := s.bounded(ctx)
	lease, err := s.client.Grant(grant, int64(seconds))
	cancel()
	if err != nil {
		return nil, fmt.Errorf("campaigning: granting a session: %w", err)
	}
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease.ID),
		concurrency.WithTTL(seconds), concurrency.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("campaigning: opening a session: %w", err)
	}
	election := concurrency.NewElection(session, s.prefix+"leader")
	t := &Term{store: s, session: session, election: election}
	if err := t.await(ctx, identity); err != nil {
		t.Resign()
		return nil, fmt.Errorf("campaigning: %w", err)
	}
	t.key, t.revision = election.Key(), election.Rev()
	return t, nil
}

// await blocks until the election is won or the session, without which nobody would notice the
// leader's death, is over. The library's clean-up after a cancelled campaign waits for the store;
// it is left behind, and ends with the store's client at the latest.
func (t *Term) await(ctx context.Context, identity string) error {
	wait, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	won := make(chan error, 1)
	go func() { won <- t.election.Campaign(wait, identity) }()
	select {
	case err := <-won:
		stop()
		return err
	case <-ctx.Done():
		stop()
		return ctx.Err()
	case <-t.session.Done():
		stop()
		return errors.New("the session ended before the election was won")
	}
}

// Done is closed when the session is known to be over.
func (t *Term) Done() <-chan struct{} { return t.session.Done() }

// Resign ends the term, so that another leader need not wait for the session to expire. Bounded
// by the store's request timeout; a store that does not answer lets the session expire.
func (t *Term) Resign() {
	t.session.Orphan()
	ctx, cancel := t.store.bounded(context.Background())
	defer cancel()
	_, _ = t.store.client.Revoke(ctx, t.session.Lease())
}

// CommitView writes the view that follows from's (R1): refused when the view has changed since.
func (t *Term) CommitView(ctx context.Context, from ownership.Configuration, next ownership.View) (int64, error) {
	if err := follows(from, next); err != nil {
		return 0, err
	}
	return t.store.write(ctx, keyView, t.guards(t.view(from)), put{t.store.prefix + keyView, next})
}

// OpenGateReturning opens a closed gate and commits the view that says so, at once (R5).
func (t *Term) OpenGateReturning(ctx context.Context, from ownership.Configuration, region string, next ownership.View) (int64, error) {
	if err := follows(from, next); err != nil {
		return 0, err
	}
	gate := ownership.Gate{Generation: from.Gates[region].Generation + 1, Open: true}
	return t.store.write(ctx, dirGate+region,
		t.guards(t.view(from), t.gate(from, region), t.asked(from, region)),
		put{t.store.prefix + dirGate + region, gate}, put{t.store.prefix + keyView, next})
}

// OpenGate opens the gate of a region that the view does not have yet.
func (t *Term) OpenGate(ctx context.Context, from ownership.Configuration, region string) (int64, error) {
	gate := ownership.Gate{Generation: from.Gates[region].Generation + 1, Open: true}
	return t.store.write(ctx, dirGate+region, t.guards(t.gate(from, region), t.asked(from, region)),
		put{t.store.prefix + dirGate + region, gate})
}

// CloseGate closes the region's gate (R4): refused when the region has beaten since from, whose
// beat the caller has watched standing still for regionLease x (1+maxDrift).
func (t *Term) CloseGate(ctx context.Context, from ownership.Configuration, region string) (int64, error) {
	gate := ownership.Gate{Generation: from.Gates[region].Generation + 1, Open: false}
	beat := unwrittenSince(GuardBeat, t.store.prefix+dirBeat+region, from.Revision)
	return t.store.write(ctx, dirGate+region, t.guards(t.gate(from, region), beat),
		put{t.store.prefix + dirGate + region, gate})
}

// PutServiceRecord writes a service's record: refused when it, or the intent that it answers, has
// changed since from, so that what was withdrawn is not accepted.
func (t *Term) PutServiceRecord(ctx context.Context, from ownership.Configuration, r ownership.ServiceRecord) (int64, error) {
	if err := checkName("service UID", r.UID); err != nil {
		return 0, err
	}
	key := t.store.prefix + dirService + r.UID
	guards := append([]guard{unwrittenSince(GuardRecord, key, from.Revision)}, t.intent(from, r.UID)...)
	return t.store.write(ctx, dirService+r.UID, t.guards(guards...), put{key, r})
}

// DeleteServiceRecord removes the record of a deleted service that every region has let go of.
func (t *Term) DeleteServiceRecord(ctx context.Context, from ownership.Configuration, uid string) (int64, error) {
	return t.remove(ctx, from, dirService, uid)
}

// PutIncident writes an incident: refused when it has changed since from.
func (t *Term) PutIncident(ctx context.Context, from ownership.Configuration, i ownership.Incident) (int64, error) {
	if err := checkName("incident", i.Name); err != nil {
		return 0, err
	}
	key := t.store.prefix + dirIncident + i.Name
	return t.store.write(ctx, dirIncident+i.Name, t.guards(unwrittenSince(GuardRecord, key, from.Revision)), put{key, i})
}

// PutHeld writes why regions are left as they are though something speaks against it, if that
// differs.
func (t *Term) PutHeld(ctx context.Context, held map[string]string) (int64, error) {
	return t.store.writeChanged(ctx, keyHeld, t.guards(), put{t.store.prefix + keyHeld, held})
}

// DeleteIncident removes an incident that is older than what is kept.
func (t *Term) DeleteIncident(ctx context.Context, from ownership.Configuration, name string) (int64, error) {
	return t.remove(ctx, from, dirIncident, name)
}

func (t *Term) remove(ctx context.Context, from ownership.Configuration, dir, name string) (int64, error) {
	key := t.store.prefix + dir + name
	guards := t.guards(unwrittenSince(GuardRecord, key, from.Revision), exists(GuardRecord, key))
	return t.store.commit(ctx, dir+name, guards, clientv3.OpDelete(key))
}

func (t *Term) guards(more ...guard) []guard {
	return append([]guard{createdAt(GuardLeader, t.key, t.revision)}, more...)
}

func (t *Term) view(from ownership.Configuration) guard {
	return unwrittenSince(GuardView, t.store.prefix+keyView, from.Revision)
}

func (t *Term) gate(from ownership.Configuration, region string) guard {
	return unwrittenSince(GuardGate, t.store.prefix+dirGate+region, from.Revision)
}

// asked demands that the incarnation that asked still acts.
func (t *Term) asked(from ownership.Configuration, region string) guard {
	return unwrittenSince(GuardAgent, t.store.prefix+dirAgent+region, from.Revision)
}

// intent demands that a service's intent is as from has it, there or not.
func (t *Term) intent(from ownership.Configuration, uid string) []guard {
	key := t.store.prefix + dirServiceIntent + uid
	if _, proposed := from.ServiceIntents[uid]; !proposed {
		return []guard{createdAt(GuardIntent, key, 0)}
	}
	return []guard{exists(GuardIntent, key), unwrittenSince(GuardIntent, key, from.Revision)}
}

func follows(from ownership.Configuration, next ownership.View) error {
	if next.Epoch != from.View.Epoch+1 {
		return fmt.Errorf("writing view: epoch %d does not follow %d", next.Epoch, from.View.Epoch)
	}
	return nil
}
