// Package chart_test renders the Helm chart and the kustomize bases with the pinned tools, and
// applies what comes out to a real API server, strictly.
package chart_test

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"multiactive.dev/operator/controllers/member/acting"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
)

const namespace = "multiactive-system"

// kubeVersion is the version that the chart is rendered for.
const kubeVersion = "1.36.0"

var endpoints = []string{"--set", "coordination.endpoints={https://etcd.north:2379,https://etcd.south:2379}"}

func TestManifestsApply(t *testing.T) {
	chart := func(arguments ...string) []string {
		all := append([]string{"helm", "template", "release", "charts/multiactive", "--include-crds", "--namespace", namespace, "--kube-version", kubeVersion}, endpoints...)
		return append(all, arguments...)
	}
	store := func(arguments ...string) []string {
		return append([]string{"helm", "template", "release", "charts/multiactive", "--include-crds", "--namespace", namespace, "--kube-version", kubeVersion,
			"--values", storeValues}, arguments...)
	}
	tests := map[string]struct {
		command []string
		// want are kind/name of objects that must be there, not those that must not.
		want, not []string
	}{
		"chart, hub": {
			command: chart(),
			want: []string{
				"Deployment/multiactive-hub", "ClusterRole/multiactive-hub", "CustomResourceDefinition/regions.multiactive.dev",
				"ValidatingWebhookConfiguration/multiactive", "Service/multiactive-webhook", "Secret/multiactive-webhook", "Role/multiactive-webhook",
			},
		},
		"chart, hub without a webhook": {
			command: chart("--set", "webhook.enabled=false"),
			want:    []string{"Deployment/multiactive-hub"},
			not:     []string{"ValidatingWebhookConfiguration/multiactive", "Secret/multiactive-webhook", "ClusterRole/multiactive-webhook"},
		},
		"chart, member with TLS": {
			command: chart("--set", "mode=member", "--set", "region=north", "--set", "coordination.tls.secretName=etcd"),
			want:    []string{"Deployment/multiactive-member", "Service/multiactive-member-agent", "ClusterRole/multiactive-member", "ClusterRole/multiactive-hub-access"},
		},
		"chart, hub with a member of the store": {
			command: store("--set", "region=beijing"),
			want:    append([]string{"Deployment/multiactive-hub"}, storeObjects...),
		},
		"chart, member with a member of the store": {
			command: store("--set", "mode=member", "--set", "region=shanghai", "--set", "coordination.server.storage.storageClassName=fast",
				"--set", "coordination.server.service.type=NodePort", "--set", "coordination.server.service.peerNodePort=32380",
				"--set", "coordination.server.priorityClassName=system-cluster-critical", "--set", "coordination.server.nodeSelector.disk=fast",
				"--set", "coordination.server.podLabels.team=a", "--set", "coordination.server.service.annotations.a=b"),
			want: append([]string{"Deployment/multiactive-member", "Service/multiactive-member-agent"}, storeObjects...),
		},
		"chart, witness without TLS": {
			command: append(chart("--set", "mode=witness", "--set", "region=north"), insecureStore...),
			want:    storeObjects,
			not:     []string{"Deployment/multiactive-witness", "ServiceAccount/multiactive-witness"},
		},
		"chart, peer": {
			command: chart("--set", "mode=peer", "--set", "region=north", "--set", "coordination.tls.secretName=etcd"),
			want: []string{
				"Deployment/multiactive-peer", "Service/multiactive-peer-agent", "ClusterRole/multiactive-peer", "Role/multiactive-peer", "ClusterRole/multiactive-hub-access",
				"ValidatingWebhookConfiguration/multiactive",
			},
		},
		"chart, hub with the resources in its release": {
			command: slices.DeleteFunc(chart("--set", "crds.managed=true", "--set", "priorityClassName=system-cluster-critical"),
				func(argument string) bool { return argument == "--include-crds" }),
			want: []string{"Deployment/multiactive-hub", "CustomResourceDefinition/regions.multiactive.dev", "CustomResourceDefinition/multiactiveservices.multiactive.dev"},
		},
		"chart, peer with all options": {
			command: store("--set", "mode=peer", "--set", "region=shanghai", "--set", "monitoring.dashboards.enabled=true", "--set", "peerCertificates.lifetime=48h",
				"--set", "topologySpreadConstraints[0].maxSkew=1,topologySpreadConstraints[0].topologyKey=zone,topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
				"--set", "imagePullSecrets[0].name=pull", "--set", "podAnnotations.a=b", "--set", "podLabels.a=b", "--set", "nodeSelector.a=b", "--set", "tolerations[0].key=a",
				"--set", "agent.service.type=LoadBalancer", "--set", "agent.service.annotations.a=b", "--set", "gateway.args={--access-log}", "--set", "mirrorMaker.image=kafka:4",
				"--set", "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=a",
				"--set", "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists"),
			want: append([]string{
				"Deployment/multiactive-peer", "ConfigMap/multiactive-dashboard-overview", "ConfigMap/multiactive-dashboard-gateways", "ConfigMap/multiactive-dashboard-replication",
				"ValidatingAdmissionPolicy/multiactive-slices", "ValidatingAdmissionPolicyBinding/multiactive-links", "Pod/multiactive-peer-check",
			}, storeObjects...),
		},
		"kustomize, peer": {
			command: []string{"kustomize", "build", "config/peer"},
			want: []string{
				"Namespace/multiactive-system", "Deployment/multiactive-peer", "Service/multiactive-peer-agent", "ClusterRole/multiactive-peer", "ClusterRole/multiactive-hub-access",
			},
		},
		"kustomize, hub": {
			command: []string{"kustomize", "build", "config/hub"},
			want:    []string{"Namespace/multiactive-system", "Deployment/multiactive-hub", "ClusterRole/multiactive-hub"},
		},
		"kustomize, member": {
			command: []string{"kustomize", "build", "config/member"},
			want: []string{
				"Deployment/multiactive-member", "Service/multiactive-member-agent", "ClusterRole/multiactive-hub-access",
				"ValidatingAdmissionPolicy/multiactive-slices", "ValidatingAdmissionPolicy/multiactive-links",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			manifests := run(t, tt.command[0], tt.command[1:]...)
			newCluster(t, testkit.StartServer(t, apiserver.Options{})).checkApplies(t, manifests, tt.want, tt.not)
		})
	}
}

