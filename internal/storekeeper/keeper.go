package storekeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/canary"
	"multiactive.dev/operator/internal/plan/replicationlink"
	plan "multiactive.dev/operator/internal/plan/store"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

const (
	// beat is how often a canary is written and read.
	beat = canary.Interval
	// lookWell and lookIll are how often a server is observed while nothing, and while something, is wrong: as seldom as that because
	// canaries tell sooner than a look that data does not arrive.
	lookWell = time.Minute
	lookIll  = 3 * time.Second
	// settling is how long after its role was changed a server is looked at often: others may still undo what it has prepared.
	settling = 15 * time.Second
	// lateAfter is the age of a canary that is a reason to look.
	lateAfter = 3 * beat
	// patience bounds one question to a server.
	patience = 5 * time.Second
)

// keeper looks after one server.
type keeper struct {
	name       string
	config     Config
	log        logr.Logger
	announce   func(ctx context.Context, name string)
	wake       chan struct{} // another target, or the next beat
	fenceNow   chan struct{} // other fences, or the next beat
	compareNow chan struct{} // another return

	mu     sync.Mutex
	target Target // with the primary that is agreed on
	server store.Server
	// opened is what the server was opened with, and set what the links have been given.
	opened, given string
	look          plan.Look
	tracker       *canary.Tracker
	dampers       map[string]*replicationlink.Damper
	known         map[string]bool // source regions that canaries have arrived from
	missing       map[string]int64
	sequence      int64
	failures      map[string]failure
	nextLook      time.Time
	// news: something may be known that was not announced.
	news bool
	// asked: something else is wanted since the look that is under way began, so it is not the last one for a while.
	asked bool
	// looked is when the server was last observed.
	looked time.Time
	// unsettled is until when the server is looked at often because its role is another.
	unsettled time.Time
	fencer
	settlement
	comparer
	losses
}

// failure of a step about one link.
type failure struct {
	text      string
	bootstrap *storage.Bootstrap
}

func newKeeper(name string, c Config, t Target, announce func(context.Context, string)) *keeper {
	k := &keeper{
		name: name, config: c, log: c.Log.WithValues("store", name), announce: announce,
		wake: make(chan struct{}, 1), fenceNow: make(chan struct{}, 1), compareNow: make(chan struct{}, 1), target: t,
		tracker: &canary.Tracker{}, dampers: map[string]*replicationlink.Damper{}, known: map[string]bool{}, missing: map[string]int64{}, failures: map[string]failure{},
	}
	k.released = map[string]int64{}
	k.settled = c.Clock.Boottime() + c.LongestLease
	k.leasedUntil = k.settled
	k.target.Declared = k.led(t.Declared)
	return k
}

// set takes another target.
func (k *keeper) set(t Target) {
	k.mu.Lock()
	t.Declared = k.led(t.Declared)
	same := reflect.DeepEqual(k.target.Declared, t.Declared) && k.target.Version == t.Version &&
		reflect.DeepEqual(k.target.Paused, t.Paused) && reflect.DeepEqual(k.target.Problem, t.Problem) &&
		maps.Equal(k.target.Losses, t.Losses) && k.target.Automatic == t.Automatic
	if k.target.Return != t.Return {
		k.forget()
	}
	k.target, k.news = t, true
	if !same {
		k.nextLook, k.asked = time.Time{}, true
	}
	k.mu.Unlock()
	kick(k.compareNow)
	if !same {
		kick(k.wake)
	}
}

// using returns the server, nil while it cannot be used, and the target.
func (k *keeper) using() (store.Server, Target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.target.Problem != nil {
		return nil, k.target
	}
	return k.server, k.target
}

// seen returns what is known, with ages as they are now.
func (k *keeper) seen() plan.Look {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.look
	out.Links, out.Return = k.links(), k.target.Return
	for _, s := range k.target.Declared.Want.Sources {
		out.Sources = append(out.Sources, s.Region)
	}
	return out
}

// links are what is known of those from every other region of the store.
func (k *keeper) links() map[string]plan.LinkLook {
	out := map[string]plan.LinkLook{}
	now := k.config.Clock.Now()
	for _, region := range k.target.Declared.Want.Regions {
		if region == k.config.Region {
			continue
		}
		r := k.tracker.Read(region, now)
		l := plan.LinkLook{Known: r.Known, Age: r.Age, Missing: k.missing[region], Failure: k.failures[region].text, Bootstrap: k.failures[region].bootstrap,
			Compared: k.compared[region], Accepted: k.target.Accepted[region], Lost: k.lost[region]}
		if b := l.Bootstrap; b != nil && b.Loss != nil {
			l.GoesOn = k.goesOn(b.Loss)
		}
		if k.dampers[region] != nil {
			l.Step = k.dampers[region].Step()
		}
		out[region] = l
	}
	return out
}

// run looks after the server until ctx ends.
func (k *keeper) run(ctx context.Context) {
	var others sync.WaitGroup
	others.Go(func() { k.keepFences(ctx) })
	others.Go(func() { k.keepCompared(ctx) })
	defer func() {
		others.Wait()
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.server != nil {
			_ = k.server.Close()
		}
	}()
	told := k.digest()
	for ctx.Err() == nil {
		k.turn(ctx)
		if k.takeNews() {
			if now := k.digest(); ctx.Err() == nil && !reflect.DeepEqual(told, now) {
				told = now
				k.announce(ctx, k.name)
			}
		}
		select {
		case <-ctx.Done():
		case <-k.wake:
		}
	}
}

// takeNews reports whether anything may be known that was not since it was last asked: what a digest costs is more than a beat should.
func (k *keeper) takeNews() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	news := k.news
	k.news = false
	return news
}

