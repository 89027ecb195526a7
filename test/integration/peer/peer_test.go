package peer_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
)

// service is the declaration, with an image.
func service(image string, regions ...string) *v1alpha1.MultiActiveService {
	mas := cart()
	mas.Spec = v1alpha1.MultiActiveServiceSpec{
		Partition: &v1alpha1.Partition{Keys: []v1alpha1.PartitionKey{{Name: "user", From: []v1alpha1.KeySource{
			{Type: v1alpha1.KeySourceHeader, Header: &v1alpha1.NamedSource{Name: "X-User"}},
		}}}},
		Workload: v1alpha1.Workload{
			Type: v1alpha1.WorkloadManaged, ServiceAccountName: "deployer", Port: 8080, Replicas: ptr.To[int32](2),
			Template: &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "cart", Image: image, Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
			}}}},
		},
		Rollout: &v1alpha1.Rollout{Strategy: v1alpha1.RolloutAllAtOnce},
		Flows: []v1alpha1.Flow{
			{Name: "browse", Tier: v1alpha1.TierCore, Match: []v1alpha1.RequestMatch{{Method: "GET", Path: "/items/"}}},
			{
				Name: "order", Tier: v1alpha1.TierNonCore, ServedBy: v1alpha1.ServedByHomeRegion,
				Match: []v1alpha1.RequestMatch{{Method: "POST", Path: "/orders"}},
			},
		},
	}
	for _, r := range regions {
		mas.Spec.Regions = append(mas.Spec.Regions, v1alpha1.ServiceRegion{Name: r, Endpoint: "http://cart." + r + ".example.com"})
	}
	return mas
}

func cart() *v1alpha1.MultiActiveService {
	return &v1alpha1.MultiActiveService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}}
}

func slice() *v1alpha1.RegionalService {
	return &v1alpha1.RegionalService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart"}}
}

// member plays a region's member: it reports the slice as rolled out, routed and available.
func (w *world) member(name string) {
	w.t.Helper()
	w.reports(name, 2)
}

// reports is member with so many replicas, all of them ready.
func (w *world) reports(name string, replicas int32) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		c, err := w.store.Read(w.t.Context()) // the store may be electing a leader of its own
		if err != nil {
			return err
		}
		s := slice()
		if err := w.regions[name].Get(w.t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			return err
		}
		s.Status.WorkloadHash, s.Status.Epoch, s.Status.ObservedGeneration = s.Spec.Workload.Hash, c.View.Epoch, s.Generation
		s.Status.ActedStamp = &v1alpha1.ActedStamp{ServiceID: s.Spec.ServiceID, Stamp: s.Spec.Stamp}
		s.Status.Workload = &v1alpha1.ReplicaStatus{Desired: replicas, Ready: replicas}
		s.Status.Features = []string{regional.FeaturePreparedFor}
		s.Status.Gateway = &v1alpha1.ReplicaStatus{Desired: 2, Ready: 2}
		s.Status.Conditions = nil
		for _, kind := range []string{
			v1alpha1.ConditionWorkloadAvailable, v1alpha1.ConditionGatewayReady, v1alpha1.ConditionTopicsReady, v1alpha1.ConditionReady,
		} {
			s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{
				Type: kind, Status: yes, Reason: "Test", Message: "as the test says", ObservedGeneration: s.Generation, LastTransitionTime: metav1.Now(),
			})
		}
		return w.regions[name].Status().Update(w.t.Context(), s)
	})
}

func (w *world) members(names []string) {
	w.t.Helper()
	for _, name := range names {
		w.member(name)
	}
}

// image changes the declaration in some regions' clusters.
func (w *world) image(names []string, image string) {
	w.t.Helper()
	eventually(w, names, cart, func(m *v1alpha1.MultiActiveService) error {
		c := m.Spec.Workload.Template.Spec.Containers
		if c[0].Image == image {
			return nil
		}
		c[0].Image = image
		for _, name := range names {
			if w.regions[name].Update(w.t.Context(), m) == nil {
				break
			}
		}
		return errors.New("not changed yet")
	})
}

// runs waits until the slices of the regions have the image.
func (w *world) runs(names []string, image string) {
	w.t.Helper()
	eventually(w, names, slice, func(s *v1alpha1.RegionalService) error {
		if got := s.Spec.Workload.Template.Spec.Containers[0].Image; got != image {
			return fmt.Errorf("it runs %s, want %s", got, image)
		}
		return nil
	})
}

// stays checks that the slices of the regions keep the image.
func (w *world) stays(names []string, image string) {
	w.t.Helper()
	testkit.Consistently(w.t, 3*time.Second, func() error {
		for _, name := range names {
			s := slice()
			must(w.t, w.regions[name].Get(w.t.Context(), client.ObjectKeyFromObject(s), s))
			if got := s.Spec.Workload.Template.Spec.Containers[0].Image; got != image {
				return fmt.Errorf("region %s runs %s, want %s", name, got, image)
			}
		}
		return nil
	})
}

