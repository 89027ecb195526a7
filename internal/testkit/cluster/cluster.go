package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/process"
)

// Addresses that every region has within its own network.
const (
	apiPort           = 6443
	storageClientPort = 12379
	storagePeerPort   = 12380
	services          = "10.96.0.0/16"
	dnsAddress        = "10.96.0.10"
)

// Cluster is the whole Kubernetes cluster of one region, with one node of the region's name.
type Cluster struct {
	// Name of the region.
	Name string

	dir      string
	world    *World
	zone     *zone
	group    group
	server   *apiserver.Server
	programs map[string]string

	mu      sync.Mutex
	running []*process.Process // in the order of their start
	lost    bool
	// opening are the times from the start of an API server until it was ready.
	opening [][2]time.Time
}

func newCluster(w *World, name string, number int) (*Cluster, error) {
	c := &Cluster{Name: name, dir: filepath.Join(w.dir, name), world: w, programs: map[string]string{}}
	if err := c.prepare(number); err != nil {
		return nil, fmt.Errorf("preparing cluster %s: %w", name, err)
	}
	return c, nil
}

func (c *Cluster) prepare(number int) (err error) {
	for _, name := range built {
		if c.programs[name], err = binaries.Find(name); err != nil {
			return err
		}
	}
	for _, name := range []string{"containerd", "ctr"} {
		if c.programs[name], err = exec.LookPath(name); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.file("logs"), 0o700); err != nil {
		return err
	}
	if c.zone, err = c.world.network.zone(c.Name, number); err != nil {
		return err
	}
	if c.group, err = newGroup(c.world.options.Name, c.Name); err != nil {
		return err
	}
	c.server, err = apiserver.New(apiserver.Options{
		Name: c.Name, Dir: c.file("control"), Host: c.Node(), Port: apiPort,
		EtcdClientPort: storageClientPort, EtcdPeerPort: storagePeerPort,
		ServiceClusterIPRange: services, Network: c.zone.path(), Whole: true, Audit: true, AuditUsers: c.world.options.Watched,
	})
	if err != nil {
		return err
	}
	kubeconfig, err := c.server.Kubeconfig(apiserver.Admin)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Kubeconfig(), kubeconfig, 0o600); err != nil {
		return err
	}
	return c.writeConfigurations()
}

// file is a path in the cluster's directory.
func (c *Cluster) file(name string) string { return filepath.Join(c.dir, name) }

// Shared makes a directory on the node that every container may write, and returns its path there. It is
// below World.Shared, so that one Pod template fits all regions.
func (c *Cluster) Shared(name string) (string, error) {
	dir := filepath.Join(c.world.Shared(), c.Name, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o777) // containers have users of their own
}

// Node is the address of the region's node, which the other regions and users reach.
func (c *Cluster) Node() string { return c.zone.node() }

// Kubeconfig is the administrator's.
func (c *Cluster) Kubeconfig() string { return c.file("kubeconfig") }

// Config is a client configuration that may do everything in the cluster.
func (c *Cluster) Config() (*rest.Config, error) { return c.server.Config(apiserver.Admin) }

// Denied returns the requests that were refused for want of rights: writes of all users, reads of those whom
// Options.Watched names. A server that is not ready refuses what it has not read the roles for yet; those are left
// out.
func (c *Cluster) Denied() ([]apiserver.Write, error) {
	all, err := c.server.Denied()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(all, func(w apiserver.Write) bool {
		return slices.ContainsFunc(c.opening, func(span [2]time.Time) bool { return w.At.After(span[0]) && w.At.Before(span[1]) })
	}), err
}

// Start runs everything on the data that is there and returns once the node is ready. On an error what has
// started goes on, for its logs; Kill ends it.
func (c *Cluster) Start(ctx context.Context) error {
	if err := c.start(ctx); err != nil {
		return fmt.Errorf("starting cluster %s: %w", c.Name, err)
	}
	return nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := together(
		func() error { return c.open(ctx) },
		func() error { return c.run(ctx, c.containerd()) },
	); err != nil {
		return err
	}
	for _, spec := range []process.Spec{c.controllerManager(), c.scheduler(), c.kubelet(), c.kubeProxy()} {
		if err := c.run(ctx, spec); err != nil {
			return err
		}
	}
	return c.awaitNode(ctx)
}