// digest is what is known without what changes all the time.
func (k *keeper) digest() plan.Look {
	d := k.seen()
	k.mu.Lock()
	declared := k.target.Declared
	k.mu.Unlock()
	d.Observation.Positions = nil
	d.Observation.Retained = enough(declared, d.Observation.Retained)
	links := map[string]storage.Link{}
	for from, l := range d.Observation.Links {
		l.Received = 0
		links[from] = l
	}
	d.Observation.Links = links
	for from, l := range d.Links {
		l.Age = 0
		d.Links[from] = l
	}
	return d
}

// enough is the longest of the outages for which a server keeps what it must, or 1 if there is none, 0 if it is not known for
// how long it does.
func enough(d *plan.Declared, kept time.Duration) time.Duration {
	longest := min(kept, 1)
	for _, c := range d.Outages {
		if c.Outage <= kept {
			longest = max(longest, c.Outage)
		}
	}
	return longest
}

// turn does what is due.
func (k *keeper) turn(ctx context.Context) {
	server, err := k.open()
	if server == nil {
		k.failed(err)
		return
	}
	if err := k.beat(ctx, server); err != nil {
		k.failed(err)
		k.mu.Lock()
		prepared := k.look.Observed && k.look.Observation.Prepared
		k.mu.Unlock()
		if prepared && !unusable(err) {
			k.mu.Lock()
			k.nextLook = time.Time{} // somebody may have removed the schema
			k.mu.Unlock()
		}
	}
	k.mu.Lock()
	now := k.config.Clock.Now()
	due := !now.Before(k.nextLook) || now.Sub(k.looked) >= lookIll && k.late(now)
	k.mu.Unlock()
	if due {
		k.observe(ctx, server)
	}
}

// unusable reports whether an error says that no question will be answered.
func unusable(err error) bool {
	var refused *store.CredentialsError
	return errors.As(err, &refused) || errors.Is(err, context.DeadlineExceeded)
}

// open returns the server, opened anew when it is reached in another way.
func (k *keeper) open() (store.Server, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.target
	if t.Problem != nil {
		return nil, nil
	}
	version := t.Options.Address + " " + t.Version
	if k.server != nil && k.opened == version {
		return k.server, nil
	}
	if k.server != nil {
		_ = k.server.Close()
		k.server = nil
	}
	server, err := k.config.Open(t.Declared.Slice.Engine, t.Options)
	if err != nil {
		return nil, err
	}
	k.server, k.opened, k.nextLook = server, version, time.Time{}
	return server, nil
}

// failed tells that the server cannot be used.
func (k *keeper) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.look.Known, k.news = true, true
	switch p := k.target.Problem; {
	case p != nil:
		k.look.Problem = p
	case err != nil:
		k.look.Problem = problemOf(err, k.target)
	}
}

func problemOf(err error, t Target) *plan.Problem {
	var refused *store.CredentialsError
	var lacks *store.PrivilegeError
	where := "the server at " + t.Options.Address
	switch {
	case errors.As(err, &refused):
		return &plan.Problem{Reason: v1alpha1.ReasonServerUnauthorized, Message: fmt.Sprintf(
			"%s refuses the operator's user: %v; mend Secret %s, or the user", where, refused.Err, t.Declared.Endpoint.SecretRef.Name)}
	case errors.As(err, &lacks):
		return &plan.Problem{Reason: v1alpha1.ReasonPrivilegesMissing, Message: fmt.Sprintf(
			"the operator's user may not do what it must at %s: it lacks %v; run: %s", where, lacks.Missing, lacks.Statement)}
	}
	return &plan.Problem{Reason: v1alpha1.ReasonServerUnreachable, Message: fmt.Sprintf(
		"%s cannot be used: %s; it is tried again", where, cause(err))}
}

// cause says what went wrong without what differs from one try to the next, such as the port of a connection.
func cause(err error) string {
	var network *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &network):
		return network.Op + ": " + network.Err.Error()
	}
	return err.Error()
}

// beat writes and reads canaries, once the server is prepared.
func (k *keeper) beat(ctx context.Context, server store.Server) error {
	k.mu.Lock()
	ready := k.look.Observed && k.look.Observation.Prepared
	mine := storage.Canary{Region: k.config.Region, Sequence: k.sequence + 1, Time: k.config.Clock.Now()}
	k.mu.Unlock()
	if !ready {
		return nil
	}
	all, err := server.Beat(ctx, mine) // within the server's own time limit
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sequence = mine.Sequence
	for _, c := range all {
		k.news = k.news || k.missing[c.Region] != c.Missing
		k.missing[c.Region] = c.Missing
		k.tracker.Observe(canary.Record{Region: c.Region, Sequence: c.Sequence, Time: c.Time})
	}
	k.damp()
	return nil
}

// late reports whether canaries of a source do not arrive.
func (k *keeper) late(now time.Time) bool {
	for _, source := range k.target.Declared.Want.Sources {
		if r := k.tracker.Read(source.Region, now); !k.target.Paused[source.Region] && (!r.Known || r.Age > lateAfter) {
			return true
		}
	}
	return false
}

// damp takes the present lags into their steps.
func (k *keeper) damp() {
	now := k.config.Clock.Now()
	for _, region := range k.target.Declared.Want.Regions {
		if region == k.config.Region {
			continue
		}
		if k.dampers[region] == nil {
			k.dampers[region] = &replicationlink.Damper{}
		}
		r := k.tracker.Read(region, now)
		before := k.dampers[region].Step()
		k.dampers[region].Look(r.Known, r.Age)
		k.news = k.news || k.known[region] != r.Known || before != k.dampers[region].Step()
		k.known[region] = r.Known
	}
}
