package hub_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/testkit"
)

// announces tells users of a service something for an hour.
func announces(service *v1alpha1.ServiceKey, says string, flows ...string) v1alpha1.OperationSpec {
	return v1alpha1.OperationSpec{Type: v1alpha1.OperationAnnounce, Service: service, Announce: &v1alpha1.AnnounceSpec{
		Text: []v1alpha1.LocalizedText{{Language: "en", Value: says}}, Duration: &metav1.Duration{Duration: time.Hour}, Flows: flows,
	}}
}

// says waits until the regions' slices have these announcements and no others.
func (w *running) says(region string, texts ...string) {
	w.t.Helper()
	eventually(w.world, w.regions[region], slice(), func(s *v1alpha1.RegionalService) error { return saying(s, texts) })
}

func saying(s *v1alpha1.RegionalService, texts []string) error {
	var got []string
	for _, a := range s.Spec.Announcements {
		got = append(got, strings.Join(a.Flows, ",")+": "+a.Text[0].Value)
	}
	if strings.Join(got, "; ") != strings.Join(texts, "; ") {
		return fmt.Errorf("the slice says %q, want %q", got, texts)
	}
	return nil
}

// tells waits until there is such an event about an order, and reports how many there are about it.
func (w *running) tells(o *v1alpha1.Operation, kind, reason string) (all int) {
	w.t.Helper()
	testkit.Eventually(w.t, soon, func() error {
		var list eventsv1.EventList
		if err := w.hub.List(w.t.Context(), &list); err != nil {
			return err
		}
		found, seen := false, []string{}
		for _, e := range list.Items {
			if e.Regarding.UID == o.UID {
				seen = append(seen, e.Type+" "+e.Reason+" "+e.Action)
				found = found || e.Type == kind && e.Reason == reason && e.Action == string(o.Spec.Type)
			}
		}
		if all = len(seen); !found {
			return fmt.Errorf("events about order %s: %q, want %s %s", o.Name, seen, kind, reason)
		}
		return nil
	})
	return all
}

// TestAnnounce has users told something for a while, in every way that it ends.
func TestAnnounce(t *testing.T) {
	const beijing, shanghai = "beijing", "shanghai"
	w := newRunning(t, beijing, shanghai)
	declare := func(says string) {
		w.change(w.mas, func(spec *v1alpha1.MultiActiveServiceSpec) {
			spec.Announcements = []v1alpha1.Announcement{{Flows: []string{"order"}, Text: []v1alpha1.LocalizedText{{Language: "en", Value: says}}}}
		})
	}
	declare("Declared.")
	w.says(beijing, "order: Declared.")

	order := announces(w.key(), "Come back at ten.", "order")
	order.Announce.Regions = []string{beijing}
	first := w.order(order)
	w.comesTo(first, v1alpha1.OperationRunning, v1alpha1.ReasonAnnounced, "gateways have it in beijing;")
	w.says(beijing, "order: Come back at ten.", "order: Declared.")
	w.says(shanghai, "order: Declared.")

	t.Run("a declaration that is applied again undoes nothing", func(*testing.T) {
		declare("Declared again.")
		w.says(beijing, "order: Come back at ten.", "order: Declared again.")
		w.says(shanghai, "order: Declared again.")
	})
	// Of two that were ordered in the same second, which is as exact as an API server is, either may be the later one.
	testkit.Eventually(t, soon, func() error {
		if time.Now().Unix() <= first.CreationTimestamp.Unix() {
			return errNotYet
		}
		return nil
	})
	second := w.order(announces(w.key(), "Come back at noon."))
	t.Run("a later one takes its place", func(t *testing.T) {
		w.comesTo(first, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "Operation "+second.Name)
		for _, region := range []string{beijing, shanghai} {
			w.says(region, "*: Come back at noon.")
		}
		w.comesTo(second, v1alpha1.OperationRunning, v1alpha1.ReasonAnnounced, "in beijing, shanghai;")
		w.tells(first, corev1.EventTypeNormal, v1alpha1.ReasonOrderSucceeded)
		if n := w.tells(first, corev1.EventTypeNormal, v1alpha1.ReasonOrderRunning); n != 2 {
			t.Errorf("%d events about an order that was taken up and has ended, want 2", n)
		}
	})
	t.Run("it outlives the hub, and ends by itself at its time", func(t *testing.T) {
		until := second.CreationTimestamp.Add(time.Hour)
		w.restartHub(func() {
			w.clock.by.Store(int64(time.Until(until) - 10*time.Second))
			w.says(shanghai, "*: Come back at noon.")
		})
		declare("Declared anew.") // so that the new hub is seen to have looked at the service
		eventually(w.world, w.hub, w.mas, func(m *v1alpha1.MultiActiveService) error {
			if m.Status.ObservedGeneration != m.Generation {
				return errNotYet
			}
			return nil
		})
		w.says(shanghai, "*: Come back at noon.")
		testkit.Eventually(t, soon, func() error {
			s := slice()
			if err := w.regions[shanghai].Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
				return err
			}
			err := saying(s, []string{"order: Declared anew."})
			if now := w.clock.Now(); err == nil && now.Before(until) {
				t.Errorf("it ended %s before its time", until.Sub(now))
			}
			return err
		})
		w.comesTo(second, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "until its time was up")
		w.clock.by.Store(0)
	})
	t.Run("it is ended", func(*testing.T) {
		o := w.order(announces(w.key(), "Wait."))
		w.says(beijing, "*: Wait.")
		must(w.t, w.hub.Patch(w.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"announce":{"course":"End"}}}`))))
		w.says(beijing, "order: Declared anew.")
		w.comesTo(o, v1alpha1.OperationSucceeded, v1alpha1.ReasonOrderSucceeded, "course says End")
	})
	t.Run("it is deleted while there is no hub", func(*testing.T) {
		o := w.order(announces(w.key(), "Wait longer."))
		w.says(beijing, "*: Wait longer.")
		w.restartHub(func() { must(w.t, w.hub.Delete(w.t.Context(), o)) })
		w.says(beijing, "order: Declared anew.")
	})
	t.Run("one for a flow that is not there is refused", func(*testing.T) {
		o := w.order(announces(w.key(), "Wait.", "pay"))
		w.comesTo(o, v1alpha1.OperationRefused, v1alpha1.ReasonOrderInvalid, "spec.announce.flows", "has no flow pay")
		w.tells(o, corev1.EventTypeWarning, v1alpha1.ReasonOrderInvalid)
		w.says(beijing, "order: Declared anew.")
	})
	w.noOrders()
}
