//go:build e2e

package clusters_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/internal/testkit"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/cluster"
)

// Ports of every region's node that lead into Pods.
const (
	edgePort   = 30080
	agentPort  = 30090
	clientPort = 32379
	peerPort   = 32380
	kafkaPort  = 9092
)

const (
	namespace = "multiactive-system"
	operator  = "multiactive.dev/operator"
	// hubRegion is the region whose cluster the hub runs in, too.
	hubRegion = "shenzhen"
	// readyGoal bounds the time from empty clusters to the example that serves.
	readyGoal = 3 * time.Minute
)

var regions = []string{"beijing", "shanghai", "shenzhen"}

// fleet is the operator in the clusters of all regions.
type fleet struct {
	world *cluster.World
	root  string
	// mode is member, with a hub in hubRegion, or peer.
	mode string
	// front is the region in whose cluster people look.
	front string
}

// newFleet boots the clusters and installs nothing into them.
func newFleet(t *testing.T, mode string) *fleet {
	t.Helper()
	root, err := binaries.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{root: root, mode: mode, front: hubRegion}
	var archives []string
	for _, name := range []string{"pause", "coredns", "etcd", "kafka", "user", "operator"} {
		archives = append(archives, f.path("bin/clusters/images/"+name+".tar"))
	}
	f.world, err = cluster.New(cluster.Options{
		Name: t.Name(), Regions: regions, Images: archives, DNS: "multiactive.dev/test/coredns:1",
		Watched: []string{"system:serviceaccounts:" + namespace},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			f.explain(t)
		}
		if err := f.world.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := f.world.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) path(name string) string { return filepath.Join(f.root, name) }

// hub is the cluster in which people look.
func (f *fleet) hub() *cluster.Cluster { return f.world.Cluster(f.front) }

// hubs are the clusters in which people declare.
func (f *fleet) hubs() []*cluster.Cluster {
	if f.mode == "peer" {
		return f.world.Clusters()
	}
	return []*cluster.Cluster{f.world.Cluster(hubRegion)}
}

// declare applies objects wherever they have to be.
func (f *fleet) declare(ctx context.Context, objects ...any) error {
	for _, c := range f.hubs() {
		if err := apply(ctx, c, objects...); err != nil {
			return err
		}
	}
	return nil
}

// each does something for every region at the same time.
func (f *fleet) each(t *testing.T, do func(*cluster.Cluster) error) {
	t.Helper()
	failures := make(chan error, len(regions))
	for _, c := range f.world.Clusters() {
		go func() { failures <- do(c) }()
	}
	var all []error
	for range f.world.Clusters() {
		all = append(all, <-failures)
	}
	if err := errors.Join(all...); err != nil {
		t.Fatal(err)
	}
}

// apply has objects, or YAML, be what they say, as `kubectl apply --server-side` does.
func apply(ctx context.Context, c *cluster.Cluster, objects ...any) error {
	var text strings.Builder
	for _, object := range objects {
		content, ok := object.(string)
		if !ok {
			raw, err := json.Marshal(object)
			if err != nil {
				return err
			}
			content = string(raw)
		}
		text.WriteString("---\n" + content + "\n")
	}
	_, err := c.Command(ctx, binaries.Kubectl, []byte(text.String()), "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// values are what every release has, as docs/guides/coordination.md has them.
func (f *fleet) values() map[string]any {
	var members []any
	for _, c := range f.world.Clusters() {
		members = append(members, map[string]any{
			"name": c.Name, "peerURL": fmt.Sprintf("https://%s:%d", c.Node(), peerPort), "clientURL": fmt.Sprintf("https://%s:%d", c.Node(), clientPort),
		})
	}
	return map[string]any{
		"image": map[string]any{"repository": operator},
		"coordination": map[string]any{
			"tls": map[string]any{"secretName": "coordination-client"},
			"server": map[string]any{
				"enabled": true, "members": members, "image": map[string]any{"repository": "multiactive.dev/test/etcd", "tag": "1"},
				"tls":     map[string]any{"peerSecretName": "coordination-peer", "serverSecretName": "coordination-server"},
				"service": map[string]any{"type": "NodePort", "clientNodePort": clientPort, "peerNodePort": peerPort},
			},
		},
		"agent":   map[string]any{"service": map[string]any{"type": "NodePort"}},
		"gateway": map[string]any{"args": []string{"--owner-wait=" + ownerWait.String()}},
	}
}

// ownerWait is how long a home request may wait while owners change. On as few processors as carry these three clusters a
// change takes longer than the gateway's own two seconds now and then.
const ownerWait = 6 * time.Second

// firstTag is that of the operator's image.
const firstTag = "clusters"

// release installs or upgrades the region's release.
func (f *fleet) release(ctx context.Context, c *cluster.Cluster, tag string) error {
	return f.helm(ctx, c, "multiactive", "--set", "mode="+f.mode, "--set", "region="+c.Name, "--set", "image.tag="+tag)
}

// releaseHub installs or upgrades the hub's release.
func (f *fleet) releaseHub(ctx context.Context, tag string) error {
	return f.helm(ctx, f.world.Cluster(hubRegion), "multiactive-hub", "--set", "mode=hub", "--set", "coordination.server.enabled=false", "--set", "image.tag="+tag)
}

// helm installs or upgrades a release and waits until it is ready.
func (f *fleet) helm(ctx context.Context, c *cluster.Cluster, release string, args ...string) error {
	content, err := yaml.Marshal(f.values())
	if err != nil {
		return err
	}
	file := filepath.Join(f.world.Dir(), c.Name, release+"-values.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return err
	}
	args = append([]string{"upgrade", "--install", release, f.path("charts/multiactive"), "--namespace", namespace, "--values", file,
		"--wait", "--timeout", "5m"}, args...)
	_, err = c.Command(ctx, binaries.Helm, nil, args...)
	return err
}

// install puts the operator into all clusters, with the hub beside a member, and declares the regions.
func (f *fleet) install(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	certificates := filepath.Join(f.world.Dir(), "certificates")
	args := []string{certificates}
	for _, c := range f.world.Clusters() {
		args = append(args, c.Name+"="+c.Node())
	}
	if _, err := f.hub().Command(ctx, f.path("examples/coordination/certificates.sh"), nil, args...); err != nil {
		t.Fatal(err)
	}
	f.each(t, func(c *cluster.Cluster) error {
		if err := f.prepare(ctx, c, filepath.Join(certificates, c.Name)); err != nil {
			return err
		}
		return f.release(ctx, c, firstTag)
	})
	if f.mode == "member" {
		if err := f.releaseHub(ctx, firstTag); err != nil {
			t.Fatal(err)
		}
	}
	f.each(t, func(c *cluster.Cluster) error { return f.declareRegion(ctx, c) })
	for _, name := range regions {
		f.await(t, 2*time.Minute, f.hub(), "region/"+name, "--for=jsonpath={.status.state}=Up")
	}
}

// prepare makes what a person has before the release: a namespace, Secrets, a volume, and the region's Kafka.
func (f *fleet) prepare(ctx context.Context, c *cluster.Cluster, certificates string) error {
	if err := apply(ctx, c, fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: restricted}}}`, namespace)); err != nil {
		return err
	}
	for _, secret := range []string{"coordination-peer", "coordination-server", "coordination-client"} {
		dir := filepath.Join(certificates, secret)
		if _, err := c.Kubectl(ctx, "-n", namespace, "create", "secret", "generic", secret, "--from-file="+dir); err != nil {
			return err
		}
	}
	coordination, err := c.Shared("coordination")
	if err != nil {
		return err
	}
	queue, err := c.Shared("kafka")
	if err != nil {
		return err
	}
	return apply(ctx, c, fmt.Sprintf(`apiVersion: v1
kind: PersistentVolume
metadata: {name: coordination}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteOnce]
  hostPath: {path: %s}
---
apiVersion: v1
kind: Namespace
metadata: {name: kafka}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kafka, namespace: kafka}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: kafka}}
  template:
    metadata: {labels: {app: kafka}}
    spec:
      hostNetwork: true
      containers:
      - name: kafka
        image: multiactive.dev/test/kafka:1
        args: [kafka, "--listen=%s:%d", --data=/data]
        readinessProbe: {tcpSocket: {port: %d}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
      volumes:
      - {name: data, hostPath: {path: %s}}
`, coordination, c.Node(), kafkaPort, kafkaPort, queue))
}

// declareRegion tells the hub how to reach the region, as the chart's notes say.
func (f *fleet) declareRegion(ctx context.Context, c *cluster.Cluster) error {
	// The chart lets the cluster choose the port, and what probes it has to know it.
	patch := fmt.Sprintf(`{"spec":{"ports":[{"port":8090,"nodePort":%d}]}}`, agentPort)
	if _, err := c.Kubectl(ctx, "-n", namespace, "patch", "service", "multiactive-"+f.mode+"-agent", "--patch", patch); err != nil {
		return err
	}
	token, err := c.Kubectl(ctx, "-n", namespace, "create", "token", "multiactive-hub-access", "--duration", "8760h")
	if err != nil {
		return err
	}
	admin, err := c.Config()
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: strings.TrimSpace(token)}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	kubeconfig, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	secret := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": c.Name, "namespace": namespace},
		"stringData": map[string]any{"kubeconfig": string(kubeconfig)},
	}
	example, err := os.ReadFile(f.path("examples/regions/" + c.Name + ".yaml"))
	if err != nil {
		return err
	}
	region := map[string]any{}
	if err := yaml.Unmarshal(example, &region); err != nil {
		return err
	}
	spec, ok := region["spec"].(map[string]any)
	if !ok {
		return fmt.Errorf("the example of region %s has no spec", c.Name)
	}
	spec["kafka"] = map[string]any{"bootstrapServers": []string{fmt.Sprintf("%s:%d", c.Node(), kafkaPort)}, "management": map[string]any{"type": "Admin"}}
	spec["probes"] = []any{map[string]any{"name": "agent", "http": map[string]any{"url": fmt.Sprintf("http://%s:%d/healthz", c.Node(), agentPort)}}}
	return f.declare(ctx, secret, region)
}

// await waits with kubectl, and fails with what it saw.
func (f *fleet) await(t *testing.T, timeout time.Duration, c *cluster.Cluster, what string, args ...string) {
	t.Helper()
	var last error
	testkit.Eventually(t, timeout, func() error {
		_, last = c.Kubectl(t.Context(), append([]string{"wait", what, "--timeout=5s"}, args...)...)
		return last
	})
}

// explain shows what a person would look at first.
func (f *fleet) explain(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	for _, c := range f.world.Clusters() {
		for _, args := range [][]string{
			{"get", "pods", "-A", "-o", "wide"}, {"get", "regions,mas,ri,operations,rsvc,rl", "-A", "-o", "wide"},
			{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		} {
			out, err := c.Kubectl(ctx, append(args, "--request-timeout=5s")...)
			t.Logf("%s: kubectl %s: %v\n%s", c.Name, strings.Join(args, " "), err, out)
		}
	}
}
