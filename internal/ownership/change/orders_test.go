package change_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

// ordered is a world with an order that nobody has taken up.
func ordered(w *world, kind, region, service string, alters ...func(*ownership.OrderIntent)) *world {
	o := ownership.OrderIntent{Name: "o", Type: kind, Region: region, Service: service}
	for _, a := range alters {
		a(&o)
	}
	w.conf.OrderIntents["o"] = o
	return w
}

func expecting(epoch int64) func(*ownership.OrderIntent) {
	return func(o *ownership.OrderIntent) { o.ExpectedEpoch = epoch }
}

func within(d time.Duration) func(*ownership.OrderIntent) {
	return func(o *ownership.OrderIntent) { o.Timeout = d }
}

// standing is what an order is to be recorded as: its state and message.
type standing struct {
	w       *world
	state   ownership.OrderState
	message string
}

// stand compares the records to write of the order o, taken up now unless it is known; none are
// expected for an empty state.
func stand(t *testing.T, cases map[string]standing) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var want []ownership.OrderRecord
			if c.state != "" {
				record, known := c.w.conf.Orders["o"]
				if !known {
					record = ownership.OrderRecord{Name: "o", StartedAt: wall}
				}
				record.State, record.Message = c.state, c.message
				if c.state != ownership.OrderRunning {
					record.EndedAt, record.Epoch = &wall, c.w.conf.View.Epoch
				}
				want = append(want, record)
			}
			if diff := cmp.Diff(want, change.Orders(c.w.input()), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("orders to record (-want +got):\n%s", diff)
			}
		})
	}
}

// Two orders that were taken up together must not leave a service without any region between them.
func TestOrdersThatLeaveNoRegionWait(t *testing.T) {
	last := "waits: region c is the last one that may own keys of service accounts/s: order Undrain for another one first"
	for name, w := range map[string]*world{
		"the others are drained of it meanwhile":    newWorld().service("s", excluding("a", "b")).order("Drain", "c", "s"),
		"the other is drained altogether meanwhile": newWorld(drained("a")).service("s", of("a", "c")).order("Drain", "c", "s"),
	} {
		stand(t, map[string]standing{name: {w, ownership.OrderRunning, last}})
		if txn, ok := change.Decide(w.input()); ok && txn.View.Phase == ownership.PhaseClosing {
			t.Errorf("%s: %+v is begun", name, txn)
		}
	}
	stand(t, map[string]standing{
		"of a service in one region": {
			newWorld().service("s", of("c")).order("Drain", "c", "s"), ownership.OrderRunning, "waits for its turn",
		},
		"while another may own its keys": {
			newWorld().service("s", excluding("a")).order("Drain", "c", "s"), ownership.OrderRunning, "waits for its turn",
		},
	})
}

