// Package world builds a multi-region world on one machine out of real parts: an API server with its
// own etcd, a Kafka and a member manager for every region, a coordination etcd with a member in each,
// and a hub, or one beside every member (peer mode). Every region has loopback addresses of its own, and what a region's cluster would run as
// Pods runs as local processes (package node) behind real ClusterIPs (package proxy).
//
// A region can be killed as a whole, as the loss of a city does, and be brought back on its data. All
// processes end with the playground, also when it crashes. It must never listen on, or connect to,
// anything but loopback, and must know nothing of the service that it runs.
package world

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/etcdstore"
	"multiactive.dev/operator/internal/testkit/process"
)

const (
	// Namespace is the operator's own, in every cluster.
	Namespace = "multiactive-system"
	// OperatorImage stands for the operator's programs.
	OperatorImage = "multiactive.dev/operator:playground"
	// WitnessName is the Region of the witness, in a world with two regions.
	WitnessName = "witness"
	hubName     = "hub"
)

// Progress is told what is going on; the function that it returns is called with the outcome.
type Progress func(what string) func(error)

// Options describe a world.
type Options struct {
	// Dir holds data, logs and kubeconfigs. One that was used before gives the same world again.
	Dir string
	// Root of the source tree: CRDs and RBAC come from there.
	Root string
	// Programs has manager, gateway and mirror (a directory); Self is this program, which is also the
	// Kafka ("kafka --listen --data").
	Programs, Self string
	// Manifest is the service; Others are further ones, each at an address of its own (EdgeOf).
	Manifest *Manifest
	Others   []*Manifest
	// Regions, two to five, in the service's order.
	Regions []string
	// Peer has every region's manager be a hub too, and no hub of its own. It takes three regions.
	Peer bool
	// Images are the programs of the service's images.
	Images node.Programs
	// Idle are namespaces in which no node runs anything.
	Idle []string
	// Audit has every API server log what is written to it, for World.Writes.
	Audit bool
	// Profiles has managers and API servers serve profiles for go tool pprof, API servers to their administrators.
	Profiles bool
	// GCPercent is GOGC of every API server; 0: a small one, which saves memory and costs processor time.
	GCPercent int
	Progress  Progress
	Clock     clock.WithTicker
	Log       *slog.Logger
	// Zone makes the network of a failure domain, the loopback network 127.<number>.0.0/16; nil: all share
	// this machine's.
	Zone func(name string, number int) (Zone, error)
	// Env gives programs of the operator and Pods more variables, by failure domain and program or
	// Deployment; may be nil.
	Env func(domain, program string) []string
}

// Zone is the network of one failure domain.
type Zone interface {
	// Path is the file of the namespace that its processes run in.
	Path() string
	// Listen opens an address in it for this process.
	Listen(ctx context.Context, address string) (net.Listener, error)
}

// World is a running world.
type World struct {
	options Options
	network network
	zone    Zone // the hub's; nil: this machine's network
	guard   net.Listener
	hub     *apiserver.Server // nil in peer mode, as is manager
	// front is the region in whose cluster people look in peer mode.
	front   *Region
	store   *etcdstore.Store
	manager *program
	witness *program // nil with three regions or more
	regions []*Region
	kubectl string
}

// New prepares a world and starts nothing.
func New(o Options) (*World, error) {
	if len(o.Regions) < 2 || len(o.Regions) > 5 {
		return nil, fmt.Errorf("the playground has two to five regions, not %d: see --regions", len(o.Regions))
	}
	if o.Peer && len(o.Regions) < 3 {
		return nil, fmt.Errorf("peer mode takes three regions or more, not %d: a majority of them decides; see --regions", len(o.Regions))
	}
	w := &World{options: o}
	if err := w.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the world in %s: %w", o.Dir, err), w.release())
	}
	return w, nil
}