// Of the members one acts and marks its Pod: gateways must be led to it alone, and it must know
// which Pod is its own.
func TestGatewaysAreLedToTheActingMember(t *testing.T) {
	chart := func(mode string) []string {
		return append([]string{
			"helm", "template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion, "--set", "mode=" + mode, "--set", "region=north",
		}, endpoints...)
	}
	for name, tt := range map[string]struct {
		mode      string
		arguments []string
	}{
		"chart, member":     {"member", chart("member")},
		"chart, peer":       {"peer", chart("peer")},
		"kustomize, member": {"member", []string{"kustomize", "build", "config/member"}},
		"kustomize, peer":   {"peer", []string{"kustomize", "build", "config/peer"}},
	} {
		t.Run(name, func(t *testing.T) {
			ours := "multiactive-" + tt.mode
			var selected, template map[string]string
			env, grants := map[string]string{}, false
			for _, o := range decode(t, run(t, tt.arguments[0], tt.arguments[1:]...)) {
				switch o.GetKind() + "/" + o.GetName() {
				case "Service/" + ours + "-agent":
					selected, _, _ = unstructured.NestedStringMap(o.Object, "spec", "selector")
				case "Role/" + ours:
					text, err := o.MarshalJSON()
					grants = err == nil && strings.Contains(string(text), `"pods"`) && strings.Contains(string(text), `"patch"`)
				case "Deployment/" + ours:
					template, _, _ = unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
					containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
					list, _, _ := unstructured.NestedSlice(containers[0].(map[string]any), "env")
					for _, v := range list {
						from, _, _ := unstructured.NestedString(v.(map[string]any), "valueFrom", "fieldRef", "fieldPath")
						env[v.(map[string]any)["name"].(string)] = from
					}
				}
			}
			if selected[acting.Label] != acting.Value {
				t.Errorf("the agent's Service selects %v, want %s=%s", selected, acting.Label, acting.Value)
			}
			for key, value := range selected {
				if key != acting.Label && template[key] != value {
					t.Errorf("the agent's Service selects %s=%s, and Pods have %v", key, value, template)
				}
			}
			if _, marked := template[acting.Label]; marked {
				t.Error("every Pod is marked")
			}
			if env["POD_NAME"] != "metadata.name" || env["POD_NAMESPACE"] != "metadata.namespace" || env["POD_UID"] != "metadata.uid" {
				t.Errorf("the environment has %v", env)
			}
			if !grants {
				t.Error("no Role lets the member patch Pods of its namespace")
			}
		})
	}
}

