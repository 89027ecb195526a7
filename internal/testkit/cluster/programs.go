package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"multiactive.dev/operator/internal/testkit/poll"
	"multiactive.dev/operator/internal/testkit/process"
)

// nodeTimeout bounds the wait until a cluster's node is ready.
const nodeTimeout = 3 * time.Minute

// PauseImage is what holds a Pod's namespaces; it must be imported before any Pod runs.
const PauseImage = "multiactive.dev/test/pause:1"

// configurations are the files that a region's programs read, with the words between @ replaced.
var configurations = map[string]string{
	"containerd.toml": `version = 2
root = "@DIR@/containerd"
state = "@DIR@/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "@DIR@/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "@DIR@/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "@PAUSE@"
# A machine without CAP_SYS_RESOURCE may not lower anybody's score.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "@CNI@"
conf_dir = "@DIR@/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
`,
	"cni/10-pods.conflist": `{"cniVersion": "0.4.0", "name": "pods", "plugins": [
{"type": "bridge", "bridge": "pods", "isGateway": true, "ipMasq": true, "hairpinMode": true,
 "ipam": {"type": "host-local", "dataDir": "@DIR@/cni-addresses", "ranges": [[{"subnet": "@PODS@"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
{"type": "portmap", "capabilities": {"portMappings": true}}]}
`,
	"resolv.conf": "",
	"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: @NODE@
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /@GROUP@
clusterDNS: [@DNS@]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://@DIR@/containerd.sock
enforceNodeAllocatable: []
evictionHard: {memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%, imagefs.inodesFree: 0%}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
localStorageCapacityIsolation: false
podLogsDir: @DIR@/pods
resolvConf: @DIR@/resolv.conf
volumePluginDir: @DIR@/volume-plugins
`,
	"kube-proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: @DIR@/kubeconfig}
clusterCIDR: @PODS@
hostnameOverride: @NAME@
bindAddress: @NODE@
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`,
}

func (c *Cluster) writeConfigurations() error {
	words := strings.NewReplacer("@DIR@", c.dir, "@PAUSE@", PauseImage, "@CNI@", cniDir, "@PODS@", c.zone.pods(), "@NODE@", c.Node(),
		"@GROUP@", string(c.group), "@DNS@", dnsAddress, "@NAME@", c.Name)
	for name, content := range configurations {
		path := c.file(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(words.Replace(content)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) containerd() process.Spec {
	return process.Spec{
		Name: "containerd", Path: c.programs["containerd"], Args: []string{"--config=" + c.file("containerd.toml")},
		Ready: func(ctx context.Context) error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.file("containerd.sock"))
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}
}

func (c *Cluster) controllerManager() process.Spec {
	return process.Spec{
		Name: "kube-controller-manager", Path: c.programs["kube-controller-manager"], Env: lean,
		Args: []string{
			"--kubeconfig=" + c.Kubeconfig(), "--leader-elect=false", "--bind-address=127.0.0.1",
			"--service-account-private-key-file=" + c.file("control/service-account.key"), "--root-ca-file=" + c.file("control/ca.crt"),
			"--use-service-account-credentials=false", "--profiling=false",
		},
	}
}

// lean keeps the programs of several clusters small.
var lean = []string{"GOGC=40"}

func (c *Cluster) scheduler() process.Spec {
	return process.Spec{
		Name: "kube-scheduler", Path: c.programs["kube-scheduler"], Env: lean,
		Args: []string{"--kubeconfig=" + c.Kubeconfig(), "--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false"},
	}
}

func (c *Cluster) kubelet() process.Spec {
	return process.Spec{
		Name: "kubelet", Path: c.programs["kubelet"], Env: lean,
		Args: []string{
			"--config=" + c.file("kubelet.yaml"), "--kubeconfig=" + c.Kubeconfig(), "--root-dir=" + c.file("kubelet"),
			"--cert-dir=" + c.file("kubelet-certificates"), "--hostname-override=" + c.Name, "--node-ip=" + c.Node(),
		},
	}
}

func (c *Cluster) kubeProxy() process.Spec {
	return process.Spec{
		Name: "kube-proxy", Path: c.programs["kube-proxy"], Env: lean, Args: []string{"--config=" + c.file("kube-proxy.yaml")},
	}
}

// awaitNode waits until the node takes Pods. A node that was lost looks ready until somebody notices, so its
// heartbeat has to be one of this life.
func (c *Cluster) awaitNode(ctx context.Context) error {
	config, err := c.Config()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, nodeTimeout, fmt.Errorf("the node is not ready after %s; logs are in %s", nodeTimeout, c.file("logs")))
	defer cancel()
	return poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		if err := c.alive(); err != nil {
			return err
		}
		node, err := client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("the node is not ready")
	})
}

// alive returns an error when a program of the region has ended by itself.
func (c *Cluster) alive() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.running {
		select {
		case <-p.Done():
			return fmt.Errorf("a program has ended (%w):\n%s", errors.Join(p.Err(), errEnded), p.LogTail())
		default:
		}
	}
	return nil
}

var errEnded = errors.New("by itself")