func TestOrdersRefused(t *testing.T) {
	refused := ownership.OrderRefused
	stand(t, map[string]standing{
		"a region that nobody knows":  {ordered(newWorld(), "Drain", "x", ""), refused, "region x has not joined the others"},
		"a service that nobody knows": {ordered(newWorld(), "Drain", "a", "s"), refused, "the regions have not agreed on this service"},
		"the view has moved on": {
			ordered(newWorld(), "Drain", "a", "", expecting(6)), refused,
			"the view has moved on: epoch 6 was expected, 7 is in force; look again and order anew",
		},
		"a region that is gone": {ordered(newWorld(lost("c", gone)), "Handback", "c", ""), refused, "region c was declared lost for good"},
		"drain what is lost":    {ordered(newWorld(lost("c")), "Drain", "c", ""), refused, "region c is lost already; others have taken over what may be taken over"},
		"undrain what serves":   {ordered(newWorld(), "Undrain", "c", ""), refused, "region c is not drained, it is Serving"},
		"declare lost what beats": {
			ordered(newWorld(returning("c")).beats("c"), "DeclareLost", "c", ""), refused,
			"region c is Returning and its agent beats: only a region that is lost, or silent, can be declared lost for good",
		},
		"a type of a newer version": {ordered(newWorld(), "Restart", "c", ""), refused, "this version does not know orders of type Restart"},
		"lost while it waited to be drained": {
			newWorld(lost("c")).order("Drain", "c", ""), refused, "region c is lost already; others have taken over what may be taken over",
		},
		"a witness":                       {ordered(newWorld(witness("c")), "Drain", "c", ""), refused, "region c is a witness and owns nothing"},
		"a service that is being deleted": {ordered(newWorld().service("s", deleted), "Drain", "c", "s"), refused, "the regions have not agreed on this service"},
		"a service that is elsewhere": {
			ordered(newWorld(returning("c")).service("s", of("a", "b")), "Handback", "c", "s"), refused, "service accounts/s does not name region c",
		},
		"a handback to what is drained": {ordered(newWorld(drained("c")), "Handback", "c", ""), refused, "region c is drained: order Undrain"},
		"a handback to what is excluded": {
			newWorld(returning("c")).service("s", excluding("c")).order("Handback", "c", "s"), refused,
			"region c is drained of service accounts/s: order Undrain for the service",
		},
		"a service's drain from what has not shipped all": {
			ordered(newWorld(returning("c")).service("s", manual), "Drain", "c", "s"), refused,
			"not all that region c accepted has reached the others: hand everything back to it first",
		},
		"the last region of a service": {
			ordered(newWorld().service("s", excluding("a", "b")), "Drain", "c", "s"), refused,
			"region c is the last one that may own keys of service accounts/s: order Undrain for another one first",
		},
		"the last region of a service, the other is drained altogether": {
			ordered(newWorld(drained("a")).service("s", of("a", "c")), "Drain", "c", "s"), refused,
			"region c is the last one that may own keys of service accounts/s: order Undrain for another one first",
		},
		"a region that is the last one of some services": {
			ordered(newWorld().service("s", excluding("a", "b")).service("t", excluding("a")).service("u"), "Drain", "c", ""), refused,
			"other regions are drained of services that region c is the last one for: accounts/s; order Undrain for these first",
		},
		"its service is deleted meanwhile": {newWorld().order("Drain", "c", "s"), refused, "the regions have not agreed on this service"},
	})
}

func TestOrdersSucceeded(t *testing.T) {
	done := ownership.OrderSucceeded
	stand(t, map[string]standing{
		"drained":                     {newWorld(drained("c")).order("Drain", "c", ""), done, "done"},
		"drained before it was taken": {ordered(newWorld(drained("c")), "Drain", "c", ""), done, "done"},
		"not while owners change":     {drainingA(), ownership.OrderRunning, "owners are changing"},
		"a service is drained":        {newWorld().service("s", excluding("c")).order("Drain", "c", "s"), done, "done"},
		"a service is undrained":      {newWorld().service("s", excluding("b")).order("Undrain", "c", "s"), done, "done"},
		"undrained":                   {newWorld().order("Undrain", "c", ""), done, "done"},
		"handed back":                 {newWorld().order("Handback", "c", ""), done, "done"},
		"a service is handed back":    {newWorld(returning("c")).service("s", handedBack("c", 6)).order("Handback", "c", "s"), done, "done"},
		"its region serves":           {newWorld().service("s").order("Handback", "c", "s"), done, "done"},
		"approved":                    {newWorld(lost("c")).service("s", manual, approved(5)).order("ApproveFailover", "c", ""), done, "done"},
		"nothing to approve":          {newWorld(lost("c")).service("s").order("ApproveFailover", "c", ""), done, "done"},
		"another service is not approved": {
			newWorld(lost("c")).service("s", manual).service("t", manual, approved(5)).order("ApproveFailover", "c", "t"), done, "done",
		},
		"declared lost, and silent": {
			newWorld().order("DeclareLost", "c", ""), ownership.OrderRunning, "waits until the agent of region c has been silent for longer than its last lease",
		},
		"declared lost, and the last one": {
			newWorld(drained("a"), drained("b")).order("DeclareLost", "c", ""), ownership.OrderRunning, "waits for another region to serve: c is the last one",
		},
		"declared lost": {newWorld(lost("c", gone)).order("DeclareLost", "c", ""), done, "done"},
	})
}

