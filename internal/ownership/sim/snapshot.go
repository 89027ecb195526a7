package sim

import "multiactive.dev/operator/internal/ownership"

// startWatch repeats Agent.watch and coordination.Store.Watch: a fresh read, then a stream.
func (a *agent) startWatch() {
	a.attempt++
	attempt := a.attempt
	a.shown = false
	a.cl.read(a.lag, func(member int, c ownership.Configuration, err error) {
		if attempt != a.attempt {
			return
		}
		if err != nil {
			a.watchEnded(err)
			return
		}
		a.lag = 0
		a.deliver(c)
		if attempt != a.attempt {
			return
		}
		a.watching = &watch{
			member: member, p: a.p, clusterID: c.ClusterID, after: c.Revision, failed: a.watchEnded,
			deliver: func(news []ownership.Configuration) {
				for _, c := range news {
					a.cl.known.revision = max(a.cl.known.revision, c.Revision)
					a.deliver(c)
				}
			},
		}
		a.s.store.watch(a.watching)
	})
}

func (a *agent) watchEnded(err error) {
	a.attempt++
	attempt := a.attempt
	a.storeAnswered(err)
	wait := a.s.timings.BeatInterval
	if err == errCompacted { //nolint:errorlint // never wrapped
		wait = 0
	}
	a.p.After(wait, func() {
		if attempt == a.attempt {
			a.startWatch()
		}
	})
}

// deliver repeats Agent.deliver (R2, R5).
func (a *agent) deliver(c ownership.Configuration) {
	trusting := a.s.mutant(RestoredStoreAccepted) || a.s.mutant(LaggingFirstRead)
	if a.have && (c.Revision < a.conf.Revision || c.ClusterID != a.conf.ClusterID) && !trusting {
		return
	}
	a.s.delivered(a, c)
	a.conf, a.have, a.shown, a.refused = c, true, true, false
	if !c.Gates[a.r.name].Open && !a.s.mutant(LeaseAfterGateClosed) {
		a.leaseUntil = 0
	}
	a.latchEarly(c)
	a.publishSoon()
	a.report()
	a.look() // repeats Agent.follow
	a.acknowledge()
	switch {
	case a.leader != nil:
		a.leader.pass()
	case a.candidate != nil:
		a.candidate.elected()
	}
}

// storeAnswered repeats Agent.storeAnswered (R2).
func (a *agent) storeAnswered(err error) {
	if err == errOtherStore { //nolint:errorlint // never wrapped
		a.refused, a.leaseUntil = true, 0
		a.r.restored = a.r.restored || a.cl.restored
		a.startWatchOver()
	}
}

// noteCommitted repeats Agent.noteCommitted.
func (a *agent) noteCommitted(revision int64) {
	if a.conf.Revision < a.previous && a.startWatchOver() {
		a.s.Tracef("%s starts its watch over", a.p.Name)
		a.previous, a.committed = 0, 0
		return
	}
	a.previous, a.committed = a.committed, revision
}

// readAgain repeats Agent.readAgain (R1).
func (a *agent) readAgain() { a.startWatchOver() }

// startWatchOver repeats Agent.startWatchOver.
func (a *agent) startWatchOver() bool {
	if !a.shown {
		return false
	}
	a.shown = false
	a.watching.close()
	a.startWatch()
	return true
}

// upToDate repeats Agent.upToDate.
func (a *agent) upToDate() bool { return a.have && a.conf.Revision >= a.previous }
