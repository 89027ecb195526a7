package change_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// drill adds a drill of region a, named o, which nobody has taken up.
func (w *world) drill(alters ...func(*ownership.OrderIntent)) *world {
	lasting := func(o *ownership.OrderIntent) { o.Duration, o.Mode = 10*time.Minute, ownership.DrillFailover }
	return ordered(w, ownership.OrderDrill, "a", "", append([]func(*ownership.OrderIntent){lasting}, alters...)...)
}

// taken has the leader take up what is ordered, and note how far that is.
func (w *world) taken() *world {
	for _, o := range change.Orders(w.input()) {
		w.conf.Orders[o.Name] = o
	}
	return w
}

// outForDrill is a world in which region a is out for a drill.
func outForDrill(alters ...func(*ownership.OrderIntent)) *world {
	w := newWorld().service("s").service("t", manual).drill(alters...).taken().commit()
	return w.fenced("a").caughtUp("b", "c").commit().taken()
}

// region lets something befall a region.
func (w *world) region(edits ...edit) *world {
	for _, e := range edits {
		e(w.conf.View.Regions)
	}
	return w
}

func aborted(o *ownership.OrderIntent) { o.Abort = "enough" }

func TestDrillsRefused(t *testing.T) {
	refused := ownership.OrderRefused
	busy := newWorld()
	busy.conf.OrderIntents["p"] = ownership.OrderIntent{Name: "p", Type: ownership.OrderDrain, Region: "b"}
	busy.conf.Orders["p"] = ownership.OrderRecord{Name: "p", State: ownership.OrderRunning, Message: "waits for its turn"}
	twice := newWorld().drill()
	twice.conf.OrderIntents["n"] = ownership.OrderIntent{Name: "n", Type: ownership.OrderDrill, Region: "b", Duration: time.Minute}
	twice.conf.Orders["n"] = ownership.OrderRecord{Name: "n", State: ownership.OrderRunning, Message: "waits for its turn", Drill: &ownership.DrillRecord{}}
	stand(t, map[string]standing{
		"without a duration": {ordered(newWorld(), ownership.OrderDrill, "a", ""), refused, "a drill needs a duration"},
		"of a region that is drained": {
			newWorld(drained("a")).drill(), refused, "region a does not serve undisturbed, it is Drained: a drill begins when every region serves",
		},
		"of a region that is suspected": {
			newWorld(serving("a", suspect)).drill(), refused,
			"region a does not serve undisturbed, it is suspected to be unreachable: a drill begins when every region serves",
		},
		"another is lost":      {newWorld(lost("c")).drill(), refused, "region c is Lost: a drill begins when every region serves"},
		"another is drained":   {newWorld(drained("c")).drill(), refused, "region c is Drained: a drill begins when every region serves"},
		"another returns":      {newWorld(returning("c")).drill(), refused, "region c is Returning: a drill begins when every region serves"},
		"another is suspected": {newWorld(serving("c", suspect)).drill(), refused, "region c is suspected to be unreachable: a drill begins when every region serves"},
		"the witness is suspected": {
			newWorld(witness("w", suspect)).drill(), refused, "region w is suspected to be unreachable: a drill begins when every region serves",
		},
		"another order":   {busy.drill(), refused, "order p is being carried out: order the drill anew once it has ended"},
		"another drill":   {twice, ownership.OrderRefused, "order n is being carried out: order the drill anew once it has ended"},
		"the only region": {newWorld(without("b"), without("c")).drill(), refused, "region a is the last one that serves"},
		"a service's only one": {
			newWorld().service("s", of("a")).service("t").drill(), refused,
			"region a is the only one for services that nobody would serve: accounts/s; give them another region first",
		},
		"a service's only one, others are excluded": {
			newWorld().service("s", excluding("b", "c")).drill(), refused,
			"region a is the only one for services that nobody would serve: accounts/s; give them another region first",
		},
		"the view has moved on": {
			newWorld().drill(expecting(6)), refused, "the view has moved on: epoch 6 was expected, 7 is in force; look again and order anew",
		},
	})
}

// A region that is gone for good keeps no drill back.
func TestDrillsBesideWhatIsGone(t *testing.T) {
	w := newWorld(lost("c", gone)).service("s").drill().taken()
	if state := w.conf.Orders["o"].State; state != ownership.OrderRunning {
		t.Errorf("the drill is %s: %s", state, w.conf.Orders["o"].Message)
	}
}