func (w *World) prepare() (err error) {
	o := w.options
	if w.kubectl, err = binaries.Find(binaries.Kubectl); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "logs"), 0o700); err != nil {
		return err
	}
	if err := w.claimNetwork(); err != nil {
		return err
	}
	if w.zone, err = w.newZone(hubName, w.network); err != nil {
		return err
	}
	members := make([]etcdstore.MemberOptions, 0, len(o.Regions)+1)
	for i, name := range o.Regions {
		r, err := newRegion(w, name, network{w.network.number + 1 + i})
		if err != nil {
			return err
		}
		r.network.forgetDrops()
		w.regions = append(w.regions, r)
		members = append(members, etcdstore.MemberOptions{
			Name: name, Host: r.network.coordination(), ClientPort: storageClientPort, PeerPort: storagePeerPort,
			Network: path(r.zone),
		})
	}
	if len(o.Regions) == 2 {
		members = append(members, etcdstore.MemberOptions{
			Name: WitnessName, Host: w.network.coordination(), ClientPort: storageClientPort, PeerPort: storagePeerPort,
			Network: path(w.zone),
		})
	}
	if err := o.move(w.regions); err != nil {
		return err
	}
	w.store, err = etcdstore.New(etcdstore.Options{Dir: filepath.Join(o.Dir, "coordination"), Members: members})
	if err != nil {
		return err
	}
	if o.Peer {
		w.front = w.regions[len(w.regions)-1]
		return nil
	}
	if w.hub, err = w.newServer(hubName, w.network, w.zone, []apiserver.User{account(hubRole), account(memberRole)}); err != nil {
		return err
	}
	w.manager = w.managerProgram(hubName, w.network, nil)
	if len(o.Regions) == 2 {
		w.witness = w.managerProgram(WitnessName, network{w.network.number}, nil)
	}
	return nil
}

// claimNetwork takes free networks, or those that the directory had before.
func (w *World) claimNetwork() (err error) {
	file := filepath.Join(w.options.Dir, "network")
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		if w.network, w.guard, err = claim(); err != nil {
			return err
		}
		return os.WriteFile(file, []byte(strconv.Itoa(w.network.number)), 0o600)
	}
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return fmt.Errorf("%s should hold a number: %w", file, err)
	}
	w.network, w.guard, err = at(number)
	return err
}

func (w *World) newServer(name string, n network, zone Zone, users []apiserver.User) (*apiserver.Server, error) {
	var profiles []string
	if w.options.Profiles {
		profiles = []string{"--profiling=true"}
	}
	return apiserver.New(apiserver.Options{
		Name: name, Dir: filepath.Join(w.options.Dir, name, "cluster"), Host: n.api(), Port: apiPort,
		EtcdClientPort: storageClientPort, EtcdPeerPort: storagePeerPort,
		ServiceClusterIPRange: n.services(), Users: users, Audit: w.options.Audit, ExtraArgs: profiles, GCPercent: w.options.GCPercent, Network: path(zone),
	})
}

// Start boots everything and returns once the hub and all members run. On an error nothing is left.
func (w *World) Start(ctx context.Context) error {
	err := w.boot(ctx)
	if err != nil {
		return errors.Join(err, w.Stop())
	}
	return nil
}

func (w *World) boot(ctx context.Context) error {
	tasks := []func() error{
		w.step("coordination store, "+strconv.Itoa(len(w.store.Members()))+" members", func() error { return w.store.Start(ctx) }),
	}
	if w.hub != nil {
		tasks = append(tasks, w.step("hub: API server, CRDs, roles", func() error { return w.bootHub(ctx) }))
	}
	for _, r := range w.regions {
		tasks = append(tasks, w.step(r.Name+": API server, Kafka, CRDs, roles, node", func() error { return r.boot(ctx, true) }))
	}
	if err := together(tasks); err != nil {
		return err
	}
	if err := w.joinPeers(ctx); err != nil {
		return err
	}
	tasks = nil
	if w.manager != nil {
		tasks = append(tasks, w.step("hub: manager", func() error { return w.manager.start(ctx) }))
	}
	for _, r := range w.regions {
		tasks = append(tasks, w.step(r.Name+": "+w.regionRole()+" manager", func() error { return r.manager.start(ctx) }))
	}
	if w.witness != nil {
		tasks = append(tasks, w.step("witness: observer", func() error { return w.witness.start(ctx) }))
	}
	return together(tasks)
}

func (w *World) bootHub(ctx context.Context) error {
	if err := w.hub.Start(ctx); err != nil {
		return err
	}
	if err := w.installHub(ctx); err != nil {
		return fmt.Errorf("installing the hub: %w", err)
	}
	return nil
}

