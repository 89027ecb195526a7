package hub_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/plan/operation"
	"multiactive.dev/operator/internal/testkit"
)

// running is a world in which a service is accepted and its members act, but for those that are told to
// stand still.
type running struct {
	*world
	mas *v1alpha1.MultiActiveService

	mu    sync.Mutex
	still map[string]bool
}

func newRunning(t *testing.T, regions ...string) *running {
	t.Helper()
	w := &running{world: newWorld(t, regions...), still: map[string]bool{}}
	states := map[string]ownership.RegionRecord{}
	for _, name := range regions {
		w.leader.agent(name)
		w.region(name)
		w.namespace(w.regions[name], "shop")
		states[name] = serving()
	}
	w.leader.commit(states)
	w.namespace(w.hub, "shop")
	label := []byte(`{"metadata":{"labels":{"multi":"yes"}}}`)
	must(t, w.hub.Patch(t.Context(), namespaced("shop"), client.RawPatch("application/merge-patch+json", label)))
	w.mas = service(regions...)
	must(t, w.hub.Create(t.Context(), w.mas))
	w.membersAct(regions)
	w.leader.retry(func(c ownership.Configuration) error {
		if c.Services[string(w.mas.UID)].SpecHash == "" {
			return errNotYet
		}
		return nil
	})
	return w
}

// membersAct has every region's member report the slice as acted on, again and again.
func (w *running) membersAct(regions []string) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var all sync.WaitGroup
	for _, name := range regions {
		all.Go(func() {
			for ctx.Err() == nil {
				w.memberActs(ctx, name)
				select {
				case <-ctx.Done():
				case <-time.After(tick):
				}
			}
		})
	}
	w.t.Cleanup(func() { cancel(); all.Wait() })
}

func (w *running) memberActs(ctx context.Context, region string) {
	w.mu.Lock()
	still := w.still[region]
	w.mu.Unlock()
	s := slice()
	if still || w.regions[region].Get(ctx, client.ObjectKeyFromObject(s), s) != nil || s.Status.ObservedGeneration == s.Generation {
		return
	}
	reported(s, 0, yes)
	_ = w.regions[region].Status().Update(ctx, s)
}

func (w *running) stand(region string, still bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.still[region] = still
}

// order creates an Operation, as a person would.
func (w *running) order(spec v1alpha1.OperationSpec) *v1alpha1.Operation {
	w.t.Helper()
	o := &v1alpha1.Operation{ObjectMeta: metav1.ObjectMeta{GenerateName: strings.ToLower(string(spec.Type)) + "-"}, Spec: spec}
	must(w.t, w.hub.Create(w.t.Context(), o))
	return o
}

// comesTo waits until an order has come to a state for the reason, told in these words.
func (w *running) comesTo(o *v1alpha1.Operation, state v1alpha1.OperationState, reason string, words ...string) {
	w.t.Helper()
	eventually(w.world, w.hub, o, func(o *v1alpha1.Operation) error {
		if o.Status.State != state {
			return fmt.Errorf("order %s is %s (%+v), want %s", o.Name, o.Status.State, o.Status.Conditions, state)
		}
		complete := no
		if state != v1alpha1.OperationRunning && state != v1alpha1.OperationPending {
			complete = yes
		}
		return is(o.Status.Conditions, "Complete", complete, reason, words...)
	})
}

// succeeds waits until an order is done, and until nothing of it is left in the store or holds it.
func (w *running) succeeds(spec v1alpha1.OperationSpec, words ...string) {
	w.t.Helper()
	o := w.order(spec)
	w.comesTo(o, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, words...)
	w.noOrders()
	eventually(w.world, w.hub, o, func(o *v1alpha1.Operation) error {
		if len(o.Finalizers) > 0 {
			return fmt.Errorf("order %s is held by %v", o.Name, o.Finalizers)
		}
		return nil
	})
	s := o.Status.Steps
	if len(s) > 0 && s[0].Name == operation.PrepareSurvivors { // of drains
		s = s[1:]
	}
	if len(s) < 2 || s[0].Name != "HandOver" || s[1].EndedAt == nil {
		w.t.Errorf("steps of order %s: %+v", o.Name, o.Status.Steps)
	}
}

func (w *running) noOrders() {
	w.t.Helper()
	w.leader.retry(func(c ownership.Configuration) error {
		if len(c.Orders)+len(c.OrderIntents) > 0 {
			return fmt.Errorf("the store has orders %v, asked for %v", c.Orders, c.OrderIntents)
		}
		return nil
	})
}

