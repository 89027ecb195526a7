package hub_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/dns"
	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/crds"
)

// TestDNS has a service's records follow its regions, in a cluster in which ExternalDNS is installed late.
func TestDNS(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai")
	for _, name := range []string{"beijing", "shanghai"} {
		w.leader.agent(name)
		w.region(name)
		w.namespace(w.regions[name], "shop")
	}
	w.leader.commit(map[string]ownership.RegionRecord{"beijing": serving(), "shanghai": serving()})
	w.namespace(w.hub, "shop")
	w.annotate(namespaced("shop"), `{"metadata":{"labels":{"multi":"yes"}}}`)
	mas := service("beijing", "shanghai")
	mas.Spec.Regions[0].Weight, mas.Spec.Regions[1].Weight = ptr.To[int32](75), ptr.To[int32](25)
	mas.Spec.DNS = &v1alpha1.DNS{Host: "cart.example.com", TTL: &metav1.Duration{Duration: time.Minute}}
	must(t, w.hub.Create(t.Context(), mas))
	says := func(status metav1.ConditionStatus, reason string, words ...string) {
		t.Helper()
		eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
			return is(m.Status.Conditions, v1alpha1.ConditionDNSReady, status, reason, words...)
		})
	}

	t.Log("the namespace may not have the name, then ExternalDNS is not there: the service is none the worse")
	says(no, v1alpha1.ReasonHostNotAllowed, "cart.example.com", v1alpha1.AnnotationDNSHosts)
	w.annotate(namespaced("shop"), `{"metadata":{"annotations":{"multiactive.dev/dns-hosts":"*.example.com"}}}`)
	says(no, v1alpha1.ReasonExternalDNSMissing, "dnsendpoints.externaldns.k8s.io", "--source=crd")
	w.member("beijing", yes)
	w.member("shanghai", yes)
	eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
		return is(m.Status.Conditions, v1alpha1.ConditionReady, yes, v1alpha1.ReasonAsDeclared)
	})

	t.Log("somebody else's object of that name is left alone")
	w.installExternalDNS()
	foreign := dns.Empty(mas)
	foreign.Object["spec"] = map[string]any{"endpoints": []any{map[string]any{"dnsName": "other.example.com"}}}
	must(t, w.hub.Create(t.Context(), foreign))
	w.poke(mas, "1")
	says(no, v1alpha1.ReasonNotOurs, "shop/cart", "left alone")
	must(t, w.hub.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign))
	if len(foreign.GetLabels()) > 0 || foreign.GetGeneration() != 1 {
		t.Errorf("it was written: %v", foreign.Object)
	}
	must(t, w.hub.Delete(t.Context(), foreign))

	t.Log("a record for each region that serves, and nothing is written while nothing changes")
	w.poke(mas, "2")
	says(yes, v1alpha1.ReasonAsDeclared, "cart.example.com lead to beijing, shanghai")
	beijing, shanghai := record("beijing", "75"), record("shanghai", "25")
	obj := w.records(mas, beijing, shanghai)
	if owner := metav1.GetControllerOf(obj); owner == nil || owner.UID != mas.UID {
		t.Errorf("it belongs to %+v", owner)
	}
	version := obj.GetResourceVersion()
	w.poke(mas, "3")
	testkit.Consistently(t, 2*time.Second, func() error {
		if now := w.records(mas, beijing, shanghai).GetResourceVersion(); now != version {
			return fmt.Errorf("written again: version %s, was %s", now, version)
		}
		return nil
	})

	t.Log("a region that is lost is left out, the last is not, and one that is back is back")
	lost := serving()
	lost.State, lost.Unshipped, lost.LostEpoch = ownership.RegionLost, true, 1
	w.leader.commit(map[string]ownership.RegionRecord{"beijing": lost})
	says(yes, v1alpha1.ReasonAsDeclared, "lead to shanghai; left out: beijing (lost)")
	w.records(mas, shanghai)
	w.leader.commit(map[string]ownership.RegionRecord{"shanghai": lost})
	says(no, v1alpha1.ReasonNoServingRegion)
	w.records(mas, shanghai)
	w.leader.commit(map[string]ownership.RegionRecord{"beijing": serving(), "shanghai": serving()})
	w.records(mas, beijing, shanghai)

	t.Log("what somebody changes is put back")
	obj = w.records(mas, beijing, shanghai)
	must(t, unstructured.SetNestedSlice(obj.Object, []any{beijing, shanghai, record("elsewhere", "1")}, "spec", "endpoints"))
	must(t, w.hub.Update(t.Context(), obj))
	w.poke(mas, "4")
	w.records(mas, beijing, shanghai)

	t.Log("a younger service has not the same records; nor has an older one of a namespace that may not have them")
	w.namespace(w.hub, "greedy")
	second := service("beijing", "shanghai")
	second.Namespace, second.Spec.DNS = "greedy", mas.Spec.DNS.DeepCopy()
	must(t, w.hub.Create(t.Context(), second))
	of := func(mas *v1alpha1.MultiActiveService, status metav1.ConditionStatus, reason string, words ...string) {
		t.Helper()
		eventually(w, w.hub, mas, func(m *v1alpha1.MultiActiveService) error {
			return is(m.Status.Conditions, v1alpha1.ConditionDNSReady, status, reason, words...)
		})
	}
	of(second, no, v1alpha1.ReasonHostNotAllowed)
	w.annotate(namespaced("greedy"), `{"metadata":{"annotations":{"multiactive.dev/dns-hosts":"*.example.com"}}}`)
	of(second, no, v1alpha1.ReasonHostTaken, "shop/cart", "cart.example.com")
	w.annotate(namespaced("shop"), `{"metadata":{"annotations":{"multiactive.dev/dns-hosts":"*.example.org"}}}`)
	says(no, v1alpha1.ReasonHostNotAllowed)
	w.poke(second, "1")
	of(second, no, v1alpha1.ReasonProgressing)
	w.annotate(namespaced("shop"), `{"metadata":{"annotations":{"multiactive.dev/dns-hosts":"*.example.com"}}}`)
	says(yes, v1alpha1.ReasonAsDeclared)
	must(t, w.hub.Delete(t.Context(), second))

	t.Log("declared no more, it goes")
	w.change(mas, func(spec *v1alpha1.MultiActiveServiceSpec) { spec.DNS = nil })
	says(yes, v1alpha1.ReasonNoDNS)
	if err := w.hub.Get(t.Context(), client.ObjectKeyFromObject(mas), dns.Empty(mas)); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func record(region, weight string) map[string]any {
	return map[string]any{
		"dnsName": "cart.example.com", "recordType": "CNAME", "recordTTL": int64(60), "setIdentifier": region,
		"targets":          []any{"cart." + region + ".example.com"},
		"providerSpecific": []any{map[string]any{"name": "aws/weight", "value": weight}},
	}
}

