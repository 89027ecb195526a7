package deferred

import (
	"iter"
	"slices"
	"time"
)

// State of a request, for users.
type State string

// The states.
const (
	StatePending  State = "Pending"
	StateExecuted State = "Executed"
	StateRefused  State = "Refused"
	StateExpired  State = "Expired"
)

// Position is a place in the log.
type Position struct {
	Partition int32
	Offset    int64
}

// Entry is what is known of one request.
type Entry struct {
	ID string
	// Position of its acceptance.
	Position Position
	Flow     string
	Digest   string
	State    State
	// AcceptedAt, ExpiresAt and DecidedAt by the clocks of the gateways that wrote the events.
	AcceptedAt, ExpiresAt, DecidedAt time.Time
	// Status of the application's answer, 0 without one.
	Status int
	Why    string
	// Unknown of an expired request: it may have been carried out.
	Unknown bool
	// Notified: nobody is left to be told.
	Notified bool
	// Subject and IdempotencyKey of the request, until Notified.
	Subject, IdempotencyKey string
	// Request is nil once its outcome is known. It must not be changed.
	Request *Request

	// begun counts the attempts of which nobody said that they did not reach the application.
	begun int
	size  int
}

// Begun reports whether the request may have reached an application.
func (e *Entry) Begun() bool { return e.begun > 0 }

// KeptUntil is when the outcome may be forgotten: after as long again as it might have been waited for.
func (e *Entry) KeptUntil() time.Time { return e.DecidedAt.Add(e.ExpiresAt.Sub(e.AcceptedAt)) }

// lane is a queue of requests that follow each other.
type lane struct {
	partition int32
	key       string
}

// Ledger is the state of all requests of one log. It is not safe for concurrent use.
type Ledger struct {
	entries map[string]*Entry
	lanes   map[lane][]*Entry
	// next is the offset that follows what was applied, by partition.
	next map[int32]int64
	// untold have an outcome that somebody may have to be told.
	untold map[string]*Entry
	// perKey counts the pending requests of each key.
	perKey  map[string]int
	pending int
	bytes   int
}

// NewLedger returns the ledger of an empty log.
func NewLedger() *Ledger {
	return &Ledger{
		entries: map[string]*Entry{}, lanes: map[lane][]*Entry{}, next: map[int32]int64{}, untold: map[string]*Entry{},
		perKey: map[string]int{},
	}
}

// Next is the offset of a partition that is to be applied next.
func (l *Ledger) Next(partition int32) int64 { return l.next[partition] }

// Skip notes that the log has nothing for the ledger at a position.
func (l *Ledger) Skip(at Position) { l.next[at.Partition] = max(l.next[at.Partition], at.Offset+1) }

// Apply takes up an event, in the order of its partition. One that was applied before changes nothing.
func (l *Ledger) Apply(at Position, ev Event) {
	if at.Offset < l.next[at.Partition] {
		return
	}
	l.Skip(at)
	if ev.Kind == Accepted {
		l.accept(at, ev)
		return
	}
	e := l.entries[ev.ID]
	if e == nil || e.Position != (Position{at.Partition, ev.Of}) {
		return
	}
	switch ev.Kind {
	case Begun:
		e.begun++
	case Unsent:
		e.begun = max(e.begun-1, 0)
	case Executed:
		l.decide(e, StateExecuted, ev)
	case Refused:
		l.decide(e, StateRefused, ev)
	case Expired:
		if ev.Unknown || e.begun == 0 {
			l.decide(e, StateExpired, ev)
		}
	case Notified:
		e.Notified, e.Subject = true, ""
		delete(l.untold, e.ID)
	case Accepted: // above
	}
}

