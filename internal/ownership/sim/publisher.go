package sim

import (
	"slices"
	"time"
)

// routing.MaxWait and the gateway's timings; see internal/gateway/agent.go.
const (
	maxWait      = time.Second
	agentTimeout = 2 * time.Second
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = time.Second
	minPollTime  = 20 * time.Millisecond
)

// publishSoon repeats Agent.publish, which is woken by news: those that come before it runs are one.
func (a *agent) publishSoon() {
	if a.publishing {
		return
	}
	a.publishing = true
	lag := a.s.publishLag
	if a.s.publishLate > 0 {
		lag = a.s.timings.RegionLease
	}
	a.p.After(a.s.Between(0, lag), func() {
		a.publishing = false
		a.publish()
	})
}

// publish repeats Publisher.update: gateways that wait hear of another routing at once.
func (a *agent) publish() {
	if a.havePublished && a.conf.Revision <= a.published.Revision && !a.s.mutant(RestoredStoreAccepted) && !a.s.mutant(LaggingFirstRead) {
		return
	}
	fresh := !a.havePublished || a.conf.View.Epoch != a.published.View.Epoch
	a.published, a.havePublished = a.conf, true
	if fresh {
		a.answerAll()
	}
}

func (a *agent) answerAll() {
	waiting := a.polls
	a.polls = nil
	for _, q := range waiting {
		a.answer(q)
	}
}

// serve repeats Agent.serveRouting: an answer at once to a gateway that has another version, and after
// the wait otherwise.
func (a *agent) serve(q *poll) {
	q.arrived = a.p.Clock.Now()
	if a.havePublished {
		a.book.note(q, a.published.View.Epoch, a.acknowledge)
	}
	if a.havePublished && (!q.has || q.version != a.published.View.Epoch) {
		a.answer(q)
		return
	}
	a.polls = append(a.polls, q)
	a.p.After(q.wait, func() {
		if i := slices.Index(a.polls, q); i >= 0 {
			a.polls = slices.Delete(a.polls, i, i+1)
			a.answer(q)
		}
	})
}

// answer repeats Agent.answer.
func (a *agent) answer(q *poll) {
	if !a.havePublished {
		q.fail()
		return
	}
	gate := a.conf.Gates[a.r.name]
	x := answer{conf: a.published, held: a.p.Clock.Now() - q.arrived, ended: a.refused || !gate.Open}
	if a.published.Gates[a.r.name] == gate || a.s.mutant(LeaseBeforeRouting) {
		x.remaining = a.lease()
	}
	if x.remaining > 0 && !x.ended {
		a.book.lease(q.from, a.p.Clock.Now(), x.remaining)
	}
	q.reply(x)
}