// records waits until the service's DNSEndpoint has these records and no others.
func (w *world) records(mas *v1alpha1.MultiActiveService, want ...any) *unstructured.Unstructured {
	w.t.Helper()
	obj := dns.Empty(mas)
	eventually(w, w.hub, obj, func(o *unstructured.Unstructured) error {
		have, _, err := unstructured.NestedSlice(o.Object, "spec", "endpoints")
		if err == nil && !reflect.DeepEqual(have, want) {
			err = fmt.Errorf("the records are %v, want %v", have, want)
		}
		return err
	})
	return obj
}

// poke has the hub look at the service now, and not in a minute.
func (w *world) poke(mas *v1alpha1.MultiActiveService, value string) {
	w.t.Helper()
	w.annotate(mas, `{"metadata":{"annotations":{"test/poke":"`+value+`"}}}`)
}

func (w *world) annotate(o client.Object, patch string) {
	w.t.Helper()
	must(w.t, w.hub.Patch(w.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

func (w *world) installExternalDNS() {
	w.t.Helper()
	root, err := binaries.ModuleRoot()
	must(w.t, err)
	names, err := crds.InstallDir(w.t.Context(), testkit.Config(w.t, w.servers["hub"], apiserver.Admin), filepath.Join(root, "test", "integration", "hub", "testdata"))
	if err != nil || len(names) != 1 {
		w.t.Fatalf("installed %v, %v", names, err)
	}
}
