package hub_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/health"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

const (
	yes = metav1.ConditionTrue
	no  = metav1.ConditionFalse
)

func service(regions ...string) *v1alpha1.MultiActiveService {
	mas := &v1alpha1.MultiActiveService{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"},
		Spec: v1alpha1.MultiActiveServiceSpec{
			Partition: &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "user", From: []v1alpha1.KeySource{
				{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-User"}},
			}}}},
			Workload: v1alpha1.Workload{
				Type: v1alpha1.WorkloadManaged, ServiceAccountName: "deployer", Port: 8080, Replicas: ptr.To[int32](2),
				Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "cart", Image: "cart:1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
				}}}},
			},
			Flows: []v1alpha1.Flow{
				{Name: "browse", Tier: v1alpha1.TierCore, Match: []v1alpha1.RequestMatch{{Method: "GET", Path: "/items/"}}},
				{
					Name: "order", Tier: v1alpha1.TierNonCore, ServedBy: v1alpha1.ServedByHomeRegion,
					Match: []v1alpha1.RequestMatch{{Method: "POST", Path: "/orders"}},
				},
			},
		},
	}
	for _, r := range regions {
		mas.Spec.Regions = append(mas.Spec.Regions, v1alpha1.ServiceRegion{Name: r, Endpoint: "http://cart." + r + ".example.com"})
	}
	return mas
}

func slice() *v1alpha1.RegionalService {
	return &v1alpha1.RegionalService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}}
}

// member plays a region's member: it reports the slice as rolled out, routed and available.
func (w *world) member(region string, available metav1.ConditionStatus) {
	w.t.Helper()
	epoch := int64(0)
	w.leader.retry(func(c ownership.Configuration) error { epoch = c.View.Epoch; return nil })
	testkit.Eventually(w.t, soon, func() error {
		s := slice()
		if err := w.regions[region].Get(w.t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		reported(s, epoch, available)
		return w.regions[region].Status().Update(w.t.Context(), s)
	})
}

// reported fills in what a member says that has acted on its slice.
func reported(s *v1alpha1.RegionalService, epoch int64, available metav1.ConditionStatus) {
	ready := int32(0)
	if available == yes {
		s.Status.WorkloadHash, ready = s.Spec.Workload.Hash, 2
	}
	s.Status.Epoch, s.Status.ObservedGeneration = epoch, s.Generation
	s.Status.Workload = &v1alpha1.ReplicaStatus{Desired: 2, Ready: ready}
	s.Status.Gateway = &v1alpha1.ReplicaStatus{Desired: 2, Ready: 2}
	s.Status.Conditions = nil
	for kind, status := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionWorkloadAvailable: available, v1alpha1.ConditionGatewayReady: yes,
		v1alpha1.ConditionTopicsReady: yes, v1alpha1.ConditionReady: available,
	} {
		s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: "Test", Message: "as the test says", ObservedGeneration: s.Generation,
			LastTransitionTime: metav1.Now(),
		})
	}
}

