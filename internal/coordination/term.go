package coordination

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// Term is a candidature, and one leader's time in office once it leads. Every write through it is refused
// once it is over, whether or not its holder has noticed (R1).
type Term struct {
	store    *Store
	session  *session
	key      string
	revision int64
}

// Stand stands for election under the given identity. The oldest candidate leads: Leads tells from the
// configurations that a watch delivers, which the caller has anyway, and notices when it stalls. The session
// lives for ttl (whole seconds, rounded up) without news from the holder.
func (s *Store) Stand(ctx context.Context, identity string, ttl time.Duration) (*Term, error) {
	session, err := s.openSession(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("standing for election: %w", err)
	}
	t := &Term{store: s, session: session, key: fmt.Sprintf("%s%s%x", s.prefix, dirLeader, session.id)}
	candidate := clientv3.OpPut(t.key, identity, clientv3.WithLease(session.id))
	t.revision, err = s.commit(ctx, dirLeader+identity, nil, candidate)
	if err != nil {
		t.Resign()
		return nil, fmt.Errorf("standing for election: %w", err)
	}
	return t, nil
}

// Leads reports whether c shows this candidate as the leader. It then stays that until its key is gone.
func (t *Term) Leads(c ownership.Configuration) bool { return c.LeaderSince == t.revision }

// Gone reports whether c shows that this candidate's key is gone, though its session may live: somebody has
// deleted it.
func (t *Term) Gone(c ownership.Configuration) bool {
	return c.Revision >= t.revision && (c.LeaderSince == 0 || c.LeaderSince > t.revision)
}

// Done is closed when the session is known to be over.
func (t *Term) Done() <-chan struct{} { return t.session.done }

// Resign ends the term, so that another leader need not wait for the session to expire. Bounded
// by the store's request timeout; a store that does not answer lets the session expire.
func (t *Term) Resign() { t.session.close() }

// Commit carries out a change of the view and everything that goes with it, at once (R1): refused unless
// the view, the gates and acknowledgements that it depends on, the records that it writes and the gate
// that it opens are as from has them.
func (t *Term) Commit(ctx context.Context, from ownership.Configuration, x change.Txn) (int64, error) {
	if err := follows(from, x.View); err != nil {
		return 0, err
	}
	all, puts := []guard{t.view(from)}, []put{{t.store.prefix + keyView, x.View}}
	if x.OpenGate != "" {
		gate := ownership.Gate{Generation: from.Gates[x.OpenGate].Generation + 1, Open: true}
		puts = append(puts, put{t.store.prefix + dirGate + x.OpenGate, gate})
		all = append(all, t.asked(from, x.OpenGate))
	}
	for _, region := range distinct(x.Gates) {
		all = append(all, t.gate(from, region))
	}
	for _, region := range distinct(x.Acks) {
		all = append(all, unwrittenSince(GuardAck, t.store.prefix+dirAck+region, from.Revision))
	}
	for i := range x.Services {
		key := t.store.prefix + dirService + x.Services[i].UID
		all = append(all, unwrittenSince(GuardRecord, key, from.Revision), exists(GuardRecord, key))
		puts = append(puts, put{key, x.Services[i]})
	}
	var settled []clientv3.Op
	for origin, debt := range x.Debts {
		key := t.store.prefix + dirDebt + origin
		all = append(all, unwrittenSince(GuardRecord, key, from.Revision))
		if len(debt.Vector) == 0 {
			settled = append(settled, clientv3.OpDelete(key))
			continue
		}
		puts = append(puts, put{key, debt})
	}
	for _, o := range x.Orders {
		puts = append(puts, put{t.store.prefix + dirOrder + o.Name, o})
	}
	ops, err := t.store.encode(x.What, puts)
	if err != nil {
		return 0, err
	}
	return t.store.commit(ctx, x.What, t.guards(all...), append(ops, settled...)...)
}

// distinct returns the names without repetitions: the store bounds the comparisons of a transaction.
func distinct(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// OpenGate opens the gate of a region that the view does not have yet.
func (t *Term) OpenGate(ctx context.Context, from ownership.Configuration, region string) (int64, error) {
	gate := ownership.Gate{Generation: from.Gates[region].Generation + 1, Open: true}
	return t.store.write(ctx, dirGate+region, t.guards(t.gate(from, region), t.asked(from, region)),
		put{t.store.prefix + dirGate + region, gate})
}

// CloseGate closes the region's gate (R4): refused when the region has beaten since from, whose
// beat the caller has watched standing still for regionLease x (1+maxDrift).
func (t *Term) CloseGate(ctx context.Context, from ownership.Configuration, region string) (int64, error) {
	gate := ownership.Gate{Generation: from.Gates[region].Generation + 1, After: from.Beats[region].N}
	beat := unwrittenSince(GuardBeat, t.store.prefix+dirBeat+region, from.Revision)
	return t.store.write(ctx, dirGate+region, t.guards(t.gate(from, region), beat),
		put{t.store.prefix + dirGate + region, gate})
}

// PutServiceRecords writes services' records, all at once: refused when one of them, or of the intents that they answer,
// has changed since from, so that what was withdrawn is not accepted. One transaction is one configuration that every
// region takes in, however many services are new.
func (t *Term) PutServiceRecords(ctx context.Context, from ownership.Configuration, records ...ownership.ServiceRecord) (int64, error) {
	guards, puts := t.guards(), make([]put, 0, len(records))
	what := fmt.Sprintf("%s (%d)", dirService, len(records))
	for i := range records {
		uid := records[i].UID
		if err := checkName("service UID", uid); err != nil {
			return 0, err
		}
		key := t.store.prefix + dirService + uid
		guards = append(append(guards, unwrittenSince(GuardRecord, key, from.Revision)), t.intent(from, uid)...)
		puts = append(puts, put{key, records[i]})
	}
	if len(records) == 1 {
		what = dirService + records[0].UID
	}
	return t.store.write(ctx, what, guards, puts...)
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

// PutOrder writes what became of an order: refused when it has changed since from, or its intent was
// withdrawn.
func (t *Term) PutOrder(ctx context.Context, from ownership.Configuration, o ownership.OrderRecord) (int64, error) {
	if err := checkName("order", o.Name); err != nil {
		return 0, err
	}
	key := t.store.prefix + dirOrder + o.Name
	guards := t.guards(unwrittenSince(GuardRecord, key, from.Revision), exists(GuardIntent, t.store.prefix+dirOrderIntent+o.Name))
	return t.store.write(ctx, dirOrder+o.Name, guards, put{key, o})
}

// DeleteOrder removes the record of an order whose intent was withdrawn.
func (t *Term) DeleteOrder(ctx context.Context, from ownership.Configuration, name string) (int64, error) {
	return t.remove(ctx, from, dirOrder, name)
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
	if want := from.NextEpoch(); next.Epoch != want {
		return fmt.Errorf("writing view: epoch %d is not %d, which follows %d and all that regions have seen", next.Epoch, want, from.View.Epoch)
	}
	return nil
}
