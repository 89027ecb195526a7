package world

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/api/v1alpha1"
)

const service = `apiVersion: multiactive.dev/v1alpha1
kind: MultiActiveService
metadata: {name: shop, namespace: store}
spec:
  regions:
  - name: east
    endpoint: https://shop.east.example.com
    overrides: {env: [{name: KAFKA, value: "kafka.east.svc:9092,other:1"}, {name: SERVERS, value: "k1.east.example.com:9094"}]}
  - {name: west, endpoint: "https://shop.west.example.com"}
  workload:
    type: Managed
    template: {spec: {containers: [{name: a, image: one}]}}
    additional: [{name: b, template: {spec: {containers: [{name: c, image: two}]}}}]
`

const region = `apiVersion: multiactive.dev/v1alpha1
kind: Region
metadata: {name: east}
spec: {displayName: 东, kafka: {bootstrapServers: ["k1.east.example.com:9094"]}}
`

// write puts files below a directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, files map[string]string) *Manifest {
	t.Helper()
	m, err := ReadManifest(filepath.Join(write(t, files), "shop", "service.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifestMovesIntoThePlayground(t *testing.T) {
	t.Parallel()
	m := read(t, map[string]string{"shop/service.yaml": service, "regions/east.yaml": region})
	if diff := cmp.Diff([]string{"one", "two"}, m.Images()); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	err := m.move(0, []*Region{{Name: "east", network: network{11}}, {Name: "south", network: network{12}}, {Name: "north", network: network{13}}})
	if err != nil {
		t.Fatal(err)
	}
	spec := m.Service.Spec
	if diff := cmp.Diff([]string{"east", "south", "north"}, m.RegionNames()); diff != "" {
		t.Errorf("regions (-want +got):\n%s", diff)
	}
	for i, want := range []string{"http://127.11.0.80:8080", "http://127.12.0.80:8080", "http://127.13.0.80:8080"} {
		if got := spec.Regions[i].Endpoint; got != want {
			t.Errorf("endpoint %d is %s, want %s", i, got, want)
		}
		if got := spec.Regions[i].PeerEndpoint; got != "" {
			t.Errorf("peerEndpoint %d is %s, and the service has no peerTLS", i, got)
		}
	}
	env, err := json.Marshal(spec.Regions[0].Overrides.Env)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"KAFKA","value":"127.11.0.5:9092,other:1"},{"name":"SERVERS","value":"127.11.0.5:9092"}]`
	if diff := cmp.Diff(want, string(env)); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

func TestManifestMovesPeerEndpoints(t *testing.T) {
	t.Parallel()
	m := read(t, map[string]string{"shop/service.yaml": service})
	m.Service.Spec.Gateway = &v1alpha1.Gateway{PeerTLS: &v1alpha1.PeerTLS{}}
	if err := m.move(1, []*Region{{Name: "east", network: network{11}}, {Name: "south", network: network{12}}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"https://127.11.0.81:8443", "https://127.12.0.81:8443"} {
		if got := m.Service.Spec.Regions[i].PeerEndpoint; got != want {
			t.Errorf("peerEndpoint %d is %s, want %s", i, got, want)
		}
	}
}

func TestManifestBringsWhatTheServiceNeeds(t *testing.T) {
	t.Parallel()
	kinds := func(m *Manifest) []string {
		var out []string
		for _, o := range m.tenantObjects() {
			out = append(out, o.GetObjectKind().GroupVersionKind().Kind+" "+o.GetName())
		}
		return out
	}
	own := read(t, map[string]string{
		"shop/service.yaml":   service + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: vault, namespace: store}\n",
		"shop/namespace.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: store}\n",
	})
	if diff := cmp.Diff([]string{"Namespace store", "Secret vault"}, kinds(own)); diff != "" {
		t.Errorf("own namespace (-want +got):\n%s", diff)
	}
	none := read(t, map[string]string{"shop/service.yaml": service})
	objects := none.tenantObjects()
	if len(objects) != 1 || objects[0].GetName() != "store" || objects[0].GetLabels()[labelAllowed] != "allowed" {
		t.Errorf("a namespace in which services may run should be made up, got %v", objects)
	}
	none.Service.Spec.Workload.ServiceAccountName = "writer"
	if got := len(none.tenantObjects()); got != 4 {
		t.Errorf("namespace, account, role and binding should be made up, got %d objects", got)
	}
}

func TestManifestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"misspelt field": {strings.Replace(service, "endpoint:", "endpiont:", 1), "endpiont"},
		"no service":     {region, "has no MultiActiveService"},
		"two services":   {service + "---\n" + service, "two MultiActiveServices"},
		"no namespace":   {strings.Replace(service, ", namespace: store", "", 1), "metadata.namespace"},
		"no YAML":        {"kind: [", "document 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{"shop/service.yaml": c.content})
			_, err := ReadManifest(filepath.Join(dir, "shop", "service.yaml"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestNetworksDoNotMeet(t *testing.T) {
	t.Parallel()
	var seen []string
	for i := range 3 {
		hub, guard, err := claim()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = guard.Close() })
		if slices.Contains(seen, hub.api()) {
			t.Errorf("claim %d gave %s again", i, hub.api())
		}
		seen = append(seen, hub.api())
		if _, _, err := at(hub.number); err == nil {
			t.Errorf("network %d can be claimed twice", hub.number)
		}
	}
}
