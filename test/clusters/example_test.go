//go:build e2e

package clusters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/playground/load"
	"multiactive.dev/operator/internal/playground/world"
	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/cluster"
)

const (
	accounts    = "accounts"
	serviceName = "mas/user"
)

// edge leads users into the region, as its load balancer would.
const edge = `apiVersion: v1
kind: Service
metadata: {name: edge, namespace: %s}
spec:
  type: NodePort
  selector: {multiactive.dev/service: user, multiactive.dev/component: gateway}
  ports: [{port: 8080, targetPort: 8080, nodePort: %d}]
`

func endpoint(c *cluster.Cluster) string { return fmt.Sprintf("http://%s:%d", c.Node(), edgePort) }

// endpoints are what users know.
func (f *fleet) endpoints() []load.Endpoint {
	var out []load.Endpoint
	for _, c := range f.world.Clusters() {
		out = append(out, load.Endpoint{Region: c.Name, URL: endpoint(c)})
	}
	return out
}

// service is examples/user with this world's addresses, and with the directory that a region's Pods share.
func (f *fleet) service() (*world.Manifest, error) {
	m, err := world.ReadManifest(f.path("examples/user/multiactiveservice.yaml"))
	if err != nil {
		return nil, err
	}
	var replace []string
	for _, c := range f.world.Clusters() {
		shared, err := c.Shared("user")
		if err != nil {
			return nil, err
		}
		replace = append(replace, "kafka."+c.Name+".svc:9092", fmt.Sprintf("%s:%d", c.Node(), kafkaPort), "/var/lib/user/"+c.Name, shared)
	}
	content, err := json.Marshal(m.Service.Spec)
	if err != nil {
		return nil, err
	}
	spec := v1alpha1.MultiActiveServiceSpec{}
	if err := json.Unmarshal([]byte(strings.NewReplacer(replace...).Replace(string(content))), &spec); err != nil {
		return nil, err
	}
	// The Pods of a region share a file: nothing here copies what a database would replicate, so other regions do without it.
	var alone []string
	for i := range spec.DataClasses {
		class := &spec.DataClasses[i]
		for _, policy := range class.Sync {
			if policy.OriginRead != nil {
				policy.OriginRead.Timeout = &metav1.Duration{Duration: ownerWait} // as with ownerWait
			}
		}
		replicated := len(class.Sync)
		class.Sync = slices.DeleteFunc(class.Sync, func(s v1alpha1.SyncPolicy) bool { return s.Method == v1alpha1.SyncStorageReplication })
		if replicated > 0 && len(class.Sync) == 0 {
			alone = append(alone, class.Name)
		}
	}
	for i := range spec.Flows {
		if flow := &spec.Flows[i]; flow.ServedBy == v1alpha1.ServedByAnyRegion {
			flow.Reads = slices.DeleteFunc(flow.Reads, func(class string) bool { return slices.Contains(alone, class) })
		}
	}
	for i := range spec.Regions {
		spec.Regions[i].Endpoint = endpoint(f.world.Cluster(spec.Regions[i].Name))
	}
	share(&spec.Workload.Template.Spec, f.world.Shared())
	for i := range spec.Workload.Additional {
		share(&spec.Workload.Additional[i].Template.Spec, f.world.Shared())
	}
	m.Service.Spec = spec
	return m, nil
}

// share mounts the node's directory where the Pods look for it.
func share(pod *corev1.PodSpec, dir string) {
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "shared", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}})
	for i := range pod.Containers {
		pod.Containers[i].VolumeMounts = append(pod.Containers[i].VolumeMounts, corev1.VolumeMount{Name: "shared", MountPath: dir})
	}
}

// deploy applies the example and waits until it is Ready.
func (f *fleet) deploy(t *testing.T) *v1alpha1.MultiActiveService {
	t.Helper()
	m, err := f.service()
	if err != nil {
		t.Fatal(err)
	}
	companions, err := os.ReadFile(f.path("examples/user/namespace.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f.each(t, func(c *cluster.Cluster) error {
		return apply(t.Context(), c, string(companions), fmt.Sprintf(edge, accounts, edgePort))
	})
	if err := f.applyService(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	f.await(t, 3*time.Minute, f.hub(), serviceName, "-n", accounts, "--for=condition=Ready")
	return m.Service
}

// reached waits until every region's edge leads to its gateways: Services of nodes are nothing that the operator knows of.
func (f *fleet) reached(t *testing.T) {
	t.Helper()
	client := &http.Client{Timeout: time.Second}
	for _, c := range f.world.Clusters() {
		testkit.Eventually(t, time.Minute, func() error {
			answer, err := client.Get(endpoint(c) + "/.multiactive/healthz")
			if err != nil {
				return err
			}
			defer func() { _ = answer.Body.Close() }()
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("the edge of %s answers %d", c.Name, answer.StatusCode)
			}
			return nil
		})
	}
}

func (f *fleet) applyService(ctx context.Context, m *world.Manifest) error {
	m.Service.APIVersion, m.Service.Kind = v1alpha1.GroupVersion.String(), "MultiActiveService"
	raw, err := json.Marshal(m.Service)
	if err != nil {
		return err
	}
	object := map[string]any{}
	if err := json.Unmarshal(raw, &object); err != nil {
		return err
	}
	delete(object, "status")
	return f.declare(ctx, object)
}
