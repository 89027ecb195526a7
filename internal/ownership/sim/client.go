package sim

import (
	"errors"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/sim/store"
	"multiactive.dev/operator/internal/ownership/sim/world"
)

// Constants of package coordination.
const (
	// requestTimeout is coordination.DefaultRequestTimeout.
	requestTimeout = 1500 * time.Millisecond
	// doubtFor is for how long a member that did not answer is asked after the others.
	doubtFor = 30 * time.Second
)

// position is coordination.Position.
type position struct {
	clusterID uint64
	revision  int64
}

// refusal is coordination.GuardError.
type refusal struct{ failed []string }

// Error implements error.
func (r *refusal) Error() string { return "refused: " + strings.Join(r.failed, ", ") }

func failedGuard(err error, name string) bool {
	var r *refusal
	return errors.As(err, &r) && slices.Contains(r.failed, name)
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// client repeats coordination.Store: a bounded call of one member at a time, whose answer is checked
// against the position known when the question was asked.
type client struct {
	c     *cluster
	p     *world.Process
	known position
	// order has the members in the order in which they are asked, the region's own first.
	order []int
	// doubted has when members did not answer, on the process's clock.
	doubted map[int]time.Duration
	// restored: the known store has come back with a lower revision, and is refused for good.
	restored bool
	// trusting accepts the answers of any store.
	trusting bool
}

// newClient returns a client that prefers the given member.
func newClient(c *cluster, p *world.Process, own int) *client {
	cl := &client{c: c, p: p, doubted: map[int]time.Duration{}}
	for i := range c.members {
		cl.order = append(cl.order, (own+i)%len(c.members))
	}
	return cl
}

// pick repeats coordination.members.pick: the first member that is connected and not in doubt, else the one
// that has been in doubt for longest, else any. A refused connection costs no time; packets that vanish cost
// one call, and the connection is only made again when they pass.
func (cl *client) pick() int {
	best, bestAt := -1, time.Duration(0)
	for _, i := range cl.order {
		at, doubted := cl.doubted[i]
		switch {
		case !cl.c.members[i].alive:
		case !doubted, cl.p.Clock.Now()-at >= doubtFor && cl.c.s.net.Both(cl.p.Node, cl.c.members[i].node):
			return i
		case best < 0 || at < bestAt:
			best, bestAt = i, at
		}
	}
	if best < 0 {
		return cl.order[0]
	}
	return best
}

// unanswered repeats coordination.members.failed.
func (cl *client) unanswered(i int) { cl.doubted[i] = cl.p.Clock.Now() }

// call asks a member. at runs in the store if the request gets there, and what it returns runs here if
// the answer does; otherwise lost runs after the timeout.
func (cl *client) call(timeout time.Duration, at func(member int) func(), lost func()) {
	done := false
	s, i := cl.c.s, cl.pick()
	cl.p.After(timeout, func() {
		if !done {
			done = true
			cl.unanswered(i)
			lost()
		}
	})
	d, ok := s.net.Delay(cl.p.Node, cl.c.members[i].node)
	if !ok {
		return
	}
	s.After(d, func() {
		until := s.Now()
		if s.Chance(0.5) {
			until += s.Between(0, serverTimeout)
		}
		cl.c.commit(i, until, func() {
			answer := at(i)
			d, ok := s.net.Delay(cl.c.members[i].node, cl.p.Node)
			if !ok {
				return
			}
			s.After(d, func() {
				cl.p.Receive(func() {
					if !done {
						done = true
						delete(cl.doubted, i)
						answer()
					}
				})
			})
		})
	})
}

// accept repeats coordination.Store.accept and judge (R2).
func (cl *client) accept(before, seen position) error {
	switch {
	case cl.trusting:
	case before.clusterID != 0 && before.clusterID != seen.clusterID, cl.known.clusterID != 0 && cl.known.clusterID != seen.clusterID:
		return errOtherStore
	case seen.revision < before.revision && !cl.c.s.mutant(RefusalForgotten):
		cl.restored = true
	}
	if cl.restored || seen.revision < before.revision && !cl.trusting {
		return errOtherStore
	}
	cl.known.clusterID = seen.clusterID
	cl.known.revision = max(cl.known.revision, seen.revision)
	return nil
}

// write repeats coordination.Store.commit. committed, if set, runs in the store, at the instant at
// which the write takes effect.
func (cl *client) write(r store.Request, timeout time.Duration, committed func(revision int64), done func(int64, error)) {
	if r.Refused != "" {
		done(0, &refusal{[]string{r.Refused}})
		return
	}
	before := cl.known
	cl.call(timeout, func(int) func() {
		from := cl.c.content.Now().Revision
		answer := cl.c.content.Do(r)
		if len(answer.Failed) == 0 && answer.Revision > from {
			if committed != nil {
				committed(answer.Revision)
			}
			cl.c.committed()
		}
		return func() {
			err := cl.accept(before, position{answer.ClusterID, answer.Revision})
			switch {
			case err != nil:
				done(0, err)
			case len(answer.Failed) > 0:
				done(0, &refusal{answer.Failed})
			default:
				done(answer.Revision, nil)
			}
		}
	}, func() { done(0, errNoAnswer) })
}

// read repeats coordination.Store.readAll. lag shows a member's past instead of the present, as a read
// that is not linearizable would.
func (cl *client) read(lag int64, done func(member int, c ownership.Configuration, err error)) {
	before := cl.known
	cl.call(requestTimeout, func(i int) func() {
		conf := cl.c.content.Read()
		if lag > 0 {
			conf = cl.c.content.At(max(conf.Revision-lag, 1))
		}
		return func() {
			err := cl.accept(before, position{conf.ClusterID, conf.Revision})
			if lag > 0 {
				err = nil
			}
			done(i, conf, err)
		}
	}, func() { done(0, ownership.Configuration{}, errNoAnswer) })
}