// says waits until the copies in the regions say it of SpecInSync.
func (w *world) says(names []string, status metav1.ConditionStatus, reason string, words ...string) {
	w.t.Helper()
	eventually(w, names, cart, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, v1alpha1.ConditionSpecInSync, status, reason, words...)
	})
}

func (w *world) ready(names []string) {
	w.t.Helper()
	eventually(w, names, cart, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, v1alpha1.ConditionReady, yes, v1alpha1.ReasonAsDeclared)
	})
}

// serving waits until every region says of every Region that it serves.
func (w *world) serving() {
	w.t.Helper()
	for _, name := range w.names {
		eventually(w, w.names, func() *v1alpha1.Region { return declared(name) }, func(r *v1alpha1.Region) error {
			if err := is(r.Status.Conditions, v1alpha1.ConditionSpecInSync, yes, v1alpha1.ReasonCopiesAgree); err != nil {
				return err
			}
			return is(r.Status.Conditions, v1alpha1.ConditionReady, yes, v1alpha1.ReasonAsDeclared)
		})
	}
}

// TestPeers goes through a service's life, and through the loss of the region whose peer leads.
func TestPeers(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai", "shenzhen")
	all := w.names
	w.serving()
	leader := w.leader()
	others := w.others(leader)

	t.Log("applied in one region, it is nowhere")
	must(t, w.regions[others[0]].Create(t.Context(), service("cart:1", all...)))
	w.says(others[:1], no, v1alpha1.ReasonNoMajority, others[0]+" has it", "do not have it", "Apply the same declaration in every region")
	for _, name := range all {
		if err := w.regions[name].Get(t.Context(), client.ObjectKeyFromObject(slice()), slice()); client.IgnoreNotFound(err) != nil || err == nil {
			t.Fatalf("region %s has a slice of what one region declares (%v)", name, err)
		}
	}

	t.Log("applied everywhere, it is everywhere, and every region tells how it is")
	must(t, w.regions[others[1]].Create(t.Context(), service("cart:1", all...)))
	must(t, w.regions[leader].Create(t.Context(), service("cart:1", all...)))
	w.runs(all, "cart:1")
	var uid string
	w.configuration(func(c ownership.Configuration) error {
		if ids := named(c); len(ids) != 1 {
			return fmt.Errorf("services %v", ids)
		}
		uid = named(c)[0]
		return nil
	})
	w.members(all)
	w.says(all, yes, v1alpha1.ReasonCopiesAgree)
	w.ready(all)
	eventually(w, all, slice, func(s *v1alpha1.RegionalService) error {
		if s.Spec.ServiceID != uid || s.Spec.Stamp.Ballot == 0 {
			return fmt.Errorf("service %s, want %s; stamp %+v", s.Spec.ServiceID, uid, s.Spec.Stamp)
		}
		return nil
	})

	t.Log("one copy is changed: nothing else is; two are: it is adopted")
	w.image(others[:1], "cart:2")
	w.says(all, no, v1alpha1.ReasonCopiesDiffer, others[0]+" has another spec")
	w.stays(all, "cart:1")
	w.ready([]string{leader, others[1]})
	w.image(others[1:], "cart:2")
	w.runs(all, "cart:2")
	w.says(all, no, v1alpha1.ReasonCopiesDiffer, leader+" has another spec")
	w.members(all)
	w.ready(others)

	t.Log("the leader's copy is the one that differs: with its process another leads, and the old spec stays away")
	w.peers[leader].stop()
	next := w.leader()
	if next == leader {
		t.Fatalf("%s leads, which was stopped", leader)
	}
	w.stays(all, "cart:2")

	t.Log("its cluster and its member of the store are lost too: changes go on")
	must(t, w.servers[leader].Kill())
	must(t, w.etcd.Member(leader).Kill())
	w.image(others, "cart:3")
	w.runs(others, "cart:3")
	w.says(others, metav1.ConditionUnknown, v1alpha1.ReasonCopiesUnread, leader+" cannot be read")
	w.members(others)
	must(t, w.regions[others[0]].Create(t.Context(), drain(others[0])))
	eventually(w, others[:1], func() *v1alpha1.Operation { return drain(others[0]) }, func(o *v1alpha1.Operation) error {
		if o.Status.State != v1alpha1.OperationSucceeded && o.Status.State != v1alpha1.OperationRunning {
			return fmt.Errorf("state %q: %+v", o.Status.State, o.Status.Conditions)
		}
		return nil
	})

	t.Log("back with its old spec, it changes nothing, and is told")
	must(t, w.etcd.Member(leader).Start(t.Context()))
	must(t, w.servers[leader].Start(t.Context()))
	w.start(leader)
	w.runs(all, "cart:3")
	w.says(all, no, v1alpha1.ReasonCopiesDiffer, leader+" has another spec")
	w.stays(all, "cart:3")
	w.image([]string{leader}, "cart:3")
	w.says(all, yes, v1alpha1.ReasonCopiesAgree)

	t.Run("orders", func(t *testing.T) { w.orders(t, others[0]) })
	t.Run("deletion", func(t *testing.T) { w.deletion(t, uid) })
}