// open starts the API server and notes how long it took to be ready.
func (c *Cluster) open(ctx context.Context) error {
	began := wall.Now()
	err := c.server.Start(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opening = append(c.opening, [2]time.Time{began, wall.Now()})
	return err
}

// wall is the clock that audit logs have as well.
var wall = clock.RealClock{}

// run starts one program in the region's network and control group.
func (c *Cluster) run(ctx context.Context, spec process.Spec) error {
	spec.LogFile = c.file("logs/" + spec.Name + ".log")
	spec.Network = c.zone.path()
	spec.Env = append(spec.Env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME="+c.dir)
	started, err := process.Start(ctx, c.group.join(spec))
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.running = append(c.running, started)
	c.mu.Unlock()
	return nil
}

// Kill loses the region at once: no packet from or to it passes any more, and every process of it ends. What
// was acknowledged stays on disk, for Return.
func (c *Cluster) Kill() error {
	c.mu.Lock()
	silent := c.lost
	c.lost = true
	c.mu.Unlock()
	var err error
	if !silent {
		err = c.zone.silence(true)
	}
	return errors.Join(err, c.end())
}

// end ends the region's processes.
func (c *Cluster) end() error {
	c.mu.Lock()
	running := c.running
	c.running = nil
	c.mu.Unlock()
	tasks := []func() error{c.server.Kill, c.group.kill}
	for _, p := range running {
		tasks = append(tasks, p.Kill)
	}
	if err := together(tasks...); err != nil {
		return fmt.Errorf("ending cluster %s: %w", c.Name, err)
	}
	return nil
}

// Return starts a killed region again on the data that it had.
func (c *Cluster) Return(ctx context.Context) error {
	c.mu.Lock()
	silent := c.lost
	c.lost = false
	c.mu.Unlock()
	if silent {
		if err := c.zone.silence(false); err != nil {
			return fmt.Errorf("bringing cluster %s back: %w", c.Name, err)
		}
	}
	return c.Start(ctx)
}

// CutOff loses all packets between the region and the others. Users still reach it, and it them.
func (c *Cluster) CutOff() error { return c.eachWay(c.world.network.cut) }

// Rejoin undoes CutOff.
func (c *Cluster) Rejoin() error { return c.eachWay(c.world.network.heal) }

func (c *Cluster) eachWay(do func(from, to string) error) error {
	var failures []error
	for _, other := range c.world.clusters {
		if other != c {
			failures = append(failures, do(c.Name, other.Name), do(other.Name, c.Name))
		}
	}
	return errors.Join(failures...)
}

// Kubectl runs kubectl against the cluster and returns what it prints.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.Command(ctx, binaries.Kubectl, nil, args...)
}

// Command runs a program, by its name or path, with the administrator's KUBECONFIG and standard input, and
// returns what it prints.
func (c *Cluster) Command(ctx context.Context, program string, stdin []byte, args ...string) (string, error) {
	path := program
	if known := c.programs[program]; known != "" {
		path = known
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"HOME=" + c.dir, "KUBECONFIG=" + c.Kubeconfig(), "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = bytes.NewReader(stdin)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("in %s: %s %s: %w: %s", c.Name, filepath.Base(program), strings.Join(args, " "), err, strings.TrimSpace(bad.String()))
	}
	return out.String(), nil
}

// together runs tasks at the same time and returns their errors.
func together(tasks ...func() error) error {
	failures := make([]error, len(tasks))
	var all sync.WaitGroup
	for i, task := range tasks {
		all.Go(func() { failures[i] = task() })
	}
	all.Wait()
	return errors.Join(failures...)
}
