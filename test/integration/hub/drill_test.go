package hub_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
)

// drills is a drill of a region. lasts is on the leader's clock, which runs fast.
func drills(region string, lasts time.Duration) v1alpha1.OperationSpec {
	return v1alpha1.OperationSpec{Type: v1alpha1.OperationDrill, Region: region, Drill: &v1alpha1.DrillSpec{Duration: &metav1.Duration{Duration: lasts}}}
}

// aWhile is longer than any test lasts on the leader's clock.
const aWhile = 4 * time.Hour

// reports waits until an order's report is as wanted.
func (w *running) reports(o *v1alpha1.Operation, check func(*v1alpha1.DrillReport) error) {
	w.t.Helper()
	eventually(w.world, w.hub, o, func(o *v1alpha1.Operation) error {
		if o.Status.Drill == nil {
			return errors.New("there is no report")
		}
		return check(o.Status.Drill)
	})
}

// goesOut orders a drill of beijing and waits until it is out, and everybody says that it is for a drill.
func (w *running) goesOut(lasts time.Duration) *v1alpha1.Operation {
	w.t.Helper()
	const region = "beijing"
	w.well()
	o := w.order(drills(region, lasts))
	w.leader.until(region, ownership.RegionDrained)
	w.comesTo(o, v1alpha1.OperationRunning, v1alpha1.ReasonOrderRunning, "is out until", "comes back by itself")
	w.healthSays(v1alpha1.ReasonRegionInDrill, o.Name, `"course":"Abort"`)
	eventually(w.world, w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: region}}, func(r *v1alpha1.Region) error {
		if r.Status.State != v1alpha1.RegionDrained {
			return fmt.Errorf("region is %s", r.Status.State)
		}
		return is(r.Status.Conditions, "Serving", no, v1alpha1.ReasonRegionInDrill, "out for a drill", o.Name)
	})
	return o
}

// comesBack waits until a drill has ended in that way, and the region serves.
func (w *running) comesBack(o *v1alpha1.Operation, ended v1alpha1.DrillEnd, verdict v1alpha1.DrillVerdict) {
	w.t.Helper()
	w.reports(o, func(r *v1alpha1.DrillReport) error {
		if r.Ended != ended || r.Verdict != verdict || r.OutAt == nil || r.EndedAt == nil || r.BackAt == nil {
			return fmt.Errorf("the report is %+v, want %s, ended by %s", r, verdict, ended)
		}
		return nil
	})
	w.leader.until(o.Spec.Region, ownership.RegionServing)
	w.noOrders()
}

// well waits until every core flow is served, and every region serves.
func (w *running) well() {
	w.t.Helper()
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		if err := is(m.Status.Conditions, "RegionsHealthy", yes, v1alpha1.ReasonRegionServing); err != nil {
			return err
		}
		return is(m.Status.Conditions, "CoreAvailable", yes, v1alpha1.ReasonAllFlowsAvailable)
	})
}

// TestDrills takes a region out for a while in every way that ends it: nobody has to bring it back.
func TestDrills(t *testing.T) {
	w := newRunning(t, "beijing", "shanghai", "shenzhen")
	const beijing, shenzhen = "beijing", "shenzhen"

	t.Run("a region is out for its time, and back", func(t *testing.T) {
		o := w.goesOut(4 * time.Minute)
		w.reports(o, func(r *v1alpha1.DrillReport) error {
			if len(r.Services) != 1 || len(r.Services[0].Flows) != 1 || r.Services[0].Flows[0].Name != "order" {
				return fmt.Errorf("the report is %+v, want the flow order of cart in it", r)
			}
			return nil
		})
		w.comesBack(o, v1alpha1.DrillEndTimeIsUp, v1alpha1.DrillPassed)
		w.comesTo(o, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "was out for 4m0s", "serves and owns its keys again")
		if s := o.Status.Drill.Services[0]; s.CoreAvailable != v1alpha1.Yes || s.Flows[0].Action != v1alpha1.HomeLossReject || s.Flows[0].AffectedKeysPercent == nil {
			t.Errorf("the report says of the service %+v", s)
		}
	})
	t.Run("it is aborted", func(t *testing.T) {
		o := w.goesOut(aWhile)
		must(t, w.hub.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"drill":{"course":"Abort"}}}`))))
		w.comesBack(o, v1alpha1.DrillEndOrdered, v1alpha1.DrillAborted)
		w.comesTo(o, v1alpha1.OperationFailed, v1alpha1.ReasonDrillAborted, "spec.drill.course says Abort", "serves and owns its keys again")
	})
	t.Run("it is deleted", func(t *testing.T) {
		o := w.goesOut(aWhile)
		must(t, w.hub.Delete(t.Context(), o))
		w.gone(o)
		w.leader.until(beijing, ownership.RegionServing)
		w.noOrders()
	})
	t.Run("its finalizer and itself are removed while there is no hub", func(t *testing.T) {
		o := w.goesOut(aWhile)
		w.restartHub(func() {
			must(t, w.hub.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))))
			must(t, w.hub.Delete(t.Context(), o))
		})
		w.leader.until(beijing, ownership.RegionServing)
		w.noOrders()
	})
	t.Run("hub and leader change, and another region is suspected", func(*testing.T) {
		o := w.goesOut(aWhile)
		w.restartHub(func() {
			w.leader.another()
			w.leader.suspect(shenzhen, true)
			w.leader.retry(func(c ownership.Configuration) error { // the hub is not needed for that
				if c.View.Regions[beijing].State != ownership.RegionReturning {
					return errNotYet
				}
				return nil
			})
			w.leader.suspect(shenzhen, false)
		})
		w.comesBack(o, v1alpha1.DrillEndAnotherRegion, v1alpha1.DrillAborted)
	})
	t.Run("a hub that was away finds it passed", func(*testing.T) {
		o := w.goesOut(2 * time.Minute)
		w.restartHub(func() { w.leader.until(beijing, ownership.RegionServing) })
		w.comesBack(o, v1alpha1.DrillEndTimeIsUp, v1alpha1.DrillPassed)
	})
	t.Run("what is not well is refused", func(*testing.T) {
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: shenzhen})
		o := w.order(drills(beijing, aWhile))
		w.comesTo(o, v1alpha1.OperationRefused, v1alpha1.ReasonOrderRefused, "refused, nothing was done", "region shenzhen is Drained")
		w.noOrders()
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationUndrain, Region: shenzhen})
	})
	t.Run("a drain takes it over", func(*testing.T) {
		o := w.goesOut(aWhile)
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: beijing})
		w.comesTo(o, v1alpha1.OperationFailed, v1alpha1.ReasonDrillAborted, "was taken up, which goes first")
		w.healthSays(v1alpha1.ReasonRegionDrained, `"type":"Undrain"`)
	})
}