func TestService(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai")
	for _, name := range []string{"beijing", "shanghai"} {
		w.leader.agent(name)
		w.region(name)
	}
	w.leader.commit(map[string]ownership.RegionRecord{"beijing": serving(), "shanghai": serving()})
	for _, name := range []string{"beijing", "shanghai"} {
		eventually(w, w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: name}}, func(r *v1alpha1.Region) error {
			if r.Status.State != v1alpha1.RegionUp || r.Status.ObserversSummary != "1/1" {
				return fmt.Errorf("state %s, observers %s", r.Status.State, r.Status.ObserversSummary)
			}
			return is(r.Status.Conditions, "Ready", yes, v1alpha1.ReasonAsDeclared)
		})
	}
	w.namespace(w.hub, "shop")
	w.namespace(w.regions["beijing"], "shop")
	mas := service("beijing", "shanghai")
	must(t, w.hub.Create(t.Context(), mas))

	t.Run("a namespace that regions do not allow", func(*testing.T) {
		eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
			return is(m.Status.Conditions, "RegionsHealthy", no, v1alpha1.ReasonNamespaceNotAllowed, "beijing, shanghai: the Region does not allow namespace shop")
		})
	})
	t.Run("a namespace that a region lacks holds up that region alone", func(t *testing.T) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
		must(t, w.hub.Patch(t.Context(), namespace, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"multi":"yes"}}}`))))
		eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
			return is(m.Status.Conditions, "WorkloadsAvailable", no, v1alpha1.ReasonNamespaceMissing, "shanghai: the cluster has no namespace shop")
		})
		eventually(w, w.regions["beijing"], slice(), func(s *v1alpha1.RegionalService) error {
			if s.Spec.Region != "beijing" || s.Spec.ServiceID != string(mas.UID) || len(s.Spec.Peers) != 2 {
				return fmt.Errorf("slice is %+v", s.Spec)
			}
			return nil
		})
		w.leader.retry(func(c ownership.Configuration) error {
			if len(c.ServiceIntents) > 0 {
				t.Errorf("proposed before every reachable region had the slice: %v", c.ServiceIntents)
			}
			return nil
		})
		w.namespace(w.regions["shanghai"], "shop")
		eventually(w, w.regions["shanghai"], slice(), func(*v1alpha1.RegionalService) error { return nil })
	})
	t.Run("proposed, accepted, ready", func(*testing.T) {
		w.leader.retry(func(c ownership.Configuration) error {
			if c.Services[string(mas.UID)].SpecHash == "" {
				return errNotYet
			}
			return nil
		})
		w.member("beijing", yes)
		w.member("shanghai", yes)
		eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
			if s := m.Status.Summary; s == nil || s.Regions != "2/2" || s.Degraded != "0/2" {
				return fmt.Errorf("summary %+v", s)
			}
			if ro := m.Status.Rollout; ro == nil || ro.State != "Complete" {
				return fmt.Errorf("rollout %+v", ro)
			}
			return is(m.Status.Conditions, "Ready", yes, v1alpha1.ReasonAsDeclared)
		})
		if len(mas.Status.Conditions) != 14 {
			t.Errorf("%d conditions, want all 14", len(mas.Status.Conditions))
		}
	})
	t.Run("no write while nothing changes", func(t *testing.T) { w.steady(t, mas) })
	t.Run("few writes until a service is ready", func(t *testing.T) { w.fewWrites(t) })
	t.Run("a region is lost and returns", func(t *testing.T) { w.outage(t, mas) })
	t.Run("a region seems to be lost", func(*testing.T) { w.falseAlarm() })
	t.Run("a rollout goes region by region and stops at the first that fails", func(t *testing.T) { w.rollout(t, mas) })
	t.Run("a region that is down holds up nobody", func(t *testing.T) { w.regionDown(t, mas) })
}

// fewWrites counts what the hub writes until a service is Ready, and until it is gone: with a thousand services each write
// more is a thousand.
func (w *world) fewWrites(t *testing.T) {
	mas := service("beijing", "shanghai")
	mas.Name = "few"
	epoch := int64(0)
	w.leader.retry(func(c ownership.Configuration) error { epoch = c.View.Epoch; return nil })
	must(t, w.hub.Create(t.Context(), mas))
	slices := map[string]*v1alpha1.RegionalService{}
	for name, region := range w.regions {
		s := &v1alpha1.RegionalService{ObjectMeta: metav1.ObjectMeta{Namespace: mas.Namespace, Name: mas.Name}}
		slices[name] = s
		testkit.Eventually(t, soon, func() error {
			if err := region.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
				return err
			}
			reported(s, epoch, yes)
			return region.Status().Update(t.Context(), s)
		})
	}
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "Ready", yes, v1alpha1.ReasonAsDeclared)
	})
	got := w.wrote("multiactiveservices/few")
	// That it is on its way, and that it is Ready; that all have it but the leader has not accepted it is no other stage.
	if got[""] != 1 || got["status/"] < 2 || got["status/"] > 3 {
		t.Errorf("written %v, want the finalizer once and the status two or three times", got)
	}
	for name, region := range w.regions {
		s := slices[name]
		must(t, region.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		if s.Generation != 1 || len(s.Finalizers) != 1 {
			t.Errorf("the slice in %s has generation %d and finalizers %v, want to have it written once, with the member's", name, s.Generation, s.Finalizers)
		}
	}
	must(t, w.hub.Delete(t.Context(), mas)) // no member has acted on it, so nobody takes the finalizers but the hub
	for name, region := range w.regions {
		testkit.Eventually(t, soon, func() error {
			err := region.Get(t.Context(), client.ObjectKeyFromObject(slices[name]), slices[name])
			if err == nil {
				return errors.New("the slice in " + name + " is still there")
			}
			return client.IgnoreNotFound(err)
		})
	}
}

// steady checks that neither the hub's nor the regions' objects are written while nothing changes
// but the beats.
func (w *world) steady(t *testing.T, mas *v1alpha1.MultiActiveService) {
	versions := func() string {
		out := ""
		for _, o := range []struct {
			c client.Client
			o client.Object
		}{
			{w.hub, mas}, {w.regions["beijing"], slice()}, {w.regions["shanghai"], slice()},
			{w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}}},
			{w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "shanghai"}}},
		} {
			must(t, o.c.Get(t.Context(), client.ObjectKeyFromObject(o.o), o.o))
			out += o.o.GetName() + "@" + o.o.GetResourceVersion() + " "
		}
		return out
	}
	before := versions()
	testkit.Consistently(t, 3*time.Second, func() error {
		if now := versions(); now != before {
			return fmt.Errorf("written: %s, was %s", now, before)
		}
		return nil
	})
}

func (w *world) outage(t *testing.T, mas *v1alpha1.MultiActiveService) {
	started := time.Now().UTC().Add(-2 * time.Second)
	open := ownership.Incident{Name: "beijing-1", Region: "beijing", Timeline: []ownership.IncidentStep{
		{Step: ownership.StepSuspected, At: started},
		{Step: ownership.StepConfirmed, At: started.Add(time.Second), SinceSuspected: time.Second},
	}}
	lost := serving()
	lost.State, lost.Incident, lost.Unshipped, lost.LostEpoch = ownership.RegionLost, open.Name, true, 1
	open.Epoch = w.leader.commit(map[string]ownership.RegionRecord{"beijing": lost})
	open.Timeline = append(open.Timeline, ownership.IncidentStep{
		Step: ownership.StepCommitted, At: started.Add(1500 * time.Millisecond), SinceSuspected: 1500 * time.Millisecond,
	})
	w.leader.incident(open)
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		if m.Status.LastIncident == nil || m.Status.LastIncident.Name != open.Name || ptr.Deref(m.Status.LastIncident.RecoverySeconds, 0) != 2 {
			return fmt.Errorf("last incident %+v", m.Status.LastIncident)
		}
		if s := m.Status.Summary; s.Regions != "1/2" || s.DegradedFlows != "order" || s.Epoch != open.Epoch {
			return fmt.Errorf("summary %+v", s)
		}
		if r := m.Status.Regions[0]; r.State != v1alpha1.RegionDown || r.Owns != v1alpha1.No {
			return fmt.Errorf("region %+v", r)
		}
		if err := is(m.Status.Conditions, "Degraded", yes, v1alpha1.ReasonHomeRegionLost, "order"); err != nil {
			return err
		}
		return is(m.Status.Conditions, "CoreAvailable", yes, v1alpha1.ReasonAllFlowsAvailable)
	})
	w.member("shanghai", yes) // its gateways act on the new view
	w.leader.hold("beijing", health.ReasonNotAsked)
	eventually(w, w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}}, func(r *v1alpha1.Region) error {
		return is(r.Status.Conditions, "Serving", no, v1alpha1.ReasonRegionLost, open.Name, health.ReasonNotAsked, "start the region's member")
	})
	incident := &v1alpha1.RegionIncident{ObjectMeta: metav1.ObjectMeta{Name: open.Name}}
	eventually(w, w.hub, incident, func(i *v1alpha1.RegionIncident) error {
		if i.Status.State != v1alpha1.IncidentLost || ptr.Deref(i.Status.Services, 0) != 1 || len(i.Status.WorstServices) != 1 ||
			len(i.Status.Timeline) != 4 || i.Status.Recovery == "" {
			return fmt.Errorf("incident %+v", i.Status)
		}
		return is(i.Status.Conditions, "Resolved", no, v1alpha1.ReasonIncidentOpen)
	})
	w.leader.commit(map[string]ownership.RegionRecord{"beijing": serving()})
	w.leader.hold("beijing", "")
	open.Closed = true
	open.Timeline = append(open.Timeline, ownership.IncidentStep{Step: ownership.StepServing, At: time.Now().UTC()})
	w.leader.incident(open)
	w.member("beijing", yes)
	w.member("shanghai", yes)
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		if m.Status.LastIncident.EndedAt == nil {
			return fmt.Errorf("last incident %+v", m.Status.LastIncident)
		}
		return is(m.Status.Conditions, "Ready", yes, v1alpha1.ReasonAsDeclared)
	})
	eventually(w, w.hub, incident, func(i *v1alpha1.RegionIncident) error {
		if len(i.Status.WorstServices) != 1 {
			t.Errorf("a closed incident forgot what it touched: %+v", i.Status)
		}
		return is(i.Status.Conditions, "Resolved", yes, v1alpha1.ReasonIncidentClosed)
	})
}

// falseAlarm has an incident end without a loss.
func (w *world) falseAlarm() {
	started := time.Now().UTC().Add(-5 * time.Second)
	alarm := ownership.Incident{Name: "shanghai-9", Region: "shanghai", Timeline: []ownership.IncidentStep{
		{Step: ownership.StepSuspected, At: started},
		{Step: ownership.StepConfirmed, At: started.Add(3 * time.Second), SinceSuspected: 3 * time.Second},
	}}
	w.leader.incident(alarm)
	incident := &v1alpha1.RegionIncident{ObjectMeta: metav1.ObjectMeta{Name: alarm.Name}}
	eventually(w, w.hub, incident, func(i *v1alpha1.RegionIncident) error {
		return is(i.Status.Conditions, "Resolved", no, v1alpha1.ReasonIncidentOpen, "cannot reach")
	})
	alarm.Closed = true
	alarm.Timeline = append(alarm.Timeline, ownership.IncidentStep{
		Step: ownership.StepFalseAlarm, At: started.Add(5 * time.Second), SinceSuspected: 5 * time.Second,
	})
	w.leader.incident(alarm)
	eventually(w, w.hub, incident, func(i *v1alpha1.RegionIncident) error {
		if i.Status.State != v1alpha1.IncidentFalseAlarm || i.Status.Recovery != "" || i.Status.EndedAt == nil {
			return fmt.Errorf("incident %+v", i.Status)
		}
		return is(i.Status.Conditions, "Resolved", yes, v1alpha1.ReasonFalseAlarm)
	})
}

// change edits the service's spec, as often as it takes to win against the hub's status.
func (w *world) change(mas *v1alpha1.MultiActiveService, edit func(*v1alpha1.MultiActiveServiceSpec)) {
	w.t.Helper()
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		edit(&m.Spec)
		return w.hub.Update(w.t.Context(), m)
	})
}

func (w *world) rollout(t *testing.T, mas *v1alpha1.MultiActiveService) {
	image := func(to string, deadline time.Duration) {
		w.change(mas, func(spec *v1alpha1.MultiActiveServiceSpec) {
			spec.Workload.Template.Spec.Containers[0].Image = to
			spec.Rollout = &v1alpha1.Rollout{ProgressDeadline: &metav1.Duration{Duration: deadline}}
		})
	}
	runs := func(region, want string) {
		t.Helper()
		eventually(w, w.regions[region], slice(), func(s *v1alpha1.RegionalService) error {
			if got := s.Spec.Workload.Template.Spec.Containers[0].Image; got != want {
				return fmt.Errorf("%s runs %s, want %s", region, got, want)
			}
			return nil
		})
	}
	image("cart:2", time.Minute)
	runs("beijing", "cart:2")
	runs("shanghai", "cart:1")
	w.member("beijing", yes)
	runs("shanghai", "cart:2")
	w.member("shanghai", yes)

	image("cart:broken", time.Second)
	runs("beijing", "cart:broken")
	w.member("beijing", no)
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "WorkloadsAvailable", no, v1alpha1.ReasonRolloutStopped, "region beijing")
	})
	runs("shanghai", "cart:2")

	image("cart:2", time.Minute)
	runs("beijing", "cart:2") // although shanghai has not acted on its new slice yet
	w.member("beijing", yes)
	w.member("shanghai", yes)
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "Ready", yes, v1alpha1.ReasonAsDeclared)
	})
}

func (w *world) regionDown(t *testing.T, mas *v1alpha1.MultiActiveService) {
	must(t, w.servers["beijing"].Freeze()) // worse than killed: connections stay open
	w.change(mas, func(spec *v1alpha1.MultiActiveServiceSpec) {
		spec.Announcements = []v1alpha1.Announcement{{Flows: []string{"*"}, Text: []v1alpha1.LocalizedText{{Language: "en", Value: "Sorry."}}}}
	})
	// Two request timeouts of the dying cluster would be 4 s: the other region must not wait for them.
	within(w, 2*time.Second, w.regions["shanghai"], slice(), func(s *v1alpha1.RegionalService) error {
		if len(s.Spec.Announcements) != 1 {
			return errNotYet
		}
		return nil
	})
	eventually(w, w.hub, &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}}, func(r *v1alpha1.Region) error {
		return is(r.Status.Conditions, "ClusterReachable", no, v1alpha1.ReasonClusterUnreachable)
	})
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, "RegionsHealthy", no, v1alpha1.ReasonRegionUnreachable, "beijing")
	})

	must(t, w.hub.Delete(t.Context(), mas))
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		for _, kind := range []string{"Ready", "RoutingReady", "CoreAvailable"} {
			if err := is(m.Status.Conditions, kind, no, v1alpha1.ReasonDeleting, "cannot reach beijing", "Abandon"); err != nil {
				return err
			}
		}
		return nil
	})
	testkit.Eventually(t, soon, func() error {
		err := w.regions["shanghai"].Get(t.Context(), client.ObjectKeyFromObject(slice()), slice())
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("shanghai still has the slice: %w", err)
	})
	beijing := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: "beijing"}}
	must(t, w.hub.Delete(t.Context(), beijing))
	eventually(w, w.hub, beijing, func(r *v1alpha1.Region) error {
		return is(r.Status.Conditions, "Ready", no, v1alpha1.ReasonDeleting, "shop/cart")
	})

	must(t, w.servers["beijing"].Continue())
	for _, o := range []client.Object{mas, beijing} {
		testkit.Eventually(t, soon, func() error {
			err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(o), o)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("%s is still there: %w", o.GetName(), err)
		})
	}
	w.leader.retry(func(c ownership.Configuration) error {
		if len(c.ServiceIntents)+len(c.Services) > 0 {
			return fmt.Errorf("the store still has the service: %v %v", c.ServiceIntents, c.Services)
		}
		return nil
	})
}