func TestOrdersWait(t *testing.T) {
	running := ownership.OrderRunning
	stand(t, map[string]standing{
		"taken up": {ordered(newWorld(), "Drain", "c", "", expecting(7)), running, "waits for its turn"},
		"the view moves on afterwards": {func() *world {
			w := newWorld().order("Drain", "c", "")
			return ordered(w, "Drain", "c", "", expecting(6))
		}(), running, "waits for its turn"},
		"another change": {losingC().order("Drain", "a", ""), running, "waits for another change of owners to end"},
		"a suspicion":    {newWorld(serving("b", suspect)).order("Drain", "a", ""), running, "waits: region b is suspected to be unreachable"},
		"a loss":         {newWorld().gate("b", false).order("Drain", "a", ""), running, "waits: region b is being lost"},
		"the last one":   {newWorld(lost("b"), drained("c")).order("Drain", "a", ""), running, "waits for another region to serve: a is the last one"},
		"a return":       {newWorld(lost("a")).order("Handback", "a", ""), running, "waits for region a to return"},
		"an undrain of a service": {
			newWorld(lost("b")).service("s", excluding("a")).order("Undrain", "a", "s"), running,
			"waits until every region of the service that was lost serves again, or is declared lost for good",
		},
		"a drain of a service in a region that is drained": {newWorld(drained("a")).service("s").order("Drain", "a", "s"), running, "waits for its turn"},
		"the hold-down":          {newWorld(returning("a")).order("Handback", "a", ""), running, "waits until region a has been reachable for long enough"},
		"the hold-down, undrain": {newWorld(returning("a")).order("Undrain", "a", ""), running, "waits until region a has been reachable for long enough"},
		"a survivor's lag": {
			newWorld().service("s").lags("b", "s").order("Drain", "a", ""), running, "waits: region b is far behind the others for accounts/s",
		},
		"its lag": {newWorld(returning("a")).ready("a").order("Handback", "a", ""), running, "waits until region a has caught up with the others"},
	})
}

func TestOrdersSayNothingTwice(t *testing.T) {
	w := ordered(newWorld(), "Drain", "c", "")
	for _, o := range change.Orders(w.input()) {
		w.conf.Orders[o.Name] = o
	}
	stand(t, map[string]standing{"nothing new": {w: w}})
	over := newWorld(lost("c")).order("Drain", "c", "")
	over.conf.Orders["o"] = ownership.OrderRecord{Name: "o", State: ownership.OrderFailed}
	stand(t, map[string]standing{"it is over": {w: over}})
}

// What a planned change is to make of a region is not the case yet.
func TestOrdersDuringAChange(t *testing.T) {
	w := drainingA()
	delete(w.conf.OrderIntents, "o")
	delete(w.conf.Orders, "o")
	stand(t, map[string]standing{"undrain": {
		ordered(w, "Undrain", "a", ""), ownership.OrderRefused, "region a is not drained, it is Serving",
	}})
}

// The order that is given later is the one that is meant.
func TestOrdersTakeEachOthersPlace(t *testing.T) {
	type order = ownership.OrderIntent
	drain, undrain := order{Type: "Drain", Region: "a"}, order{Type: "Undrain", Region: "a"}
	back := order{Type: "Handback", Region: "a"}
	of := func(o order, service string) order {
		o.Service = service
		return o
	}
	cases := map[string]struct {
		edit     edit
		old, new order
		want     bool
	}{
		"a drain, an undrain":     {returning("a"), undrain, drain, true},
		"a drain, a handback":     {returning("a"), back, drain, true},
		"an undrain of a service": {serving("a"), of(drain, "s"), of(undrain, "s"), true},
		"of another service":      {serving("a"), of(drain, "t"), of(undrain, "s"), false},
		"of a service and of all": {returning("a"), back, of(undrain, "s"), false},
		"the same twice":          {serving("a"), drain, drain, false},
		"of another region":       {returning("a"), undrain, order{Type: "Drain", Region: "b"}, false},
		"one that is refused":     {serving("a"), drain, undrain, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(c.edit).service("s").service("t")
			c.old.Name, c.new.Name = "o", "p"
			w.conf.OrderIntents = map[string]order{"o": c.old, "p": c.new}
			w.conf.Orders["o"] = ownership.OrderRecord{Name: "o", State: ownership.OrderRunning, Message: "waits", StartedAt: wall}
			got := change.Orders(w.input())[0]
			want := w.ended("o", ownership.OrderFailed, "order p has taken its place")
			if (cmp.Equal(want, got)) != c.want {
				t.Errorf("the first record is %+v, want the old order's end: %t", got, c.want)
			}
		})
	}
}