// Two drills that are ordered together are not carried out together.
func TestDrillsOneAtATime(t *testing.T) {
	w := newWorld().service("s").drill()
	w.conf.OrderIntents["p"] = ownership.OrderIntent{Name: "p", Type: ownership.OrderDrill, Region: "b", Duration: time.Minute}
	w.taken()
	if o, p := w.conf.Orders["o"].State, w.conf.Orders["p"].State; o != ownership.OrderRunning || p != ownership.OrderRefused {
		t.Errorf("the drills are %s and %s", o, p)
	}
}

func TestDrillsEmptyTheirRegion(t *testing.T) {
	begins := func(rehearsal bool) func(w *world) change.Txn {
		return func(w *world) change.Txn {
			return change.Txn{What: "Drain", Because: "a: ordered by o", View: w.closes(
				ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{"a"}, Order: "o"}, drained("a", since, func(r *ownership.RegionRecord) {
					r.Drill, r.Rehearsal = "o", rehearsal
				}))}
		}
	}
	asDrain := func(o *ownership.OrderIntent) { o.Mode = "Drain" }
	decides(t, map[string]decision{
		"as a loss":                    {newWorld().service("s").drill().taken(), begins(true)},
		"as a drain":                   {newWorld().service("s").drill(asDrain).taken(), begins(false)},
		"not taken up":                 {newWorld().service("s").drill(), nil},
		"not while a survivor lags":    {newWorld().service("s").lags("b", "s").drill().taken(), nil},
		"not once another is suspect":  {newWorld().service("s").drill().taken().region(serving("b", suspect)), nil},
		"not once it is suspected":     {newWorld().service("s").drill().taken().region(serving("a", suspect)), nil},
		"not once it is aborted":       {newWorld().service("s").drill().taken().drill(aborted), nil},
		"not once it is the only one":  {newWorld().service("s").drill().taken().service("s", of("a")), nil},
		"not a second time":            {outForDrill(), nil},
		"nobody acknowledges, for now": {newWorld().service("s").drill().taken().commit(), nil},
	})
}

// ending is what should end a drill, and how its order stands then.
type ending struct {
	w           *world
	ending, why string
	state       ownership.OrderState
}

func TestDrillsEnd(t *testing.T) {
	running, failed := ownership.OrderRunning, ownership.OrderFailed
	begun := func() *world { return newWorld().service("s").drill(within(time.Minute)).taken() }
	late := outForDrill()
	late.conf.Orders["o"].Drill.OutAt = new(wall.Add(-10 * time.Minute))
	fresh := outForDrill().later(9 * time.Minute)
	fresh.memory = change.NewMemory()
	other := func(w *world) *world {
		w.conf.OrderIntents["p"] = ownership.OrderIntent{Name: "p", Type: "Drain", Region: "b"}
		w.conf.Orders["p"] = ownership.OrderRecord{Name: "p", State: running}
		return w
	}
	for name, c := range map[string]ending{
		"not yet":                            {outForDrill().later(9 * time.Minute), "", "", running},
		"a new leader counts by the clock":   {fresh.later(9 * time.Minute), "", "", running},
		"its time is up, by the clock":       {late, "TimeIsUp", "it has lasted 10m0s", running},
		"its time is up, as watched":         {outForDrill().later(10 * time.Minute), "TimeIsUp", "it has lasted 10m0s", running},
		"aborted":                            {outForDrill().drill(aborted), "Aborted", "enough", running},
		"another region is suspected":        {outForDrill().region(serving("b", suspect)), "AnotherRegion", "region b is suspected to be unreachable", running},
		"another region is lost":             {outForDrill().region(lost("b")), "AnotherRegion", "region b is Lost", running},
		"another region's gate is closed":    {outForDrill().gate("b", false), "AnotherRegion", "region b is being lost", running},
		"it is lost itself":                  {outForDrill().region(set("a", ownership.RegionLost)), "RegionLost", "region a itself cannot be reached: this is no drill any more", running},
		"another order":                      {other(outForDrill()), "AnotherOrder", "order p was taken up, which goes first", running},
		"brought back by somebody":           {outForDrill().region(serving("a", func(r *ownership.RegionRecord) { r.Drill = "" })), "AnotherOrder", "another order brought region a back", failed},
		"before it was out":                  {begun().drill(aborted), "Aborted", "enough", failed},
		"not out in time":                    {begun().lags("b", "s").later(2 * time.Minute), "NotOut", "not done within its timeout: waits: region b is far behind the others for accounts/s", failed},
		"not while its owners change":        {begun().commit().later(2 * time.Minute), "", "", running},
		"aborted while its owners change":    {begun().commit().drill(aborted), "Aborted", "enough", running},
		"lost for good while it was out":     {outForDrill().region(set("a", ownership.RegionLost, gone, func(r *ownership.RegionRecord) { r.Drill = "" })), "RegionLost", "region a itself cannot be reached: this is no drill any more", failed},
		"once ended it does not go on again": {ended(outForDrill(), "AnotherRegion", "region b was ill"), "AnotherRegion", "region b was ill", running},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.w.taken().conf.Orders["o"]
			if got.Drill.Ending != c.ending || got.Drill.Because != c.why || got.State != c.state {
				t.Errorf("the drill ends by %q (%s) and is %s (%s), want %q (%s), %s", got.Drill.Ending, got.Drill.Because, got.State, got.Message,
					c.ending, c.why, c.state)
			}
			if (got.Drill.EndingAt != nil) != (c.ending != "") || (got.EndedAt != nil) != (c.state != running) {
				t.Errorf("it ends at %v and its order at %v", got.Drill.EndingAt, got.EndedAt)
			}
		})
	}
}

