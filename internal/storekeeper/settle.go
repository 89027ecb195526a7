package storekeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"multiactive.dev/operator/internal/ownership"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

const (
	// withdrawFor bounds taking back what no other region has: binary logs are read to their end.
	withdrawFor = 2 * time.Minute
	// refusedFor how long it is not tried again once it was refused: links are stopped each time.
	refusedFor = time.Minute
	// arrived is the age of canaries up to which a region that is back has what the others had.
	arrived = 3 * time.Second
	// decideTurns bounds how long other work of the keeper waits for decisions.
	decideTurns = 40
)

// absence is the last loss of a region.
type absence struct {
	outage storage.Outage
	// lost: it still is. back: it is, and does not have its keys yet. Otherwise it serves, for nobody else could.
	lost, back bool
	// unshipped: it owned keys when it was lost, and others may not have all that it accepted.
	unshipped bool
}

// absencesOf reads them from a configuration.
func absencesOf(c ownership.Configuration) map[string]absence {
	out := map[string]absence{}
	for name, rec := range c.View.Regions {
		if rec.LostAt == nil || rec.Incident == "" && !rec.Unshipped {
			continue
		}
		out[name] = absence{
			outage: storage.Outage{Region: name, ID: rec.LostAt.UnixMicro()}, lost: rec.State == ownership.RegionLost,
			back: rec.State == ownership.RegionReturning || rec.State == ownership.RegionDrained, unshipped: rec.Unshipped,
		}
	}
	return out
}

// settlement is the part of a keeper that settles what regions had not shipped when they were lost. Its server notes how far
// that is; what is kept here saves questions.
type settlement struct {
	released  map[string]int64 // outages by region
	withdrawn int64
	refused   time.Time
	// searched is the outage after which what only this server has was looked for.
	searched int64
}