// owns waits until the service's status says whether a region owns its keys.
func (w *running) owns(region string, state v1alpha1.RegionPhase, owns v1alpha1.WorkState) {
	w.t.Helper()
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		for _, r := range m.Status.Regions {
			if r.Name == region && (r.State != state || r.Owns != owns) {
				return fmt.Errorf("region %+v, want %s, owns %s", r, state, owns)
			}
		}
		return nil
	})
}

func (w *running) healthSays(reason string, words ...string) {
	w.t.Helper()
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "RegionsHealthy", no, reason, words...)
	})
}

func (w *running) key() *v1alpha1.ServiceKey {
	return &v1alpha1.ServiceKey{Namespace: w.mas.Namespace, Name: w.mas.Name}
}

// TestOperations orders everything that can be ordered, and sees the leader act on it.
func TestOperations(t *testing.T) {
	w := newRunning(t, "beijing", "shanghai")
	const beijing, shanghai = "beijing", "shanghai"
	w.owns(beijing, v1alpha1.RegionUp, v1alpha1.Yes)

	t.Run("a region is drained, and the last one is not", func(*testing.T) {
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: beijing}, "region beijing owns no keys", `"type":"Undrain"`)
		w.leader.until(beijing, ownership.RegionDrained)
		w.owns(beijing, v1alpha1.RegionDrained, v1alpha1.No)
		w.healthSays(v1alpha1.ReasonRegionDrained, `"type":"Undrain"`)

		o := w.order(v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: shanghai, Timeout: &metav1.Duration{Duration: pace * 3 * time.Second}})
		w.comesTo(o, v1alpha1.OperationRunning, v1alpha1.ReasonOrderRunning, "shanghai is the last one")
		w.comesTo(o, v1alpha1.OperationFailed, v1alpha1.ReasonOrderFailed, "not done within its timeout", "shanghai is the last one")
		w.noOrders()
	})
	t.Run("an order that is deleted while it waits is never carried out", func(t *testing.T) {
		o := w.order(v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: shanghai})
		w.comesTo(o, v1alpha1.OperationRunning, v1alpha1.ReasonOrderRunning)
		must(t, w.hub.Delete(t.Context(), o))
		w.gone(o)
		w.noOrders()
	})
	t.Run("the drain ends", func(*testing.T) {
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationUndrain, Region: beijing}, "region beijing serves")
		w.owns(beijing, v1alpha1.RegionUp, v1alpha1.Yes)
		w.owns(shanghai, v1alpha1.RegionUp, v1alpha1.Yes)
	})
	t.Run("a region is drained of one service", func(*testing.T) {
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: beijing, Service: w.key()}, "shop/cart")
		w.owns(beijing, v1alpha1.RegionUp, v1alpha1.No)
		w.healthSays(v1alpha1.ReasonRegionDrained, `"name":"cart"`)
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationUndrain, Region: beijing, Service: w.key()})
		w.owns(beijing, v1alpha1.RegionUp, v1alpha1.Yes)
	})
	t.Run("what cannot be carried out is refused", func(*testing.T) { w.refusals() })
	t.Run("a lost region returns and is handed back", func(t *testing.T) { w.handback(t) })
	t.Run("a takeover is approved", func(*testing.T) { w.approval() })
	t.Run("a service is deleted though a region is away", func(t *testing.T) { w.abandon(t) })
	t.Run("a region is lost for good", func(*testing.T) {
		w.leader.lose(beijing)
		w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationDeclareLost, Region: beijing}, "take it out of spec.regions")
		w.leader.retry(func(c ownership.Configuration) error {
			if !c.View.Regions[beijing].Gone {
				return errNotYet
			}
			return nil
		})
	})
}

func (w *world) gone(o client.Object) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		err := w.hub.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%s is still there: %w", o.GetName(), err)
	})
}

