package capacity_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/desired/slices"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/capacity"
)

const uid, beijing, shanghai, shenzhen = "0f5e", "beijing", "shanghai", "shenzhen"

// world is a service of three regions alike, each with its four replicas, that scales its survivors.
type world struct {
	s capacity.Service
	c ownership.Configuration
}

func newWorld() *world {
	mas := &v1alpha1.MultiActiveService{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "pay", UID: uid}}
	mas.Spec.Workload = v1alpha1.Workload{Type: v1alpha1.WorkloadManaged, Replicas: ptr.To[int32](4)}
	mas.Spec.Failover = &v1alpha1.Failover{Survivors: v1alpha1.SurvivorsScale}
	w := &world{
		s: capacity.Service{Declared: mas},
		c: ownership.Configuration{
			View:     ownership.View{Phase: ownership.PhaseOpen, Regions: map[string]ownership.RegionRecord{}},
			Services: map[string]ownership.ServiceRecord{},
		},
	}
	for _, name := range []string{beijing, shanghai, shenzhen} {
		mas.Spec.Regions = append(mas.Spec.Regions, v1alpha1.ServiceRegion{Name: name, Weight: ptr.To[int32](100)})
		w.is(name, ownership.RegionServing)
	}
	w.declared()
	return w
}

// declared gives every region its slice anew, and lets the regions agree on it.
func (w *world) declared() {
	mas := w.s.Declared
	w.s.Slices = map[string]*v1alpha1.RegionalService{}
	for _, r := range mas.Spec.Regions {
		slice := slices.Build(slices.Input{Service: mas}, r.Name)
		n := ptr.Deref(slice.Spec.Workload.Replicas, 0)
		slice.Generation, slice.Status.ObservedGeneration = 1, 1
		slice.Status.Features = []string{regional.FeaturePreparedFor}
		slice.Status.Workload = &v1alpha1.ReplicaStatus{Desired: n, Ready: n}
		w.s.Slices[r.Name] = slice
	}
	w.c.Services[uid] = ownership.ServiceRecord{UID: uid, ServiceState: ownership.ServiceState{SpecHash: slices.Ownership(mas).Hash}}
}

func (w *world) is(region string, state ownership.RegionState) {
	w.c.View.Regions[region] = ownership.RegionRecord{State: state, ReturnedEpoch: 3}
}

// prepared lets a region's member act on a slice that is prepared for the drain of others.
func (w *world) prepared(region string, ready, desired int32, of ...string) {
	slice := w.s.Slices[region]
	slice.Spec.Workload.PreparedFor = of
	slice.Status.Workload = &v1alpha1.ReplicaStatus{Desired: desired, Ready: ready}
}

