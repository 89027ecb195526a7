package agent

import (
	"context"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// announceFor is how long the store keeps that a second process waits to act for the region, and
// announceEvery how often it says so.
const (
	announceFor   = 60 * time.Second
	announceEvery = 20 * time.Second
)

// turn is what an agent has watched of the one that acts for its region.
type turn struct {
	record ownership.AgentRecord
	beat   ownership.Beat
	// since is when neither was seen to be another; moved, that they were at least once.
	since time.Duration
	moved bool
	begun bool
}

// awaitTurn waits until no other agent acts for the region, and returns a revision at which that was so; 0
// when nothing has to be waited for. Two agents of one region, each with gateways of its own, would both
// accept its home writes: the one that acts goes on, and this one says what is wrong.
func (a *Agent) awaitTurn(ctx context.Context, own ownership.AgentRecord) (int64, error) {
	if a.config.Place == "" {
		return 0, nil
	}
	defer a.setTaken("")
	var t turn
	var announced time.Duration
	for {
		now := a.config.Clock.Boottime()
		if c, have := a.newest(); have {
			wait := a.standStill(c.Agents[a.config.Region])
			t.watch(now, c, a.config.Region)
			if now-t.since >= wait {
				return a.atOnce(wait, c.Revision), nil
			}
			if t.moved && (announced == 0 || now-announced >= announceEvery) {
				announced = now
				a.announce(ctx, own, t.record)
			}
		}
		if err := a.wait(ctx, a.config.Timings.BeatInterval/2); err != nil {
			return 0, err
		}
	}
}

// atOnce is the revision to compare with: none when nothing had to be waited for.
func (*Agent) atOnce(waited time.Duration, revision int64) int64 {
	if waited == 0 {
		return 0
	}
	return revision
}

// watch notes whether the acting agent gives signs of life.
func (t *turn) watch(now time.Duration, c ownership.Configuration, region string) {
	record, beat := c.Agents[region], c.Beats[region]
	if t.begun && record == t.record && beat == t.beat {
		return
	}
	t.moved = t.begun
	t.record, t.beat, t.since, t.begun = record, beat, now, true
}

// standStill returns for how long the acting agent must have given no sign of life before this one takes
// its place: from another cluster until its last lease has run out (as R4 has it), in the same until it
// would have beaten, and not at all when it cannot be running.
func (a *Agent) standStill(acting ownership.AgentRecord) time.Duration {
	switch {
	case acting.Incarnation == "" || acting.Place == "":
		return 0
	case acting.Place != a.config.Place:
		return time.Duration(float64(a.config.Timings.RegionLease) * (1 + ownership.MaxDrift))
	case a.config.Alone, a.config.Pod != "" && a.config.Pod == acting.Pod:
		return 0
	default:
		return 3 * a.config.Timings.BeatInterval
	}
}

// newest returns the latest content of the store, damaged or not, and false before the first.
func (a *Agent) newest() (ownership.Configuration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.damaged != nil {
		return a.damaged.conf, true
	}
	return a.conf, a.have
}

// announce says, here and in the store, that another agent acts for the region.
func (a *Agent) announce(ctx context.Context, own, acting ownership.AgentRecord) {
	where := "the same cluster"
	if acting.Place != own.Place {
		where = "another cluster (" + acting.Place + ", this one is " + own.Place + ")"
	}
	a.setTaken(fmt.Sprintf("another member acts for region %s, in %s: this one does nothing. Two members must not have the same "+
		"--region: give one of them another, or stop it. This one takes over once the other has been silent for longer than a lease", a.config.Region, where))
	a.config.Log.Info("Another member acts for this region; this one does nothing. Give one of them another --region, or stop it.",
		"region", a.config.Region, "actingIncarnation", acting.Incarnation, "actingPlace", acting.Place, "ownPlace", own.Place)
	rival := ownership.Rival{Incarnation: own.Incarnation, Place: own.Place, Process: a.config.Process}
	err := a.config.Store.AnnounceRival(ctx, a.config.Region, rival, announceFor)
	if err != nil && ctx.Err() == nil {
		a.config.Log.Info("Could not announce that; trying again.", "error", err.Error())
	}
}

func (a *Agent) setTaken(why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = why
}
