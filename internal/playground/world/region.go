package world

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"multiactive.dev/operator/internal/playground/node"
	"multiactive.dev/operator/internal/playground/proxy"
	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/process"
)

// Region is one city: everything in it ends when it is killed.
type Region struct {
	// Name of the Region object.
	Name string

	world   *World
	network network
	zone    Zone // nil: this machine's network
	cluster *apiserver.Server
	kafka   *program
	manager *program

	mu     sync.Mutex
	node   *node.Agent
	proxy  *proxy.Proxy
	cancel context.CancelFunc
	cut    bool // by CutOff
	runs   sync.WaitGroup
}

func newRegion(w *World, name string, n network) (*Region, error) {
	users := []apiserver.User{account(w.regionRole()), {Name: remoteUser}}
	zone, err := w.newZone(name, n)
	if err != nil {
		return nil, err
	}
	cluster, err := w.newServer(name, n, zone, users)
	if err != nil {
		return nil, err
	}
	r := &Region{Name: name, world: w, network: n, zone: zone, cluster: cluster}
	r.kafka = &program{clock: w.options.Clock, log: w.options.Log, spec: process.Spec{
		Name: "kafka " + name, Path: w.options.Self,
		Args:    []string{"kafka", "--listen=" + n.kafka(), "--data=" + filepath.Join(w.options.Dir, name, "kafka")},
		LogFile: filepath.Join(w.options.Dir, "logs", "kafka-"+name+".log"),
		Ready:   open(n.kafka()),
		Network: path(zone),
	}}
	r.manager = w.managerProgram(name, n, r)
	return r, nil
}

// Edge is the URL at which users reach the service in this region.
func (r *Region) Edge() string { return r.EdgeOf(0) }

// EdgeOf is the URL at which users reach one of the world's services: 0 is the Manifest's, the others follow.
func (r *Region) EdgeOf(service int) string { return "http://" + r.network.edge(service) }

// PeerEdge is the URL at which other regions' gateways reach the service in this region.
func (r *Region) PeerEdge() string { return "https://" + r.network.peers(0) }

// Kafka is the region's bootstrap address.
func (r *Region) Kafka() string { return r.network.kafka() }

// boot starts the region's parts but the manager: on a first boot CRDs and roles are installed, and
// the coordination member belongs to the store's own start.
func (r *Region) boot(ctx context.Context, first bool) error {
	tasks := []func() error{func() error { return r.kafka.start(ctx) }, func() error { return r.cluster.Start(ctx) }}
	if !first {
		tasks = append(tasks, func() error { return r.world.store.Member(r.Name).Start(ctx) })
	}
	if err := together(tasks); err != nil {
		return err
	}
	if first {
		if err := r.world.installRegion(ctx, r); err != nil {
			return fmt.Errorf("installing region %s: %w", r.Name, err)
		}
	}
	return r.startNode(ctx)
}

// startNode runs the node and the service proxy inside this process.
func (r *Region) startNode(ctx context.Context) error {
	config, err := r.cluster.Config(apiserver.Admin)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("preparing the node: %w", err)
	}
	o := r.world.options
	factory := informers.NewSharedInformerFactory(client, 0)
	programs := node.Programs{OperatorImage: o.Programs}
	maps.Copy(programs, o.Images)
	log := o.Log.With("region", r.Name)
	agent, err := node.New(node.Config{
		Name: r.Name + "-1", HostIP: r.network.node(), PodIPs: r.network.pods(), Client: client, Informers: factory,
		Dir: filepath.Join(o.Dir, r.Name), Programs: programs, Idle: o.Idle, Clock: o.Clock, Log: log,
		Network: path(r.zone), Env: func(deployment string) []string { return r.world.env(r.Name, deployment) },
	})
	if err != nil {
		return err
	}
	network := proxy.Config{Informers: factory, Log: log, External: map[types.NamespacedName][]string{}}
	for i, m := range o.manifests() {
		gateway := types.NamespacedName{Namespace: m.Service.Namespace, Name: m.Service.Name + "-gateway"}
		network.External[gateway] = []string{r.network.edge(i), r.network.peers(i)}
	}
	if r.zone != nil {
		network.Listen = r.zone.Listen
	}
	forward, err := proxy.New(network)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.mu.Lock()
	r.node, r.proxy, r.cancel = agent, forward, cancel
	r.mu.Unlock()
	factory.Start(running.Done())
	r.runs.Go(func() { r.logged("node", agent.Run(running)) })
	r.runs.Go(func() { r.logged("service proxy", forward.Run(running)) })
	return nil
}

func (r *Region) logged(part string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		r.world.options.Log.Error("a part of a region ended", "region", r.Name, "part", part, "error", err)
	}
}

// Kill ends everything in the region at once, as the loss of its machines does.
func (r *Region) Kill() error {
	if err := r.kill(); err != nil {
		return fmt.Errorf("killing region %s: %w", r.Name, err)
	}
	return nil
}

func (r *Region) kill() error {
	r.mu.Lock()
	agent, forward, cancel := r.node, r.proxy, r.cancel
	r.node, r.proxy, r.cancel = nil, nil, nil
	r.mu.Unlock()
	tasks := []func() error{r.manager.kill, r.kafka.kill, r.cluster.Kill, r.reconnect}
	if r.world.store != nil {
		tasks = append(tasks, r.world.store.Member(r.Name).Kill)
	}
	if forward != nil {
		tasks = append(tasks, func() error { forward.Kill(); return nil }, func() error { agent.Kill(); return nil })
		cancel()
	}
	err := together(tasks)
	r.runs.Wait()
	return err
}

// Return starts the region again on the data that it had.
func (r *Region) Return(ctx context.Context) error {
	if err := r.boot(ctx, false); err != nil {
		return fmt.Errorf("bringing region %s back: %w", r.Name, err)
	}
	if err := r.manager.start(ctx); err != nil {
		return fmt.Errorf("bringing region %s back: %w", r.Name, err)
	}
	return nil
}

// AdminConfig is a client configuration that may do everything in the region's cluster.
func (r *Region) AdminConfig() (*rest.Config, error) { return r.cluster.Config(apiserver.Admin) }

// ready asks an HTTP address until it answers 200.
func ready(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answered %s", url, answer.Status)
		}
		return nil
	}
}

// AgentURL is the base URL of the region's agent.
func (r *Region) AgentURL() string { return r.network.agentURL() }