func (w *world) says(region, reason string) {
	w.s.Slices[region].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionWorkloadAvailable, Status: metav1.ConditionFalse, Reason: reason}}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	type verdict = capacity.Verdict
	for name, c := range map[string]struct {
		world func(*world)
		want  verdict
	}{
		"nothing was scaled yet": {
			func(*world) {},
			verdict{Lacking: []string{"payments/pay in shanghai: 4/6 ready", "payments/pay in shenzhen: 4/6 ready"}},
		},
		"one is ready": {
			func(w *world) { w.prepared(shanghai, 6, 6, beijing); w.prepared(shenzhen, 5, 6, beijing) },
			verdict{Ready: []string{"payments/pay in shanghai: 6/6 ready"}, Lacking: []string{"payments/pay in shenzhen: 5/6 ready"}},
		},
		"both are": {
			func(w *world) { w.prepared(shanghai, 6, 6, beijing); w.prepared(shenzhen, 6, 6, beijing) },
			verdict{Ready: []string{"payments/pay in shanghai: 6/6 ready", "payments/pay in shenzhen: 6/6 ready"}},
		},
		"what is ready still, and being scaled back, does not count": {
			func(w *world) { w.prepared(shanghai, 6, 6); w.prepared(shenzhen, 6, 4, beijing) },
			verdict{Lacking: []string{
				"payments/pay in shanghai: its member has not acted on it yet", "payments/pay in shenzhen: its member has not acted on it yet",
			}},
		},
		"nor what the member has not acted on": {
			func(w *world) {
				w.prepared(shanghai, 6, 6, beijing)
				w.prepared(shenzhen, 6, 6, beijing)
				w.s.Slices[shenzhen].Generation = 2
			},
			verdict{
				Ready: []string{"payments/pay in shanghai: 6/6 ready"}, Lacking: []string{"payments/pay in shenzhen: its member has not acted on it yet"},
			},
		},
		"it never gets ready, and why": {
			func(w *world) {
				w.prepared(shanghai, 6, 6, beijing)
				w.prepared(shenzhen, 4, 6, beijing)
				w.says(shenzhen, v1alpha1.ReasonImagePull)
			},
			verdict{Ready: []string{"payments/pay in shanghai: 6/6 ready"}, Lacking: []string{"payments/pay in shenzhen: 4/6 ready (ImagePullFailed)"}},
		},
		"a region has its own number of replicas": {
			func(w *world) {
				w.s.Declared.Spec.Regions[1].Overrides = &v1alpha1.WorkloadOverrides{Replicas: ptr.To[int32](10)}
				w.declared()
				w.prepared(shenzhen, 6, 6, beijing)
			},
			verdict{Ready: []string{"payments/pay in shenzhen: 6/6 ready"}, Lacking: []string{"payments/pay in shanghai: 10/15 ready"}},
		},
		"a survivor is lost meanwhile: the last one needs more": {
			func(w *world) { w.is(shanghai, ownership.RegionLost); w.prepared(shenzhen, 6, 6, beijing) },
			verdict{Lacking: []string{"payments/pay in shenzhen: 6/12 ready"}},
		},
		"a survivor is drained too": {
			func(w *world) {
				w.prepared(shanghai, 6, 6, beijing)
				w.prepared(shenzhen, 6, 12, beijing, shanghai)
			},
			verdict{Ready: []string{"payments/pay in shanghai: 6/6 ready"}, Lacking: []string{"payments/pay in shenzhen: 6/12 ready"}},
		},
		"the region is lost meanwhile": {func(w *world) { w.is(beijing, ownership.RegionLost) }, verdict{}},
		"it is drained already":        {func(w *world) { w.is(beijing, ownership.RegionDrained) }, verdict{}},
		"it is drained of the service already": {
			func(w *world) {
				r := w.c.Services[uid]
				r.Excluded = []string{beijing}
				w.c.Services[uid] = r
			}, verdict{},
		},
		"nobody survives": {
			func(w *world) { w.is(shanghai, ownership.RegionLost); w.is(shenzhen, ownership.RegionReturning) }, verdict{},
		},
		"the hub does not reach a survivor": {
			func(w *world) { w.prepared(shanghai, 6, 6, beijing); delete(w.s.Slices, shenzhen) },
			verdict{
				Ready:   []string{"payments/pay in shanghai: 6/6 ready"},
				Lacking: []string{"payments/pay in shenzhen: the hub cannot use the cluster, see Region shenzhen"},
			},
		},
		"a survivor has nothing of it yet": {
			func(w *world) { w.prepared(shanghai, 6, 6, beijing); w.s.Slices[shenzhen] = nil },
			verdict{
				Ready:   []string{"payments/pay in shanghai: 6/6 ready"},
				Lacking: []string{"payments/pay in shenzhen: the region is being given the service"},
			},
		},
		"a survivor has another service of that name": {
			func(w *world) { w.prepared(shanghai, 6, 6, beijing); w.s.Slices[shenzhen].Spec.ServiceID = "other" },
			verdict{
				Ready:   []string{"payments/pay in shanghai: 6/6 ready"},
				Lacking: []string{"payments/pay in shenzhen: the region is being given the service"},
			},
		},
		"an earlier member": {
			func(w *world) { w.prepared(shanghai, 6, 6, beijing); w.s.Slices[shenzhen].Status.Features = nil },
			verdict{
				Ready: []string{"payments/pay in shanghai: 6/6 ready"},
				Lacking: []string{
					"payments/pay in shenzhen: 4/6 ready, and its member, of an earlier version, scales after a drain only: upgrade it",
				},
			},
		},
		"the region has no weight": {
			func(w *world) { w.s.Declared.Spec.Regions[0].Weight = ptr.To[int32](0); w.declared() }, verdict{},
		},
		"a survivor has no weight": {
			func(w *world) {
				w.s.Declared.Spec.Regions[1].Weight = ptr.To[int32](0)
				w.declared()
				w.prepared(shenzhen, 8, 8, beijing)
			}, verdict{Ready: []string{"payments/pay in shenzhen: 8/8 ready"}},
		},
		"the service is in other regions": {
			func(w *world) { w.s.Declared.Spec.Regions = w.s.Declared.Spec.Regions[1:]; w.declared() }, verdict{},
		},
		"it is new, and nobody owns its keys": {func(w *world) { w.c.Services = nil }, verdict{}},
		"it is being deleted":                 {func(w *world) { w.s.Declared.DeletionTimestamp = ptr.To(metav1.Now()) }, verdict{}},
		"kept": {
			func(w *world) { w.s.Declared.Spec.Failover = nil; w.declared() },
			verdict{Warnings: []string{"payments/pay (survivors: Keep): shanghai, shenzhen will own 50 % more keys than their replicas are sized for"}},
		},
		"kept, of two regions, and done": {
			func(w *world) {
				w.s.Declared.Spec.Regions, w.s.Declared.Spec.Failover = w.s.Declared.Spec.Regions[:2], nil
				w.declared()
				w.is(beijing, ownership.RegionDrained)
			},
			verdict{Warnings: []string{"payments/pay (survivors: Keep): shanghai will own 100 % more keys than its replicas are sized for"}},
		},
		"autoscaled": {
			func(w *world) {
				w.s.Declared.Spec.Workload.Replicas = nil
				w.s.Declared.Spec.Workload.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 4, MaxReplicas: 8}
				w.declared()
			},
			verdict{Lacking: []string{"payments/pay in shanghai: 0/6 ready", "payments/pay in shenzhen: 0/6 ready"}},
		},
		"autoscaled, and may not be so far": {
			func(w *world) {
				w.s.Declared.Spec.Workload.Replicas = nil
				w.s.Declared.Spec.Workload.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 4, MaxReplicas: 5}
				w.declared()
			},
			verdict{
				Lacking:  []string{"payments/pay in shanghai: 0/5 ready", "payments/pay in shenzhen: 0/5 ready"},
				Warnings: []string{"payments/pay: workload.autoscaling.maxReplicas 5 is fewer than the 6 that minReplicas comes to"},
			},
		},
		"autoscaled, and kept": {
			func(w *world) {
				w.s.Declared.Spec.Failover, w.s.Declared.Spec.Workload.Replicas = nil, nil
				w.s.Declared.Spec.Workload.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 4, MaxReplicas: 5}
				w.declared()
			},
			verdict{Warnings: []string{
				"payments/pay (survivors: Keep): shanghai, shenzhen will own 50 % more keys than their replicas are sized for: " +
					"workload.autoscaling.maxReplicas 5 is fewer than the 6 that minReplicas comes to",
			}},
		},
		"deployed by others": {
			func(w *world) {
				w.s.Declared.Spec.Workload = v1alpha1.Workload{Type: v1alpha1.WorkloadServiceRef, ServiceRef: &v1alpha1.ServiceReference{Name: "pay"}}
				w.declared()
			},
			verdict{Warnings: []string{
				"payments/pay (workload ServiceRef, which others scale): shanghai, shenzhen will own 50 % more keys than their replicas are sized for",
			}},
		},
		"a Deployment of others, not all of which runs": {
			func(w *world) {
				w.s.Declared.Spec.Workload = v1alpha1.Workload{Type: v1alpha1.WorkloadDeploymentRef, DeploymentRef: &v1alpha1.LocalObjectReference{Name: "pay"}}
				w.declared()
				w.prepared(shanghai, 1, 3)
			},
			verdict{Warnings: []string{
				"payments/pay (workload DeploymentRef, which others scale): shanghai (1/3 ready), shenzhen will own 50 % more keys than their replicas are sized for",
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			c.world(w)
			if diff := cmp.Diff(c.want, capacity.Drain([]capacity.Service{w.s}, w.c, beijing)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPreparedFor(t *testing.T) {
	t.Parallel()
	drain := func(region string, state v1alpha1.OperationState) *v1alpha1.Operation {
		return &v1alpha1.Operation{
			Spec:   v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: region},
			Status: v1alpha1.OperationStatus{State: state},
		}
	}
	of := func(o *v1alpha1.Operation, service string) *v1alpha1.Operation {
		o.Spec.Service = &v1alpha1.ServiceKey{Namespace: "payments", Name: service}
		return o
	}
	pending, running := v1alpha1.OperationPending, v1alpha1.OperationRunning
	undrain, leaves := drain(beijing, running), drain(beijing, running)
	undrain.Spec.Type, leaves.DeletionTimestamp = v1alpha1.OperationUndrain, ptr.To(metav1.Now())
	for name, c := range map[string]struct {
		orders []*v1alpha1.Operation
		world  func(*world)
		want   []string
	}{
		"held back":                     {orders: []*v1alpha1.Operation{drain(beijing, running)}, want: []string{beijing}},
		"not taken up":                  {orders: []*v1alpha1.Operation{drain(beijing, pending)}, want: []string{beijing}},
		"not looked at":                 {orders: []*v1alpha1.Operation{drain(beijing, "")}},
		"ended":                         {orders: []*v1alpha1.Operation{drain(beijing, v1alpha1.OperationFailed), drain(shanghai, v1alpha1.OperationSucceeded)}},
		"deleted":                       {orders: []*v1alpha1.Operation{leaves}},
		"another order":                 {orders: []*v1alpha1.Operation{undrain}},
		"two, and one of them twice":    {orders: []*v1alpha1.Operation{drain(shanghai, running), drain(beijing, running), of(drain(beijing, running), "pay")}, want: []string{beijing, shanghai}},
		"of another service":            {orders: []*v1alpha1.Operation{of(drain(beijing, running), "user")}},
		"of a region that it is not in": {orders: []*v1alpha1.Operation{drain("nanjing", running)}},
		"of a region without keys": {
			orders: []*v1alpha1.Operation{drain(beijing, running)},
			world:  func(w *world) { w.s.Declared.Spec.Regions[0].Weight = ptr.To[int32](0) },
		},
		"kept": {
			orders: []*v1alpha1.Operation{drain(beijing, running)},
			world:  func(w *world) { w.s.Declared.Spec.Failover.Survivors = v1alpha1.SurvivorsKeep },
		},
		"a service that is being deleted": {
			orders: []*v1alpha1.Operation{drain(beijing, running)},
			world:  func(w *world) { w.s.Declared.DeletionTimestamp = ptr.To(metav1.Now()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			if c.world != nil {
				c.world(w)
			}
			var orders []v1alpha1.Operation
			for _, o := range c.orders {
				orders = append(orders, *o)
			}
			if diff := cmp.Diff(c.want, capacity.PreparedFor(w.s.Declared, orders)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestUnready(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		world func(*world)
		want  []string
	}{
		"ready":          {func(*world) {}, nil},
		"one is enough":  {func(w *world) { w.prepared(beijing, 1, 4) }, nil},
		"none is":        {func(w *world) { w.prepared(beijing, 0, 4) }, []string{"payments/pay in beijing: 0/4 ready"}},
		"none, and why":  {func(w *world) { w.prepared(beijing, 0, 4); w.says(beijing, v1alpha1.ReasonCrashLoop) }, []string{"payments/pay in beijing: 0/4 ready (CrashLoop)"}},
		"none is wanted": {func(w *world) { w.prepared(beijing, 0, 0) }, nil},
		"not known":      {func(w *world) { w.s.Slices[beijing].Status.Workload = nil }, nil},
		"not reached":    {func(w *world) { delete(w.s.Slices, beijing) }, nil},
		"nobody agreed":  {func(w *world) { w.prepared(beijing, 0, 4); w.c.Services = nil }, nil},
		"elsewhere":      {func(w *world) { w.prepared(shanghai, 0, 4) }, nil},
		"without weight": {func(w *world) {
			w.s.Declared.Spec.Regions[0].Weight = ptr.To[int32](0)
			w.declared()
			w.prepared(beijing, 0, 4)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			c.world(w)
			if diff := cmp.Diff(c.want, capacity.Unready([]capacity.Service{w.s}, w.c, beijing)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestListIsBounded(t *testing.T) {
	t.Parallel()
	var points []string
	for i := range 12 {
		points = append(points, fmt.Sprint(i))
	}
	if got, want := capacity.List(points), "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
