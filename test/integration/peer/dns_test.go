package peer_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/dns"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/crds"
)

// TestDNS has every peer keep the same records in its own cluster, with the rights that it is installed with.
func TestDNS(t *testing.T) {
	w := newWorld(t, "beijing", "shanghai", "shenzhen")
	w.serving()
	root, err := binaries.ModuleRoot()
	must(t, err)
	for _, name := range w.names {
		_, err := crds.InstallDir(t.Context(), testkit.Config(t, w.servers[name], apiserver.Admin), filepath.Join(root, "test", "integration", "hub", "testdata"))
		must(t, err)
	}
	w.everywhere(func(c client.Client) error {
		shop := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop"}}}
		return c.Patch(t.Context(), shop, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationDNSHosts+`":"cart.example.com"}}}`)))
	})
	w.everywhere(func(c client.Client) error {
		mas := service("cart:1", w.names...)
		mas.Spec.DNS = &v1alpha1.DNS{Host: "cart.example.com"}
		return c.Create(t.Context(), mas)
	})
	w.runs(w.names, "cart:1")
	w.members(w.names)
	w.ready(w.names)
	w.records(w.names)

	t.Log("a region is drained: every cluster's records leave it out, those of its own as well")
	away := w.others(w.leader())[0]
	w.in([]string{w.leader()}, func(c client.Client) error { return c.Create(t.Context(), drain(away)) })
	w.records(w.others(away))
}

// records waits until every cluster's own object has a record for each of the regions, and belongs to its copy.
func (w *world) records(regions []string) {
	w.t.Helper()
	for _, name := range w.names {
		eventually(w, []string{name}, func() *unstructured.Unstructured { return dns.Empty(cart()) }, func(o *unstructured.Unstructured) error {
			mas := cart()
			if err := w.regions[name].Get(w.t.Context(), client.ObjectKeyFromObject(mas), mas); err != nil {
				return err
			}
			want := dns.Endpoint(mas, mas.UID, regions)
			if owner := metav1.GetControllerOf(o); owner == nil || owner.UID != mas.UID || !reflect.DeepEqual(o.Object["spec"], want.Object["spec"]) {
				return fmt.Errorf("it is %v, want %v", o.Object, want.Object)
			}
			return is(mas.Status.Conditions, v1alpha1.ConditionDNSReady, yes, v1alpha1.ReasonAsDeclared)
		})
	}
}