func TestOrdersTimeOut(t *testing.T) {
	taken := func(d time.Duration) *world {
		w := newWorld(returning("a")).order("Handback", "a", "")
		return ordered(w, "Handback", "a", "", within(time.Minute)).later(d)
	}
	const waits = "waits until region a has been reachable for long enough"
	closing := func() *world {
		w := drainingA()
		return ordered(w, "Drain", "a", "", within(time.Second)).later(time.Hour)
	}
	anew := taken(time.Hour)
	anew.memory = change.NewMemory()
	stand(t, map[string]standing{
		"in time":                  {taken(time.Minute), ownership.OrderRunning, waits},
		"too late":                 {taken(time.Minute + 1), ownership.OrderFailed, "not done within its timeout: " + waits},
		"not while it changes":     {closing(), ownership.OrderRunning, "owners are changing"},
		"a new leader counts anew": {anew, ownership.OrderRunning, waits},
	})
}

func TestFinishedOrders(t *testing.T) {
	w := newWorld().order("Drain", "c", "")
	for _, name := range []string{"q", "p"} {
		w.conf.Orders[name] = ownership.OrderRecord{Name: name}
	}
	if diff := cmp.Diff([]string{"p", "q"}, change.FinishedOrders(w.conf)); diff != "" {
		t.Errorf("orders to forget (-want +got):\n%s", diff)
	}
}

// alters is the change that an order makes of services.
func alters(kind ownership.ChangeKind, closing bool, how func(*ownership.ServiceState), uids ...string) func(*world) change.Txn {
	return func(w *world) change.Txn {
		o := w.conf.OrderIntents["o"]
		txn := change.Txn{What: string(kind), Because: o.Region + ": ordered by o", View: w.opens()}
		if closing {
			txn.View = w.closes(ownership.Change{Kind: kind, Regions: []string{o.Region}, Services: uids, Order: "o"})
		}
		for _, uid := range uids {
			txn.Services = append(txn.Services, w.changed(uid, how))
		}
		return txn
	}
}