func (w *World) step(what string, do func() error) func() error {
	return func() error {
		done := w.options.Progress(what)
		err := do()
		done(err)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
}

// Stop ends every process at once.
func (w *World) Stop() error {
	tasks := make([]func() error, 0, len(w.regions)+4)
	for _, r := range w.regions {
		tasks = append(tasks, r.kill)
	}
	for _, p := range []*program{w.manager, w.witness} {
		if p != nil {
			tasks = append(tasks, p.kill)
		}
	}
	if w.hub != nil {
		tasks = append(tasks, w.hub.Kill)
	}
	if w.store != nil {
		tasks = append(tasks, w.store.Kill)
	}
	return errors.Join(together(tasks), w.release())
}

func (w *World) release() error {
	if w.guard == nil {
		return nil
	}
	err := w.guard.Close()
	w.guard = nil
	return err
}

// Regions in the service's order.
func (w *World) Regions() []*Region { return w.regions }

// Region returns the region of that name, or nil.
func (w *World) Region(name string) *Region {
	for _, r := range w.regions {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// regionRole is what the regions' managers run as.
func (w *World) regionRole() string {
	if w.options.Peer {
		return peerRole
	}
	return memberRole
}

// managerProgram is a manager of the hub (region nil), of a region, or of the witness.
func (w *World) managerProgram(name string, n network, r *Region) *program {
	mode, kubeconfig := hubRole, w.kubeconfigFile(hubName, hubRole)
	args := []string{
		"--operator-namespace=" + Namespace,
		"--coordination-endpoints=" + strings.Join(w.coordinationEndpoints(n), ","),
	}
	health, zone := n.health(), w.zone
	if r != nil {
		zone = r.zone
	}
	metrics := net.JoinHostPort(n.manager(), strconv.Itoa(metricsPort))
	if r != nil || name == WitnessName {
		mode, kubeconfig = w.regionRole(), w.kubeconfigFile(name, w.regionRole())
		agent := n.agentURL()
		if name == WitnessName {
			kubeconfig = w.kubeconfigFile(hubName, memberRole)
			health = net.JoinHostPort(n.host(8), strconv.Itoa(healthPort))
			metrics = net.JoinHostPort(n.host(8), strconv.Itoa(metricsPort))
			agent = "http://" + net.JoinHostPort(n.host(8), strconv.Itoa(agentPort))
		}
		args = append(args, "--region="+name, "--agent-bind-address="+strings.TrimPrefix(agent, "http://"), "--agent-url="+agent,
			"--gateway-image="+OperatorImage, "--mirror-image="+OperatorImage)
	}
	if w.options.Profiles && name != WitnessName {
		args = append(args, "--pprof-bind-address="+net.JoinHostPort(n.manager(), strconv.Itoa(profilesPort)))
	}
	args = append(args, "--mode="+mode, "--kubeconfig="+kubeconfig, "--health-probe-bind-address="+health, "--metrics-bind-address="+metrics)
	return &program{clock: w.options.Clock, log: w.options.Log, spec: process.Spec{
		Name: "manager " + name, Path: filepath.Join(w.options.Programs, "manager"), Args: args,
		// The limits of the chart's Deployment.
		Env:     append([]string{"GOMEMLIMIT=200MiB", "GOMAXPROCS=2", "POD_UID=" + name}, w.env(name, "manager")...),
		LogFile: filepath.Join(w.options.Dir, "logs", "manager-"+name+".log"),
		Ready:   ready("http://" + health + "/readyz"),
		Network: path(zone),
	}}
}

// newZone makes the network of a failure domain where each is to have its own.
func (w *World) newZone(name string, n network) (Zone, error) {
	if w.options.Zone == nil {
		return nil, nil
	}
	return w.options.Zone(name, n.number)
}

// path is the file of the zone's namespace; empty: this process's network.
func path(z Zone) string {
	if z == nil {
		return ""
	}
	return z.Path()
}

func (w *World) env(domain, program string) []string {
	if w.options.Env == nil {
		return nil
	}
	return w.options.Env(domain, program)
}

// coordinationEndpoints returns the store's members, that of the own network first.
func (w *World) coordinationEndpoints(own network) []string {
	out := make([]string, 0, len(w.regions)+1)
	add := func(n network) {
		at := len(out)
		if n == own {
			at = 0
		}
		out = slices.Insert(out, at, "http://"+net.JoinHostPort(n.coordination(), strconv.Itoa(storageClientPort)))
	}
	for i := range w.options.Regions {
		add(network{w.network.number + 1 + i})
	}
	if len(w.options.Regions) == 2 {
		add(w.network)
	}
	return out
}

// together runs tasks at the same time and returns their errors.
func together(tasks []func() error) error {
	failures := make([]error, len(tasks))
	var all sync.WaitGroup
	for i, task := range tasks {
		all.Go(func() { failures[i] = task() })
	}
	all.Wait()
	return errors.Join(failures...)
}
