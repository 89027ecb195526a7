package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// parts are the objects of one mode, by what becomes of them.
type parts struct {
	crds, others []*unstructured.Unstructured
	deployment   *unstructured.Unstructured
	webhooks     []any
	// rules of the ClusterRoles that the manager's account has.
	rules []any
}

// leftOut: OLM's format knows no admission policies, and the namespace is there before the bundle.
var leftOut = []string{"Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

// assemble makes a bundle of one mode's objects.
func assemble(o *options, objects []*unstructured.Unstructured) (*bundle, error) {
	p, err := sortOut(o, objects)
	if err != nil {
		return nil, err
	}
	csv, err := o.clusterServiceVersion(p)
	if err != nil {
		return nil, err
	}
	b := &bundle{
		manifests:  map[string]any{o.packageName() + ".clusterserviceversion.yaml": csv},
		metadata:   map[string]any{"annotations.yaml": map[string]any{"annotations": o.annotations()}},
		dockerfile: o.dockerfile(),
	}
	for _, object := range slices.Concat(p.crds, p.others) {
		unstructured.RemoveNestedField(object.Object, "metadata", "namespace")
		unstructured.RemoveNestedField(object.Object, "metadata", "creationTimestamp")
		unstructured.RemoveNestedField(object.Object, "status")
		b.manifests[strings.ToLower(object.GetName()+"."+object.GetKind())+".yaml"] = object.Object
	}
	return b, nil
}

func sortOut(o *options, objects []*unstructured.Unstructured) (*parts, error) {
	p := &parts{}
	var role *unstructured.Unstructured
	account := o.packageName()
	for _, object := range objects {
		kind := object.GetKind()
		switch {
		case slices.Contains(leftOut, kind), kind == "ServiceAccount" && object.GetName() == account, belongsToTheWebhook(object):
		case kind == "CustomResourceDefinition":
			p.crds = append(p.crds, object)
		case kind == "Deployment":
			p.deployment = object
		case kind == "ValidatingWebhookConfiguration":
			p.webhooks, _, _ = unstructured.NestedSlice(object.Object, "webhooks")
		case kind == "ClusterRole" && object.GetName() == account:
			role = object
		case kind == "ClusterRoleBinding" && object.GetName() == account:
		default:
			p.others = append(p.others, object)
		}
	}
	if p.deployment == nil || role == nil || len(p.crds) == 0 {
		return nil, fmt.Errorf("kustomize says no Deployment, no ClusterRole %s or no CustomResourceDefinitions: is this config/%s", account, o.mode)
	}
	p.rules, _, _ = unstructured.NestedSlice(role.Object, "rules")
	return p, nil
}

// belongsToTheWebhook tells what OLM does in its own way: it makes the webhook's Service, certificate and configuration.
func belongsToTheWebhook(object *unstructured.Unstructured) bool {
	return object.GetName() == "multiactive-webhook"
}

// mode is what is said of one.
type mode struct{ title, summary, needs string }

const (
	storeNeeds  = "`MULTIACTIVE_MANAGER_COORDINATION_ENDPOINTS`: the client URLs of all members of the coordination store, an etcd with a member in every region"
	regionNeeds = storeNeeds + "\n- `MULTIACTIVE_MANAGER_REGION`: the name of the Region that this cluster is"
)

var modes = map[string]mode{
	"hub":    {"MultiActive hub", "reads MultiActiveServices, and writes what each region has to do into its cluster", storeNeeds},
	"member": {"MultiActive member", "does the work in one region's cluster: workload, gateways, topics, replication links", regionNeeds},
	"peer":   {"MultiActive peer", "hub and member, in every region's cluster: no loss of a region takes the hub along", regionNeeds},
}

// clusterServiceVersion is what OLM installs by.
func (o *options) clusterServiceVersion(p *parts) (map[string]any, error) {
	owned, err := ownedResources(p.crds)
	if err != nil {
		return nil, err
	}
	examples, err := o.examples()
	if err != nil {
		return nil, err
	}
	deployment, err := o.deployment(p)
	if err != nil {
		return nil, err
	}
	m := modes[o.mode]
	spec := map[string]any{
		"displayName":    m.title,
		"description":    description(m),
		"version":        o.version,
		"maturity":       "alpha",
		"minKubeVersion": "1.30.0",
		"provider":       map[string]any{"name": "MultiActive", "url": "https://multiactive.dev"},
		"links":          []any{map[string]any{"name": "Documentation", "url": "https://multiactive.dev/docs"}},
		"keywords":       []any{"multi-region", "active-active", "failover", "kafka", "replication"},
		"installModes": []any{
			map[string]any{"type": "OwnNamespace", "supported": false},
			map[string]any{"type": "SingleNamespace", "supported": false},
			map[string]any{"type": "MultiNamespace", "supported": false},
			map[string]any{"type": "AllNamespaces", "supported": true},
		},
		"customresourcedefinitions": map[string]any{"owned": owned},
		"install": map[string]any{
			"strategy": "deployment",
			"spec": map[string]any{
				"clusterPermissions": []any{map[string]any{"serviceAccountName": o.packageName(), "rules": p.rules}},
				"deployments":        []any{deployment},
			},
		},
		"relatedImages": []any{map[string]any{"name": "operator", "image": o.taggedImage()}},
	}
	if hooks := o.webhooks(p); hooks != nil {
		spec["webhookdefinitions"] = hooks
	}
	return map[string]any{
		"apiVersion": "operators.coreos.com/v1alpha1",
		"kind":       "ClusterServiceVersion",
		"metadata": map[string]any{
			"name":      o.packageName() + ".v" + o.version,
			"namespace": "placeholder",
			"annotations": map[string]any{
				"alm-examples":  examples,
				"capabilities":  "Deep Insights",
				"categories":    "Networking,Database,Streaming & Messaging",
				"description":   m.title + ": " + m.summary,
				"olm.skipRange": "<" + o.version,
				"operatorframework.io/suggested-namespace":        namespace,
				"operators.operatorframework.io/internal-objects": `["regionalservices.multiactive.dev","regionincidents.multiactive.dev","replicationlinks.multiactive.dev"]`,
			},
		},
		"spec": spec,
	}, nil
}

// namespace that the operator has to be installed in: its roles, and those that other clusters' hubs have here, name it.
const namespace = "multiactive-system"

func description(m mode) string {
	return `MultiActive lets a service live in several regions at once and survive the loss of one.

This operator ` + m.summary + `. Install it in the namespace ` + "`" + namespace + "`" + `, with these variables in ` + "`spec.config.env`" + `
of its Subscription (any other flag of the manager goes in the same way):

- ` + m.needs + `
`
}

// ownedResources describes the kinds for whoever lists them.
func ownedResources(crds []*unstructured.Unstructured) ([]any, error) {
	var out []any
	for _, crd := range crds {
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", crd.GetName(), err)
		}
		for _, v := range versions {
			version, _ := v.(map[string]any)
			text, _, _ := unstructured.NestedString(version, "schema", "openAPIV3Schema", "description")
			out = append(out, map[string]any{
				"name": crd.GetName(), "kind": kind, "version": version["name"], "displayName": kind,
				"description": strings.Join(strings.Fields(text), " "),
			})
		}
	}
	return out, nil
}

// exampleFiles of what users of a mode write.
var exampleFiles = []string{"examples/minimal/multiactiveservice.yaml", "examples/regions/beijing.yaml", "examples/regions/datastore.yaml", "examples/operations/drain.yaml"}

func (o *options) examples() (string, error) {
	var list []any
	for _, name := range exampleFiles {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("run this in the project's directory: %w", err)
		}
		var object map[string]any
		if err := yaml.Unmarshal(text, &object); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, object)
	}
	text, err := json.MarshalIndent(list, "", "  ")
	return string(text), err
}