func (w *running) refusals() {
	w.t.Helper()
	for words, spec := range map[string]v1alpha1.OperationSpec{
		"there is no Region nanjing":             {Type: v1alpha1.OperationDrain, Region: "nanjing"},
		"there is no MultiActiveService shop/no": {Type: v1alpha1.OperationDrain, Region: "beijing", Service: &v1alpha1.ServiceKey{Namespace: "shop", Name: "no"}},
		"only a region that is lost, or silent":  {Type: v1alpha1.OperationDeclareLost, Region: "beijing"},
		"region beijing is not drained":          {Type: v1alpha1.OperationUndrain, Region: "beijing"},
		"is not lost, so there is nothing":       {Type: v1alpha1.OperationApproveFailover, Region: "beijing"},
		"epoch 1 was expected":                   {Type: v1alpha1.OperationDrain, Region: "beijing", ExpectedEpoch: 1},
		"is not being deleted":                   {Type: v1alpha1.OperationAbandon, Service: w.key()},
		"cart has no flow pay":                   announces(w.key(), "Sorry.", "pay"),
	} {
		o := w.order(spec)
		eventually(w.world, w.hub, o, func(o *v1alpha1.Operation) error {
			if o.Status.State != v1alpha1.OperationRefused {
				return fmt.Errorf("%s is %s, want Refused", o.Name, o.Status.State)
			}
			return is(o.Status.Conditions, "Complete", yes, o.Status.Conditions[0].Reason, "refused, nothing was done", words)
		})
	}
	w.noOrders()
	w.owns("beijing", v1alpha1.RegionUp, v1alpha1.Yes)
}

func (w *running) handback(t *testing.T) {
	w.leader.lose("beijing")
	var open ownership.Incident
	w.leader.retry(func(c ownership.Configuration) error {
		open = ownership.Incident{
			Name: "beijing-9", Region: "beijing", Epoch: c.View.Epoch,
			Timeline: []ownership.IncidentStep{{Step: ownership.StepSuspected, At: time.Now().UTC()}},
		}
		return nil
	})
	w.leader.incident(open)
	w.owns("beijing", v1alpha1.RegionDown, v1alpha1.No)
	w.leader.comeBack("beijing")
	w.owns("beijing", v1alpha1.RegionReturning, v1alpha1.No)
	w.healthSays(v1alpha1.ReasonHandbackAwaited, `"type":"Handback"`)
	incident := &v1alpha1.RegionIncident{ObjectMeta: metav1.ObjectMeta{Name: open.Name}}
	eventually(w.world, w.hub, incident, func(i *v1alpha1.RegionIncident) error {
		if i.Status.State != v1alpha1.IncidentReturning {
			return fmt.Errorf("incident is %s", i.Status.State)
		}
		return is(i.Status.Conditions, "Resolved", no, v1alpha1.ReasonHandbackAwaited, "shop/cart", `"type":"Handback"`, `"region":"beijing"`)
	})
	testkit.Consistently(t, time.Second, func() error {
		must(t, w.hub.Get(t.Context(), client.ObjectKeyFromObject(w.mas), w.mas))
		if w.mas.Status.Regions[0].Owns != v1alpha1.No {
			return fmt.Errorf("region %+v owns keys before anybody ordered it", w.mas.Status.Regions[0])
		}
		return nil
	})
	w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationHandback, Region: "beijing"}, "owns its keys again")
	w.owns("beijing", v1alpha1.RegionUp, v1alpha1.Yes)
	open.Closed = true
	w.leader.incident(open)
	eventually(w.world, w.hub, incident, func(i *v1alpha1.RegionIncident) error {
		return is(i.Status.Conditions, "Resolved", yes, v1alpha1.ReasonIncidentClosed)
	})
}

func (w *running) approval() {
	w.t.Helper()
	w.change(w.mas, func(spec *v1alpha1.MultiActiveServiceSpec) {
		spec.Failover = &v1alpha1.Failover{Mode: "Manual", Handback: "Automatic"}
	})
	w.leader.retry(func(c ownership.Configuration) error {
		if s := c.Services[string(w.mas.UID)]; !s.Manual || s.Handback != ownership.HandbackAutomatic {
			return fmt.Errorf("agreed on %+v", s)
		}
		return nil
	})
	w.leader.lose("shanghai")
	w.healthSays(v1alpha1.ReasonFailoverAwaited, `"type":"ApproveFailover"`, `"name":"cart"`)
	w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationApproveFailover, Region: "shanghai", Service: w.key()}, "may take over")
	w.healthSays(v1alpha1.ReasonRegionLost, "the others go on without it")
	w.leader.comeBack("shanghai")
	w.owns("shanghai", v1alpha1.RegionUp, v1alpha1.Yes) // by itself
}

