package chart_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/desired/regional"
)

// monitor is the part of a PodMonitor that says whom it scrapes.
type monitor struct {
	selector labels.Selector
	port     string
	// added are the labels that its series get.
	added []string
}

func monitors(t *testing.T, manifests []byte) map[string]monitor {
	t.Helper()
	all := map[string]monitor{}
	for _, o := range decode(t, manifests) {
		if o.GetKind() != "PodMonitor" {
			continue
		}
		matched, _, err := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
		if err != nil {
			t.Fatal(err)
		}
		endpoints, _, err := unstructured.NestedSlice(o.Object, "spec", "podMetricsEndpoints")
		if err != nil || len(endpoints) != 1 {
			t.Fatalf("%s has %d endpoints: %v", o.GetName(), len(endpoints), err)
		}
		endpoint := endpoints[0].(map[string]any)
		if endpoint["honorLabels"] != true {
			t.Errorf("%s: what series say of themselves is overwritten", o.GetName())
		}
		m := monitor{selector: labels.SelectorFromSet(matched), port: endpoint["port"].(string)}
		for _, r := range endpoint["relabelings"].([]any) {
			if target, has := r.(map[string]any)["targetLabel"]; has {
				m.added = append(m.added, target.(string))
			}
		}
		all[o.GetName()] = m
	}
	return all
}

// Every program that has metrics is scraped by one monitor, at a port that its Pods have.
func TestMonitorsFindThePods(t *testing.T) {
	gateway := regional.GatewayDeployment(&v1alpha1.RegionalService{ObjectMeta: metav1.ObjectMeta{Namespace: "accounts", Name: "user"}}, regional.Options{})
	_, mirror := regional.MirrorObjects(regional.Options{OperatorNamespace: namespace}, regional.Mirror{From: "shanghai"})
	ofRegion := map[string]corev1.Pod{
		"gateways": {ObjectMeta: gateway.Spec.Template.ObjectMeta, Spec: gateway.Spec.Template.Spec},
		"mirrors":  {ObjectMeta: mirror.Spec.Template.ObjectMeta, Spec: mirror.Spec.Template.Spec},
	}
	for mode, want := range map[string]map[string][]string{
		"hub":     {"multiactive-hub": {"region"}, "multiactive-hub-coordination": {"region"}},
		"witness": {"multiactive-witness-coordination": {"region"}},
		"member": {
			"multiactive-member": {"region"}, "multiactive-member-coordination": {"region"},
			"multiactive-member-gateways": {"region", "service"}, "multiactive-member-mirrors": {"region"},
		},
		"peer": {
			"multiactive-peer": {"region"}, "multiactive-peer-coordination": {"region"},
			"multiactive-peer-gateways": {"region", "service"}, "multiactive-peer-mirrors": {"region"},
		},
	} {
		t.Run(mode, func(t *testing.T) {
			manifests := run(t, "helm", "template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion,
				"--values", storeValues, "--set", "mode="+mode, "--set", "region=beijing", "--set", "monitoring.podMonitor.enabled=true")
			all, got := monitors(t, manifests), map[string][]string{}
			for name, m := range all {
				got[name] = m.added
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the labels that are added (-want +got)\n%s", diff)
			}
			pods := podsOf(t, manifests)
			if _, region := all["multiactive-"+mode+"-gateways"]; region {
				maps.Copy(pods, ofRegion)
			}
			for name, pod := range pods {
				if strings.HasSuffix(name, "-check") {
					continue
				}
				var by []string
				for monitor, m := range all {
					if m.selector.Matches(labels.Set(pod.Labels)) {
						by = append(by, monitor)
						if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == m.port }) {
							t.Errorf("%s scrapes the port %s of %s, which has none of that name", monitor, m.port, name)
						}
					}
				}
				if len(by) != 1 {
					t.Errorf("the Pods of %s are scraped by %v", name, by)
				}
			}
		})
	}
}
