package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"multiactive.dev/operator/internal/testkit/binaries"
)

// cniDir is where Debian has the programs that give Pods a network.
const cniDir = "/usr/lib/cni"

// built are programs that `make clusters` builds, installed those that it installs.
var (
	built = []string{
		binaries.Etcd, binaries.KubeAPIServer, binaries.Kubectl, binaries.KubeControllerManager, binaries.KubeScheduler,
		binaries.Kubelet, binaries.KubeProxy, binaries.Helm,
	}
	installed = []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "iptables", "conntrack", filepath.Join(cniDir, "bridge")}
)

// possible tells in one line why whole clusters cannot be made here; nil: they can.
func possible() error {
	if os.Geteuid() != 0 {
		return errors.New("they need root, for namespaces and containers")
	}
	for _, name := range built {
		if _, err := binaries.Find(name); err != nil {
			return err
		}
	}
	var lacking []string
	for _, name := range installed {
		if _, err := exec.LookPath(name); err != nil {
			lacking = append(lacking, name)
		}
	}
	if len(lacking) > 0 {
		return fmt.Errorf("%s missing: run `make clusters`, or install containerd, runc, containernetworking-plugins, iptables and conntrack",
			strings.Join(lacking, ", "))
	}
	if len(hierarchies()) == 0 {
		return fmt.Errorf("there are no control groups in %s", cgroups)
	}
	return nil
}