func ended(w *world, ending, why string) *world {
	w.conf.Orders["o"].Drill.Ending, w.conf.Orders["o"].Drill.Because, w.conf.Orders["o"].Drill.EndingAt = ending, why, &wall
	return w
}

func TestDrillsAreOver(t *testing.T) {
	forDrill := func(r *ownership.RegionRecord) { r.Drill, r.Rehearsal = "o", true }
	over := func(w *world) change.Txn {
		return change.Txn{What: "undrain", Because: "a: drill o is over", View: w.opens(set("a", ownership.RegionReturning, since, func(r *ownership.RegionRecord) {
			r.ReturnedEpoch, r.Drained = w.conf.View.Epoch+1, false
		}))}
	}
	deleted := outForDrill()
	delete(deleted.conf.OrderIntents, "o")
	refusedByOther := outForDrill()
	refusedByOther.conf.Orders["o"] = ownership.OrderRecord{Name: "o", State: ownership.OrderRefused, Message: "this version does not know orders of type Drill"}
	takesOver := outForDrill()
	takesOver.conf.OrderIntents["p"] = ownership.OrderIntent{Name: "p", Type: "Drain", Region: "a"}
	takesOver.taken()
	decides(t, map[string]decision{
		"while it goes on":                  {outForDrill(), nil},
		"its end is noted":                  {ended(outForDrill(), "TimeIsUp", ""), over},
		"it is aborted":                     {outForDrill().drill(aborted), over},
		"its order is gone":                 {deleted, over},
		"and its record too":                {newWorld(drained("a", forDrill)).service("s"), over},
		"its order was answered by another": {refusedByOther, over},
		"also while another is suspected":   {ended(outForDrill(), "AnotherRegion", "").region(serving("b", suspect)), over},
		"also when it was lost while out":   {newWorld(drained("a", forDrill)).service("s"), over},
		"not what people have drained":      {newWorld(drained("a")).service("s"), nil},
		"not while it is lost":              {newWorld(set("a", ownership.RegionLost, forDrill)).service("s"), nil},
		"a drain takes over, and it stays so": {takesOver, func(w *world) change.Txn {
			return change.Txn{What: "Drain", Because: "a: ordered by p", View: w.opens(drained("a", since, func(r *ownership.RegionRecord) { r.Drill, r.Rehearsal = "", false }))}
		}},
	})
}