func (w *running) abandon(t *testing.T) {
	must(t, w.servers["beijing"].Freeze())
	eventually(w.world, w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}}, func(r *v1alpha1.Region) error {
		return is(r.Status.Conditions, "ClusterReachable", no, v1alpha1.ReasonClusterUnreachable)
	})
	must(t, w.hub.Delete(t.Context(), w.mas))
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "Ready", no, v1alpha1.ReasonDeleting, "cannot reach beijing", `"type":"Abandon"`)
	})
	o := w.order(v1alpha1.OperationSpec{Type: v1alpha1.OperationAbandon, Service: w.key()})
	w.gone(w.mas)
	w.comesTo(o, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "shop/cart is deleted")
	uid := string(w.mas.UID)
	w.leader.retry(func(c ownership.Configuration) error {
		if !c.ServiceIntents[uid].Deleted || !c.Services[uid].Deleted {
			t.Errorf("the store has forgotten a service that beijing may have: %+v", c.Services[uid])
		}
		return nil
	})
	must(t, w.servers["beijing"].Continue())
	w.sliceGone("beijing")
	w.leader.retry(func(c ownership.Configuration) error {
		if len(c.ServiceIntents)+len(c.Services) > 0 {
			return fmt.Errorf("the store still has the service: %v %v", c.ServiceIntents, c.Services)
		}
		return nil
	})
}

func (w *running) sliceGone(region string) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		err := w.regions[region].Get(w.t.Context(), client.ObjectKeyFromObject(slice()), slice())
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%s still has the slice: %w", region, err)
	})
}

// TestDeclarationChanges changes who owns what: staged everywhere, then proposed, then switched; then a
// region leaves.
func TestDeclarationChanges(t *testing.T) {
	w := newRunning(t, "beijing", "shanghai")
	uid := string(w.mas.UID)
	inForce := func() (out string) {
		w.leader.retry(func(c ownership.Configuration) error { out = c.Services[uid].SpecHash; return nil })
		return out
	}
	hashes := func(region string, want int) {
		t.Helper()
		eventually(w.world, w.regions[region], slice(), func(s *v1alpha1.RegionalService) error {
			if len(s.Spec.Ownership) != want {
				return fmt.Errorf("%s has %d ownership specs, want %d", region, len(s.Spec.Ownership), want)
			}
			return nil
		})
	}
	switched := func(from string) {
		t.Helper()
		w.leader.retry(func(c ownership.Configuration) error {
			if c.Services[uid].SpecHash == from || c.View.Phase != ownership.PhaseOpen {
				return errNotYet
			}
			return nil
		})
	}
	before := inForce()
	hashes("beijing", 1)

	t.Log("a member that does not act holds the change up, and the condition says so")
	w.stand("beijing", true)
	w.change(w.mas, func(spec *v1alpha1.MultiActiveServiceSpec) { spec.Regions[0].Weight = ptr.To[int32](10) })
	hashes("beijing", 2)
	hashes("shanghai", 2)
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "RoutingReady", no, v1alpha1.ReasonOwnershipChangePending, "beijing's member has not acted")
	})
	if got := inForce(); got != before {
		t.Fatalf("%s is in force before beijing has acted on it", got)
	}
	t.Log("it acts: the leader changes owners, and the slices let go of what was")
	w.stand("beijing", false)
	switched(before)
	hashes("beijing", 1)
	hashes("shanghai", 1)

	t.Log("while a region is lost a change waits")
	before = inForce()
	w.leader.lose("beijing")
	w.change(w.mas, func(spec *v1alpha1.MultiActiveServiceSpec) { spec.Regions = spec.Regions[1:] })
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "RoutingReady", no, v1alpha1.ReasonOwnershipChangeBlocked, "region beijing is lost", `"type":"DeclareLost"`)
	})
	w.leader.comeBack("beijing")
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "RoutingReady", no, v1alpha1.ReasonOwnershipChangeBlocked, `"type":"Handback"`)
	})
	if got := inForce(); got != before {
		t.Fatalf("%s is in force while beijing is away", got)
	}
	beijing := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}}
	must(t, w.hub.Delete(t.Context(), beijing))
	eventually(w.world, w.hub, beijing, func(r *v1alpha1.Region) error {
		return is(r.Status.Conditions, "Ready", no, v1alpha1.ReasonDeleting, "shop/cart")
	})
	w.succeeds(v1alpha1.OperationSpec{Type: v1alpha1.OperationHandback, Region: "beijing"})

	t.Log("then the region leaves, and only then its Region goes")
	switched(before)
	w.sliceGone("beijing")
	w.gone(beijing)
	hashes("shanghai", 1)
	eventually(w.world, w.regions["shanghai"], slice(), func(s *v1alpha1.RegionalService) error {
		if len(s.Spec.Peers) != 1 {
			return fmt.Errorf("peers %+v", s.Spec.Peers)
		}
		return nil
	})
	eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "RegionsHealthy", yes, v1alpha1.ReasonRegionServing)
	})
}