// The image for MirrorMaker reaches the members, and no other is made up.
func TestMirrorMakerImage(t *testing.T) {
	for name, tt := range map[string]struct {
		arguments []string
		want      string
	}{
		"none":  {nil, ""},
		"given": {[]string{"--set", "mirrorMaker.image=registry.example.com/kafka:4.3.1"}, "--mirrormaker-image=registry.example.com/kafka:4.3.1"},
	} {
		arguments := append([]string{"template", "release", "charts/multiactive", "--namespace", namespace, "--kube-version", kubeVersion, "--set", "mode=member", "--set", "region=north"}, endpoints...)
		got := ""
		for _, o := range decode(t, run(t, "helm", append(arguments, tt.arguments...)...)) {
			if o.GetKind() != "Deployment" {
				continue
			}
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
			for _, arg := range args {
				if strings.HasPrefix(arg, "--mirrormaker-image") {
					got = arg
				}
			}
		}
		if got != tt.want {
			t.Errorf("%s: the member is given %q, want %q", name, got, tt.want)
		}
	}
}

func TestChartPassesLint(t *testing.T) {
	run(t, "helm", append([]string{"lint", "--strict", "charts/multiactive", "--kube-version", kubeVersion}, endpoints...)...)
}

func TestBadValuesAreRefusedByName(t *testing.T) {
	tests := map[string]struct {
		arguments []string
		want      string
	}{
		"no coordination store":       {nil, "/coordination/endpoints"},
		"an endpoint without scheme":  {[]string{"--set", "coordination.endpoints={etcd:2379}"}, "/coordination/endpoints/0"},
		"a member without its region": {append([]string{"--set", "mode=member"}, endpoints...), "/region"},
		"a peer without its region":   {append([]string{"--set", "mode=peer"}, endpoints...), "/region"},
		"an unknown mode":             {append([]string{"--set", "mode=both"}, endpoints...), "/mode"},
		"a value that does not exist": {append([]string{"--set", "regoin=north"}, endpoints...), "regoin"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			arguments := append([]string{"template", "release", "charts/multiactive", "--kube-version", kubeVersion}, tt.arguments...)
			out, err := command(t, "helm", arguments...).CombinedOutput()
			if err == nil {
				t.Fatal("rendered, want it refused")
			}
			if !strings.Contains(string(out), tt.want) {
				t.Errorf("refused with\n%s\nwant it to name %s", out, tt.want)
			}
		})
	}
}

type cluster struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func newCluster(t *testing.T, server *apiserver.Server) cluster {
	t.Helper()
	config := testkit.Config(t, server, apiserver.Admin)
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))}
	home := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}}}
	c.apply(t, home)
	return c
}

func (c cluster) checkApplies(t *testing.T, manifests []byte, want, not []string) {
	t.Helper()
	got := map[string]bool{}
	for _, object := range decode(t, manifests) {
		c.apply(t, object)
		got[object.GetKind()+"/"+object.GetName()] = true
	}
	for _, name := range want {
		if !got[name] {
			t.Errorf("%s is not there; there are %v", name, got)
		}
	}
	for _, name := range not {
		if got[name] {
			t.Errorf("%s is there", name)
		}
	}
}

func (c cluster) apply(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	var target dynamic.ResourceInterface = c.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		target = c.client.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	data, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	force := true
	if _, err := target.Patch(t.Context(), object.GetName(), types.ApplyPatchType, data, metav1.PatchOptions{
		FieldManager: "test", Force: &force, FieldValidation: metav1.FieldValidationStrict,
	}); err != nil {
		t.Errorf("applying %s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

func decode(t *testing.T, manifests []byte) []*unstructured.Unstructured {
	t.Helper()
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		switch {
		case errors.Is(err, io.EOF):
			return objects
		case err != nil:
			t.Fatal(err)
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}

func run(t *testing.T, tool string, arguments ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	c := command(t, tool, arguments...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", tool, strings.Join(arguments, " "), err, out, stderr.Bytes())
	}
	return out
}

// command runs a pinned tool in the module's root.
func command(t *testing.T, tool string, arguments ...string) *exec.Cmd {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "bin", "tools", tool)
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("%v: run `make setup-test`", err)
	}
	c := exec.CommandContext(t.Context(), path, arguments...)
	c.Dir = root
	return c
}
