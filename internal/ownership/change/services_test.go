package change_test

import (
	"testing"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/ownership/change"
)

func TestRetriesOfRegions(t *testing.T) {
	base := func(edits ...edit) *world {
		return newWorld(append([]edit{lost("c", awaits("a", "b"))}, edits...)...).service("s")
	}
	again := func(because string, left ...string) func(*world) change.Txn {
		return func(w *world) change.Txn {
			return change.Txn{
				What: "Approve", Because: because + " may have applied what they received of c",
				View: w.closes(ownership.Change{Kind: ownership.ChangeApprove, Regions: []string{"c"}}, lost("c", awaits(left...))),
			}
		}
	}
	unreachable := func(w *world, names ...string) *world {
		w.health.Reachable = names
		return w
	}
	decides(t, map[string]decision{
		"both can be reached":      {base(), again("[a b]")},
		"one can be reached":       {unreachable(base(), "b"), again("[b]", "a")},
		"none can be reached":      {unreachable(base()), nil},
		"one lags with everything": {base().lags("a", ownership.LaggingAll), again("[b]", "a")},
		"one lags with some":       {base().lags("a", "s"), again("[a b]")},
		"somebody is suspected":    {base(serving("a", suspect)), nil},
		"somebody is being lost":   {base().gate("a", false), nil},
	})
}

func TestRetriesOfServices(t *testing.T) {
	base := func() *world { return newWorld(lost("c")) }
	again := func(uid string, regions ...string) func(*world) change.Txn {
		return func(w *world) change.Txn {
			return change.Txn{
				What: "Approve", Because: "service accounts/" + uid + " may have caught up",
				View: w.closes(ownership.Change{Kind: ownership.ChangeApprove, Regions: regions, Services: []string{uid}}),
				Services: []ownership.ServiceRecord{w.changed(uid, func(s *ownership.ServiceState) {
					for _, r := range regions {
						delete(s.Withheld, r)
					}
				})},
			}
		}
	}
	decides(t, map[string]decision{
		"withheld":                        {base().service("s", withheld(5)), again("s", "c")},
		"with an earlier loss":            {base().service("s", withheld(4)), nil},
		"of a region that is back":        {newWorld(returning("c")).service("s", withheld(5), handedBack("c", 6)), nil},
		"a region still lags":             {base().service("s", withheld(5)).lags("a", "s"), nil},
		"a region lags that owns nothing": {base().service("s", withheld(5), of("b", "c")).lags("a", "s"), again("s", "c")},
		"one of two lags":                 {base().service("s", withheld(5)).service("t", withheld(5)).lags("b", "s"), again("t", "c")},
		"a deleted one":                   {base().service("s", withheld(5), deleted), nil},
		"two losses": {newWorld(lost("b"), lost("c")).service("s", func(r *ownership.ServiceRecord) {
			r.Withheld = map[string]int64{"a": 1, "b": 5, "c": 5}
		}), again("s", "b", "c")},
		"what a person must approve is not due": {base().service("s", manual), nil},
	})
}

func TestProposals(t *testing.T) {
	anew := func(i *ownership.ServiceIntent) { i.SpecHash = "i" }
	respec := func(closing bool, handback string, how func(*ownership.ServiceState), uids ...string) func(*world) change.Txn {
		return func(w *world) change.Txn {
			txn := change.Txn{What: "Respec", Because: "declared anew: 1 services", View: w.opens()}
			if closing {
				txn.View = w.closes(ownership.Change{Kind: ownership.ChangeRespec, Services: uids})
			}
			for _, uid := range uids {
				record := w.changed(uid, how)
				record.Handback = handback
				txn.Services = append(txn.Services, record)
			}
			return txn
		}
	}
	hash := func(s *ownership.ServiceState) { s.SpecHash = "i" }
	decides(t, map[string]decision{
		"as it is":     {newWorld().service("s").proposed("s"), nil},
		"another spec": {newWorld().service("s").service("t").proposed("s", anew), respec(true, "", hash, "s")},
		"regions that were not named before": {
			newWorld().service("s", of()).proposed("s", func(i *ownership.ServiceIntent) { i.Regions = []string{"a", "b", "c"} }),
			respec(false, "", func(s *ownership.ServiceState) { s.Regions = []string{"a", "b", "c"} }, "s"),
		},
		"a person is to approve": {
			newWorld().service("s").proposed("s", func(i *ownership.ServiceIntent) { i.Manual = true }),
			respec(false, "", func(s *ownership.ServiceState) { s.Manual = true }, "s"),
		},
		"it goes back by itself": {
			newWorld().service("s").proposed("s", func(i *ownership.ServiceIntent) { i.Handback = "Automatic" }),
			respec(false, "Automatic", func(*ownership.ServiceState) {}, "s"),
		},
		"it goes back by itself, to a region that is back": {
			newWorld(returning("c")).service("s").proposed("s", anew, func(i *ownership.ServiceIntent) { i.Handback = "Automatic" }), func(w *world) change.Txn {
				record := w.conf.Services["s"]
				record.Handback = "Automatic"
				return change.Txn{What: "Respec", Because: "declared anew: 1 services", View: w.opens(), Services: []ownership.ServiceRecord{record}}
			},
		},
		"a service that is not accepted":                     {newWorld().proposed("s", anew), nil},
		"a deleted service":                                  {newWorld().service("s", deleted).proposed("s", anew), nil},
		"to be deleted":                                      {newWorld().service("s").proposed("s", anew, func(i *ownership.ServiceIntent) { i.Deleted = true }), nil},
		"while a region is lost":                             {newWorld(lost("c")).service("s").proposed("s", anew), nil},
		"while a region is back in part":                     {newWorld(returning("c")).service("s").proposed("s", anew), nil},
		"while another service's region is lost":             {newWorld(lost("c")).service("s", of("a", "b")).proposed("s", anew), respec(true, "", hash, "s")},
		"while a region is lost, and the service names none": {newWorld(lost("c")).service("s", of()).proposed("s", anew), nil},
		"to a region that is lost": {newWorld(lost("c")).service("s", of("a", "b")).proposed("s", anew, func(i *ownership.ServiceIntent) {
			i.Regions = []string{"a", "c"}
		}), nil},
		"while a region is gone":      {newWorld(lost("c", gone)).service("s").proposed("s", anew), respec(true, "", hash, "s")},
		"while a region is drained":   {newWorld(drained("c")).service("s").proposed("s", anew), respec(true, "", hash, "s")},
		"while somebody is suspected": {newWorld(serving("a", suspect)).service("s").proposed("s", anew), nil},
	})
}
