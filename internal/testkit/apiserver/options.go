package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"multiactive.dev/operator/internal/testkit/ports"
)

// Defaults of Options.
const (
	DefaultStartTimeout          = 90 * time.Second
	DefaultServiceClusterIPRange = "10.96.0.0/16"
)

// portFile keeps the chosen port, so that kubeconfigs stay valid for a later run.
const portFile = "port.json"

// Options describe one control plane.
type Options struct {
	// Name is a DNS label; the region's name. It names the cluster in kubeconfigs. Required.
	Name string
	// Dir holds data, keys, tokens and logs. Required; created when missing. A directory that was used
	// before gives the same server again: same data, port, certificates and tokens.
	Dir string
	// Host is the IP address that the API server and its storage listen on: a loopback address, or, with
	// Network, any of that network. Required, and the same for every use of Dir.
	Host string
	// Port of the API server. 0: the one used before in Dir, else a free one.
	Port int
	// EtcdClientPort and EtcdPeerPort of its storage. 0: as for Port.
	EtcdClientPort, EtcdPeerPort int
	// ServiceClusterIPRange that ClusterIPs come from. Loopback ranges such as 127.11.128.0/17 are
	// accepted by the API server. Default: DefaultServiceClusterIPRange.
	ServiceClusterIPRange string
	// Users that may log in, besides Admin.
	Users []User
	// StartTimeout bounds the wait until the server is ready. Default: DefaultStartTimeout.
	StartTimeout time.Duration
	// Audit has the server keep a log of all that is written to it, for Server.Writes.
	Audit bool
	// Whole says that a controller manager and nodes run beside the server: it publishes its own endpoints, and
	// refuses Pods whose service account is not there.
	Whole bool
	// AuditUsers are groups whose every request is logged, read or write, for Server.Denied. Needs Audit.
	AuditUsers []string
	// Network is the file of the network namespace that both processes run in, with Port, EtcdClientPort and
	// EtcdPeerPort chosen. Default: the parent's.
	Network string
	// GCPercent is GOGC of kube-apiserver. Default: a small one, since several servers share a developer's machine.
	GCPercent int
	// ExtraArgs are added to kube-apiserver's command line; a flag given once wins over the kit's own.
	ExtraArgs []string
}

// defaultGCPercent trades processor time for memory.
const defaultGCPercent = 40

func withDefaults(o Options) Options {
	if o.ServiceClusterIPRange == "" {
		o.ServiceClusterIPRange = DefaultServiceClusterIPRange
	}
	if o.GCPercent == 0 {
		o.GCPercent = defaultGCPercent
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = DefaultStartTimeout
	}
	return o
}

func validate(o Options) error {
	if problems := validation.IsDNS1123Label(o.Name); len(problems) > 0 {
		return fmt.Errorf("option Name %q: %s", o.Name, strings.Join(problems, "; "))
	}
	if o.Dir == "" {
		return errors.New("option Dir is empty; name a directory for data, keys and logs")
	}
	if o.Network == "" {
		if err := ports.CheckLoopback(o.Host); err != nil {
			return fmt.Errorf("option Host: %w", err)
		}
	} else if _, err := netip.ParseAddr(o.Host); err != nil {
		return fmt.Errorf("option Host %q is not an IP address; give one of the network", o.Host)
	}
	if _, err := netip.ParsePrefix(o.ServiceClusterIPRange); err != nil {
		return fmt.Errorf("option ServiceClusterIPRange %q is not a range; give one such as 127.11.128.0/17", o.ServiceClusterIPRange)
	}
	return validateUsers(o.Users)
}

// choosePort takes the option's port, else that of an earlier run, else a free one, and records it.
func choosePort(o Options) (int, error) {
	path := filepath.Join(o.Dir, portFile)
	port := o.Port
	if port == 0 {
		content, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(content, &port)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, fmt.Errorf("reading the port of an earlier run from %s: %w", path, err)
		}
	}
	if port == 0 {
		free, err := ports.Free(o.Host, 1)
		if err != nil {
			return 0, err
		}
		port = free[0]
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(port)), 0o600); err != nil {
		return 0, fmt.Errorf("recording the port: %w", err)
	}
	return port, nil
}