func TestOrderedDrains(t *testing.T) {
	drain := func(w *world) change.Txn {
		return change.Txn{What: "Drain", Because: "a: ordered by o", View: w.closes(
			ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{"a"}, Order: "o"}, drained("a", since))}
	}
	exclude := func(s *ownership.ServiceState) { s.Excluded = append(s.Excluded, "a") }
	decides(t, map[string]decision{
		"a region": {newWorld().service("s").order("Drain", "a", ""), drain},
		"without services": {newWorld().order("Drain", "a", ""), func(w *world) change.Txn {
			return change.Txn{What: "Drain", Because: "a: ordered by o", View: w.opens(drained("a", since))}
		}},
		"not taken up yet":       {ordered(newWorld(), "Drain", "a", ""), nil},
		"done":                   {newWorld(drained("a")).order("Drain", "a", ""), nil},
		"not the last region":    {newWorld(lost("b"), drained("c")).service("s").order("Drain", "a", ""), nil},
		"not for a witness":      {newWorld(witness("b"), drained("c")).service("s").order("Drain", "a", ""), nil},
		"while somebody is lost": {newWorld(lost("b")).service("s").order("Drain", "a", ""), drain},
		"not during suspicion":   {newWorld(serving("b", suspect)).service("s").order("Drain", "a", ""), nil},
		"one that is suspected itself": {newWorld(serving("a", suspect)).service("s").order("Drain", "a", ""), func(w *world) change.Txn {
			txn := drain(w)
			txn.View = w.closes(*txn.View.Change, drained("a", since, func(r *ownership.RegionRecord) { r.Suspect = false }))
			return txn
		}},
		"a service of one that is suspected itself": {newWorld(serving("a", suspect)).service("s").order("Drain", "a", "s"), alters("Exclude", true, exclude, "s")},
		"whatever is suspected of a witness":        {newWorld(witness("b", suspect)).service("s", of("a", "c")).order("Drain", "a", ""), drain},
		"a service in a drained region":             {newWorld(drained("a")).service("s").order("Drain", "a", "s"), alters("Exclude", false, exclude, "s")},
		"one that returns": {newWorld(returning("a")).service("s", handedBack("a", 6)).order("Drain", "a", ""), func(w *world) change.Txn {
			return change.Txn{What: "Drain", Because: "a: ordered by o", View: w.closes(
				ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{"a"}, Order: "o"}, returning("a", since, func(r *ownership.RegionRecord) {
					r.State = ownership.RegionDrained
				}))}
		}},
		"one whose service is nowhere else": {newWorld().service("s", of("a")).order("Drain", "a", ""), drain},
		"a service that is nowhere else":    {newWorld().service("s", of("a")).order("Drain", "a", "s"), alters("Exclude", true, exclude, "s")},
		"a service":                         {newWorld().service("s").order("Drain", "a", "s"), alters("Exclude", true, exclude, "s")},
		"a service, the second time":        {newWorld().service("s", excluding("b")).order("Drain", "a", "s"), alters("Exclude", true, exclude, "s")},
		"a service, done":                   {newWorld().service("s", excluding("a")).order("Drain", "a", "s"), nil},
		"a survivor lags":                   {newWorld().service("s").lags("b", "s").order("Drain", "a", ""), nil},
		"a survivor lags with everything":   {newWorld().service("s").lags("c", ownership.LaggingAll).order("Drain", "a", "s"), nil},
		"it lags itself":                    {newWorld().service("s").lags("a", "s").order("Drain", "a", ""), drain},
		"another service lags":              {newWorld().service("s").service("t").lags("b", "t").order("Drain", "a", "s"), alters("Exclude", true, exclude, "s")},
		"one lags that gets no slot":        {newWorld().service("s", of("a", "b")).lags("c", "s").order("Drain", "a", ""), drain},
		"one lags that is lost":             {newWorld(lost("c")).service("s").lags("c", "s").order("Drain", "a", ""), drain},
	})
}

func TestOrderedUndrains(t *testing.T) {
	include := func(s *ownership.ServiceState) { s.Excluded = nil }
	decides(t, map[string]decision{
		"a region": {newWorld(drained("a", func(r *ownership.RegionRecord) { r.Drained = true })).service("s").order("Undrain", "a", ""), func(w *world) change.Txn {
			return change.Txn{What: "undrain", Because: "a: ordered by o", View: w.opens(set("a", ownership.RegionReturning, since, returned(8),
				func(r *ownership.RegionRecord) { r.Drained = false }))}
		}},
		"then all services go back": {newWorld(returning("a")).ready("a").service("s").service("t").order("Undrain", "a", ""), func(w *world) change.Txn {
			return handback(w, "a", "o", "s", "t")
		}},
		"not before the hold-down": {newWorld(returning("a")).service("s").order("Undrain", "a", ""), nil},
		"a service":                {newWorld().service("s", excluding("a")).order("Undrain", "a", "s"), alters("Include", true, include, "s")},
		"a service, and it lags":   {newWorld().service("s", excluding("a")).lags("a", "s").order("Undrain", "a", "s"), nil},
		"a service of others too": {newWorld().service("s", excluding("a", "b")).order("Undrain", "a", "s"), alters("Include", true,
			func(s *ownership.ServiceState) { s.Excluded = []string{"b"} }, "s")},
		"a service, while a region may have what it lacks":    {newWorld(lost("b")).service("s", excluding("a")).order("Undrain", "a", "s"), nil},
		"a service that names no regions, while a region may": {newWorld(lost("b")).service("s", of(), excluding("a")).order("Undrain", "a", "s"), nil},
		"a service, while a region elsewhere has":             {newWorld(lost("b")).service("s", of("a", "c"), excluding("a")).order("Undrain", "a", "s"), alters("Include", true, include, "s")},
	})
}