// A region gets all of its services back after a drill, also those that wait for a person after a loss, and serves.
func TestDrillsHandBack(t *testing.T) {
	w := ended(outForDrill(), ownership.DrillTimeIsUp, "").commit().ready("a").commit()
	if got := w.conf.View.Change; got == nil || got.Kind != ownership.ChangeHandback || !cmp.Equal(got.Services, []string{"s", "t"}) {
		t.Fatalf("the change under way is %+v, want s and t to go back to a", got)
	}
	w.fenced("b", "c").caughtUp("a").commit()
	for i := 0; w.conf.View.Regions["a"].State != ownership.RegionServing || w.conf.View.Phase != ownership.PhaseOpen; i++ {
		if i > 5 {
			t.Fatalf("region a is left as %+v", w.conf.View.Regions["a"])
		}
		w.fenced("b", "c").caughtUp("a", "b", "c").commit()
	}
	if rec := w.conf.View.Regions["a"]; rec.Drill != "" || rec.Rehearsal {
		t.Errorf("region a serves as %+v", rec)
	}
	if o := w.taken().conf.Orders["o"]; o.State != ownership.OrderSucceeded || o.Message != "done" {
		t.Errorf("the drill is %s: %s", o.State, o.Message)
	}
}

// What a region accepted on its way back from a drill, and lost with it, is a person's to settle.
func TestDrillsForgottenWithALoss(t *testing.T) {
	back := set("a", ownership.RegionReturning, func(r *ownership.RegionRecord) { r.ReturnedEpoch, r.Drill = 6, "o" })
	for name, c := range map[string]struct {
		w    *world
		want string
	}{
		"had owned something": {newWorld(back).service("s", handedBack("a", 6)), ""},
		"had owned nothing":   {newWorld(back).service("s"), "o"},
		"was still out":       {newWorld(drained("a", func(r *ownership.RegionRecord) { r.Drill = "o" })).service("s"), "o"},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.w.loses("a").commit().conf.View.Regions["a"]
			if got.State != ownership.RegionLost || got.Drill != c.want {
				t.Errorf("region a is %+v, want it Lost for drill %q", got, c.want)
			}
		})
	}
}

// While a region is out, owners of its slots serve what may be taken over and no more, as after a loss. All else
// is as in a drain.
func TestDrillsAreMetAsALoss(t *testing.T) {
	lostNow := outForDrill()
	delete(lostNow.conf.Debts, "a") // the others have all that it gave away
	regions := []ownership.WeightedRegion{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1}}
	asDrain := func(o *ownership.OrderIntent) { o.Mode = "Drain" }
	for name, c := range map[string]struct {
		w    *world
		want ownership.Owned
	}{
		"as a loss":           {outForDrill(), ownership.Owned{Region: "b"}},
		"as a drain":          {outForDrill(asDrain), ownership.Owned{Region: "b", Complete: true}},
		"when it comes back":  {ended(outForDrill(), "TimeIsUp", "").commit(), ownership.Owned{Region: "b", Complete: true}},
		"when it is lost now": {lostNow.loses("a").commit(), ownership.Owned{Region: "b", Complete: true}},
	} {
		t.Run(name, func(t *testing.T) {
			views := c.w.conf.RegionViews(c.w.conf.Services["s"], regions)
			if got := ownership.PinnedOwner([]string{"a", "b", "c"}, views); got != c.want {
				t.Errorf("a slot of a is owned by %+v, want %+v", got, c.want)
			}
			if got := ownership.PinnedOwner([]string{"b", "a", "c"}, views); got != (ownership.Owned{Region: "b", Complete: true}) {
				t.Errorf("a slot of b is owned by %+v", got)
			}
		})
	}
}

// What the drill says changes only when something happens.
func TestDrillsSay(t *testing.T) {
	closing := func() *world { return newWorld().service("s").drill().taken().commit().taken() }
	stand(t, map[string]standing{"nothing new": {w: outForDrill()}})
	for name, c := range map[string]struct {
		w    *world
		want string
	}{
		"taken up":                {newWorld().service("s").drill().taken(), "waits for its turn"},
		"owners change":           {closing(), "owners are changing"},
		"out":                     {outForDrill(), "region a is out until 03:14:05 UTC, and comes back by itself"},
		"over":                    {ended(outForDrill(), "TimeIsUp", "it has lasted 10m0s").taken(), "ends (it has lasted 10m0s): region a is brought back"},
		"over, and returning":     {ended(outForDrill(), "TimeIsUp", "so").commit().taken(), "ends (so): waits until region a has been reachable for long enough"},
		"aborted during a change": {closing().drill(aborted).taken(), "ends (enough): owners are changing"},
	} {
		if got := c.w.conf.Orders["o"].Message; got != c.want {
			t.Errorf("%s: it says %q, want %q", name, got, c.want)
		}
	}
}