// settle holds links from regions that are lost, takes back what this one had not shipped, and goes through that. It reports
// whether nothing is left to do.
func (k *keeper) settle(ctx context.Context, server store.Server, t Target) bool {
	settler, can := server.(store.Settler)
	k.mu.Lock()
	prepared, absences := k.look.Observation.Prepared, k.wanted.absences
	k.mu.Unlock()
	if !can || !prepared || !t.Declared.Managed() || t.Declared.Leaving {
		return true
	}
	held, settling, err := k.holdAll(ctx, settler, t.Declared, absences)
	if err != nil {
		settling = err.Error()
	}
	var late []storage.Late
	if settling == "" {
		late, settling = k.decide(ctx, settler, t.Declared.Want, t.Declared.Others())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look.Held, k.look.Settling = held, settling
	if late != nil {
		k.look.Late = late
	}
	soon := len(held) > 0 || settling != ""
	for _, a := range absences {
		soon = soon || len(t.Declared.Want.Conflicts) > 0 && a.back // what became of it is told soon
	}
	return !soon
}

// holdAll holds what is to be held, and takes back what this region had not shipped. It returns by region what nothing comes from, and what
// keeps this region's own changes from being taken back.
func (k *keeper) holdAll(ctx context.Context, settler store.Settler, d *plan.Declared, absences map[string]absence) (held map[string]string, settling string, err error) {
	want, others := d.Want, d.Others()
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	noted, err := settler.Held(short)
	if err != nil {
		return nil, "", err
	}
	if len(want.Conflicts) == 0 {
		held, settling = k.letGo(short, settler, want, others, absences, noted)
		return held, settling, nil
	}
	held = map[string]string{}
	for _, other := range others {
		if why := k.hold(short, settler, want, other, absences, noted); why != "" {
			held[other.Region] = why
		}
	}
	if settling = k.withdraw(ctx, settler, want, others, absences); settling != "" && !want.Mesh {
		for _, source := range want.Sources {
			held[source.Region] = settling // what comes would be mixed with what is to be taken back
		}
	}
	return held, settling, nil
}

// letGo ends what is held, where nobody declares any more what is to stand. The region that was lost says whether it has withdrawn
// anything, which stays withdrawn and is decided on there, or forgoes that, so that its changes come as they are: it may hear of the
// declaration after the others, and withdraw meanwhile. It returns what is still held, and what this region waits for.
func (k *keeper) letGo(ctx context.Context, s store.Settler, w storage.Want, others []storage.Source, absences map[string]absence, noted []storage.Outage) (held map[string]string, settling string) {
	held = map[string]string{}
	for _, o := range noted {
		i := slices.IndexFunc(others, func(other storage.Source) bool { return other.Region == o.Region })
		var released bool
		var err error
		switch {
		case i < 0:
			released, err = true, s.Forgo(ctx, w, o) // its server is no part of the store any more
		case absences[o.Region].lost:
			held[o.Region] = fmt.Sprintf("region %s is lost: changes come from it once it is back", o.Region)
			continue
		default:
			released, err = s.Release(ctx, w, o, others[i])
		}
		switch {
		case err != nil:
			held[o.Region] = fmt.Sprintf("changes of %s wait until it is known whether it has taken back what it had not shipped: %v", o.Region, err)
		case !released:
			held[o.Region] = fmt.Sprintf("changes of %s wait until it says that it takes nothing back, or what it has taken back has a place here", o.Region)
		}
	}
	if own, known := absences[k.config.Region]; known && !own.lost && k.withdrawn != own.outage.ID {
		return held, k.forgo(ctx, s, w, own.outage)
	}
	return held, ""
}

// forgo has this region's late changes go as they are, unless they were withdrawn, and returns what that waits for.
func (k *keeper) forgo(ctx context.Context, s store.Settler, w storage.Want, o storage.Outage) string {
	if err := s.Forgo(ctx, w, o); err != nil {
		return err.Error()
	}
	k.withdrawn = o.ID
	return ""
}

// hold keeps changes of a region that was lost away until they are settled, and returns what that waits for.
func (k *keeper) hold(ctx context.Context, s store.Settler, w storage.Want, from storage.Source, absences map[string]absence, noted []storage.Outage) string {
	a, known := absences[from.Region]
	i := slices.IndexFunc(noted, func(o storage.Outage) bool { return o.Region == from.Region })
	switch {
	case known && (a.lost || a.unshipped):
	case i >= 0:
		a.outage = noted[i]
	default:
		return ""
	}
	k.mu.Lock()
	done := k.released[from.Region] == a.outage.ID
	k.mu.Unlock()
	if done {
		return ""
	}
	applied, err := s.Hold(ctx, w, a.outage)
	switch {
	case err != nil:
		return fmt.Sprintf("the link from %s cannot be held: %v", from.Region, err)
	case !applied:
		return fmt.Sprintf("what had been received from %s is being applied", from.Region)
	case a.lost:
		return fmt.Sprintf("region %s is lost: nothing comes from it before it has taken back what it had not shipped", from.Region)
	}
	released, err := s.Release(ctx, w, a.outage, from)
	switch {
	case err != nil:
		return fmt.Sprintf("changes of %s wait until it has taken back what it had not shipped: %v", from.Region, err)
	case !released:
		return fmt.Sprintf("changes of %s wait until it has taken back what it had not shipped; its own region says what that waits for", from.Region)
	}
	k.log.Info("Changes of a region that was lost arrive again.", "from", from.Region)
	k.mu.Lock()
	k.released[from.Region] = a.outage.ID
	k.mu.Unlock()
	return ""
}

// withdraw takes back what this region had not shipped, if it was lost and is back, and returns what that waits for.
func (k *keeper) withdraw(ctx context.Context, s store.Settler, w storage.Want, others []storage.Source, absences map[string]absence) string {
	own, known := absences[k.config.Region]
	if !known || own.lost || k.withdrawn == own.outage.ID {
		return ""
	}
	if !own.back {
		// It owns its keys again: what the others changed meanwhile is the late part.
		return k.forgo(ctx, s, w, own.outage)
	}
	k.mu.Lock()
	wait, told := k.config.Clock.Now().Before(k.refused), k.look.Settling
	k.mu.Unlock()
	if wait {
		return told
	}
	others = serving(others, absences)
	if len(others) == 0 {
		return "no other region of the store serves that could tell what it has"
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawFor)
	defer cancel()
	err := s.Withdraw(ctx, w, own.outage, others)
	if err == nil {
		k.log.Info("What this region had not shipped when it was lost is taken back.")
		k.withdrawn = own.outage.ID
		k.mu.Lock()
		k.forget() // rows are others now
		k.mu.Unlock()
		kick(k.compareNow)
		return ""
	}
	if !errors.Is(err, store.ErrNotHeld) {
		k.log.Info("What this region had not shipped when it was lost cannot be taken back; it is tried again.", "error", err.Error())
		k.mu.Lock()
		k.refused = k.config.Clock.Now().Add(refusedFor)
		k.mu.Unlock()
	}
	return err.Error()
}

// decide goes through what this region took back, once it has what the others had, and returns what is known of late changes, and
// what that waits for.
func (k *keeper) decide(ctx context.Context, s store.Settler, w storage.Want, others []storage.Source) ([]storage.Late, string) {
	ctx, cancel := context.WithTimeout(ctx, withdrawFor)
	defer cancel()
	late, err := s.Late(ctx, w)
	if err != nil {
		return nil, err.Error()
	}
	i := slices.IndexFunc(late, func(l storage.Late) bool { return l.Region == w.Region && l.Withdrawn })
	if i < 0 || !w.Writable {
		return late, "" // where one region is written to, this one has to wait until it is that one again
	}
	if from := k.behind(w); from != "" {
		return late, fmt.Sprintf("what this region had not shipped is decided on once it has what %s had", from)
	}
	for more, turns := true, 0; more; turns++ {
		if more, err = s.Decide(ctx, w); err != nil {
			return late, err.Error()
		}
		if turns == decideTurns {
			return late, "what this region had not shipped is being decided on"
		}
	}
	if !w.Mesh {
		others = nil // who does not write crosses nothing
	}
	k.mu.Lock()
	others = serving(others, k.wanted.absences)
	k.mu.Unlock()
	done, failed := s.Verify(ctx, w, others)
	if late, err = s.Late(ctx, w); err != nil {
		return nil, err.Error()
	}
	switch {
	case failed != nil:
		return late, failed.Error()
	case !done:
		return late, "what this region had not shipped is decided on; whether an owner changed one of the rows meanwhile is being looked at"
	}
	return late, ""
}

// serving leaves out those that are lost.
func serving(others []storage.Source, absences map[string]absence) []storage.Source {
	return slices.DeleteFunc(slices.Clone(others), func(s storage.Source) bool { return absences[s.Region].lost })
}

// behind returns a region whose changes have not all arrived here; "" when there is none. Those that are held have nothing that counts.
func (k *keeper) behind(w storage.Want) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.config.Clock.Now()
	for _, source := range w.Sources {
		if k.look.Held[source.Region] != "" || k.wanted.absences[source.Region].lost {
			continue
		}
		if r := k.tracker.Read(source.Region, now); !r.Known || r.Age > arrived {
			return source.Region
		}
	}
	return ""
}