func TestOrderedHandbacks(t *testing.T) {
	back := func(uids ...string) func(*world) change.Txn {
		return func(w *world) change.Txn { return handback(w, "a", "o", uids...) }
	}
	base := func() *world { return newWorld(returning("a")).ready("a").service("s").service("t") }
	decides(t, map[string]decision{
		"all":                      {base().order("Handback", "a", ""), back("s", "t")},
		"one":                      {base().order("Handback", "a", "t"), back("t")},
		"those that do not lag":    {base().lags("a", "s").order("Handback", "a", ""), back("t")},
		"it lags":                  {base().lags("a", "t").order("Handback", "a", "t"), nil},
		"not before the hold-down": {newWorld(returning("a")).service("s").order("Handback", "a", ""), nil},
		"the region is lost":       {newWorld(lost("a")).service("s").order("Handback", "a", ""), nil},
	})
}

func TestOrderedApprovals(t *testing.T) {
	approve := func(s *ownership.ServiceState) { s.Approved = map[string]int64{"c": 5} }
	base := func(alters ...alter) *world {
		return newWorld(lost("c", alters...)).service("s", manual).service("t", manual).service("u")
	}
	goneNow := func(w *world) change.Txn {
		return change.Txn{What: "Approve", Because: "c: declared lost for good by o", View: w.closes(
			ownership.Change{Kind: ownership.ChangeApprove, Regions: []string{"c"}, Order: "o"}, lost("c", gone, since))}
	}
	decides(t, map[string]decision{
		"all":                   {base().order("ApproveFailover", "c", ""), alters("Approve", true, approve, "s", "t")},
		"one":                   {base().order("ApproveFailover", "c", "t"), alters("Approve", true, approve, "t")},
		"what was not approved": {newWorld(lost("c")).service("s", manual, approved(4)).service("t", manual, approved(5)).order("ApproveFailover", "c", ""), alters("Approve", true, approve, "s")},
		"not during suspicion":  {newWorld(lost("c"), serving("a", suspect)).service("s", manual).order("ApproveFailover", "c", ""), nil},
		"a region that is declared lost, whatever is suspected": {
			newWorld(lost("c", behind("b")), serving("a", suspect)).service("s", manual).order("DeclareLost", "c", ""), goneNow,
		},
		"a region that is declared lost, with nothing to approve": {newWorld(lost("c")).service("s").order("DeclareLost", "c", ""), func(w *world) change.Txn {
			return change.Txn{What: "Approve", Because: "c: declared lost for good by o", View: w.opens(lost("c", gone, since))}
		}},
		"a silent region that is declared lost is lost first": {newWorld().order("DeclareLost", "c", ""), nil},
	})
}

func TestOrdersOneAfterTheOther(t *testing.T) {
	w := newWorld().service("s").order("Drain", "a", "")
	w.conf.OrderIntents["n"] = ownership.OrderIntent{Name: "n", Type: "Drain", Region: "b"}
	w.conf.Orders["n"] = ownership.OrderRecord{Name: "n", State: ownership.OrderRunning}
	decides(t, map[string]decision{"by name": {w, func(w *world) change.Txn {
		return change.Txn{What: "Drain", Because: "b: ordered by n", View: w.closes(
			ownership.Change{Kind: ownership.ChangeDrain, Regions: []string{"b"}, Order: "n"}, drained("b", since))}
	}}})
}