// accept takes up a request, unless there is one of its ID whose outcome is still kept.
func (l *Ledger) accept(at Position, ev Event) {
	if old := l.entries[ev.ID]; old != nil {
		if old.State == StatePending || ev.At.Before(old.KeptUntil()) {
			return
		}
		delete(l.untold, ev.ID)
	}
	r := ev.Request
	e := &Entry{
		ID: ev.ID, Position: at, Flow: r.Flow, Digest: r.Digest, State: StatePending, AcceptedAt: ev.At, ExpiresAt: r.ExpiresAt,
		Subject: r.Subject, IdempotencyKey: r.IdempotencyKey, Request: r, size: r.Size(),
	}
	l.entries[ev.ID] = e
	in := lane{at.Partition, r.Key}
	l.lanes[in] = append(l.lanes[in], e)
	l.bytes += e.size
	l.pending++
	l.perKey[r.Key]++
}

// decide sets the outcome, which the first event about it has.
func (l *Ledger) decide(e *Entry, state State, ev Event) {
	if e.State != StatePending {
		return
	}
	in := lane{e.Position.Partition, e.Request.Key}
	rest := slices.DeleteFunc(l.lanes[in], func(x *Entry) bool { return x == e })
	if l.lanes[in] = rest; len(rest) == 0 {
		delete(l.lanes, in)
	}
	if l.perKey[in.key]--; l.perKey[in.key] == 0 {
		delete(l.perKey, in.key)
	}
	l.pending--
	l.bytes -= e.size
	e.State, e.DecidedAt, e.Status, e.Why, e.Unknown, e.Request = state, ev.At, ev.Status, ev.Why, ev.Unknown, nil
	l.untold[e.ID] = e
}

// Get returns what is known of a request.
func (l *Ledger) Get(id string) (Entry, bool) {
	if e := l.entries[id]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Heads yields, for partitions that are held, the first pending request of every key, in no order. The
// ledger must not change meanwhile; so it is with Pending, Overdue and Untold.
func (l *Ledger) Heads(held func(int32) bool) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for in, queue := range l.lanes {
			if held(in.partition) && !yield(*queue[0]) {
				return
			}
		}
	}
}

// Pending yields all pending requests.
func (l *Ledger) Pending() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, queue := range l.lanes {
			for _, e := range queue {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// Overdue yields the pending requests of held partitions whose time is over.
func (l *Ledger) Overdue(now time.Time, held func(int32) bool) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for in, queue := range l.lanes {
			for _, e := range queue {
				if held(in.partition) && !now.Before(e.ExpiresAt) && !yield(*e) {
					return
				}
			}
		}
	}
}

// Untold yields the requests of held partitions whose outcome nobody noted to have been told.
func (l *Ledger) Untold(held func(int32) bool) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, e := range l.untold {
			if held(e.Position.Partition) && !yield(*e) {
				return
			}
		}
	}
}

// Sweep forgets outcomes that were kept for long enough, whether they were told or not.
func (l *Ledger) Sweep(now time.Time) {
	for id, e := range l.entries {
		if e.State != StatePending && now.After(e.KeptUntil()) {
			delete(l.entries, id)
			delete(l.untold, id)
		}
	}
}

// Limits bound a ledger, and so the memory of every gateway that follows the log.
type Limits struct {
	// Requests that are pending or whose outcome is kept.
	Requests int
	// Bytes of pending requests, about.
	Bytes int
	// PerKey requests of one key that are pending.
	PerKey int
}

// Room reports why another request has no room; empty when it has. more and bytes are those of requests
// that were promised room and are not in the log yet.
func (l *Ledger) Room(r *Request, limits Limits, more, bytes int) string {
	switch {
	case r.Key != "" && l.perKey[r.Key] >= limits.PerKey:
		return "as many requests of this user as may wait are waiting already"
	case len(l.entries)+more >= limits.Requests, l.bytes+bytes+r.Size() > limits.Bytes:
		return "as many requests as may be kept are kept already"
	}
	return ""
}

// Count returns how many requests are pending, how many outcomes are kept, and about how many bytes the
// pending ones take.
func (l *Ledger) Count() (pending, kept, bytes int) {
	return l.pending, len(l.entries) - l.pending, l.bytes
}