func drain(region string) *v1alpha1.Operation {
	return &v1alpha1.Operation{
		ObjectMeta: metav1.ObjectMeta{Name: "away"}, Spec: v1alpha1.OperationSpec{Type: v1alpha1.OperationDrain, Region: region},
	}
}

// orders applies an order in one region after the other. Its agents know of no gateways that could be
// fenced, so it may end either way: what counts is that it ends once, and alike everywhere.
func (w *world) orders(t *testing.T, region string) {
	all := w.names
	again := func() *v1alpha1.Operation {
		o := drain(region)
		o.Name = "again"
		return o
	}
	var ended v1alpha1.OperationState
	ends := func(in []string) {
		t.Helper()
		eventually(w, in, again, func(o *v1alpha1.Operation) error {
			if s := o.Status.State; s != v1alpha1.OperationSucceeded && s != v1alpha1.OperationFailed {
				return fmt.Errorf("state %q: %+v", s, o.Status.Conditions)
			}
			if ended != "" && o.Status.State != ended {
				t.Errorf("it is %s here and %s elsewhere", o.Status.State, ended)
			}
			ended = o.Status.State
			return nil
		})
	}
	w.in(all[:2], func(c client.Client) error { return c.Create(t.Context(), again()) })
	ends(all[:2])
	var epoch int64
	w.configuration(func(c ownership.Configuration) error { epoch = c.View.Epoch; return nil })

	t.Log("applied where it was not yet, with another spec: refused; the same: it has been carried out")
	other := again()
	other.Spec.Timeout = &metav1.Duration{Duration: time.Hour}
	must(t, w.regions[all[2]].Create(t.Context(), other))
	eventually(w, all[2:], again, func(o *v1alpha1.Operation) error {
		return is(o.Status.Conditions, v1alpha1.ConditionComplete, yes, v1alpha1.ReasonOrderInvalid, "another spec")
	})
	must(t, w.regions[all[2]].Delete(t.Context(), again()))
	gone(w, all[2:], again)
	must(t, w.regions[all[2]].Create(t.Context(), again()))
	ends(all[2:])
	w.configuration(func(c ownership.Configuration) error {
		if c.View.Epoch != epoch {
			t.Errorf("the late copy was carried out: epoch %d, was %d", c.View.Epoch, epoch)
		}
		return nil
	})

	w.everywhere(func(c client.Client) error { return c.Delete(t.Context(), again()) })
	must(t, w.regions[region].Delete(t.Context(), drain(region)))
	w.configuration(func(c ownership.Configuration) error {
		if len(c.Orders)+len(c.OrderIntents) > 0 {
			return fmt.Errorf("orders %+v are kept though nobody gives them", c.OrderIntents)
		}
		return nil
	})
}

// letGo plays the members, which have taken down what they made for a slice that goes.
func (w *world) letGo(t *testing.T) {
	for _, name := range w.names {
		testkit.Eventually(t, soon, func() error {
			s := slice()
			if err := w.regions[name].Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
				return client.IgnoreNotFound(err)
			}
			if s.DeletionTimestamp.IsZero() {
				return fmt.Errorf("the slice in %s is to stay", name)
			}
			s.Finalizers = nil
			return client.IgnoreNotFound(w.regions[name].Update(t.Context(), s))
		})
	}
}

// deletion deletes the service in one region, which is undone by applying it again, and then in two.
func (w *world) deletion(t *testing.T, uid string) {
	all := w.names
	must(t, w.regions["beijing"].Delete(t.Context(), cart()))
	gone(w, []string{"beijing"}, cart)
	w.says([]string{"shanghai", "shenzhen"}, no, v1alpha1.ReasonCopiesDiffer, "beijing does not have it")
	w.stays(all, "cart:3")
	must(t, w.regions["beijing"].Create(t.Context(), service("cart:3", all...)))
	w.says(all, yes, v1alpha1.ReasonCopiesAgree)
	w.configuration(func(c ownership.Configuration) error {
		if ids := named(c); len(ids) != 1 || ids[0] != uid {
			return fmt.Errorf("services %v, want %s alone", ids, uid)
		}
		return nil
	})

	must(t, w.regions["beijing"].Delete(t.Context(), cart()))
	must(t, w.regions["shanghai"].Delete(t.Context(), cart()))
	w.letGo(t)
	gone(w, all, slice)
	gone(w, []string{"beijing", "shanghai"}, cart)
	w.configuration(func(c ownership.Configuration) error {
		if len(c.Services)+len(c.ServiceIntents) > 0 {
			return fmt.Errorf("the store has services %v and intents %v", c.Services, c.ServiceIntents)
		}
		return nil
	})
	w.says([]string{"shenzhen"}, no, v1alpha1.ReasonNoMajority, "beijing, shanghai do not have it")

	t.Log("declared anew, it is another service")
	must(t, w.regions["shanghai"].Create(t.Context(), service("cart:3", all...)))
	w.runs(all, "cart:3")
	w.configuration(func(c ownership.Configuration) error {
		if ids := named(c); len(ids) != 1 || ids[0] == uid {
			return fmt.Errorf("services %v, want one that is not %s", ids, uid)
		}
		return nil
	})
}
