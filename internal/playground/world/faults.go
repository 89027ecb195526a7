package world

import (
	"context"
	"errors"
	"fmt"
	"time"

	"multiactive.dev/operator/internal/testkit/apiserver"
	"multiactive.dev/operator/internal/testkit/etcdstore"
)

// CutOff has the region answer nothing and refuse nothing any more, as when all packets from and to it are
// dropped. Packets to it are (see Drops), and every process of the region is halted, so that none come from it:
// what the region itself would go on doing meanwhile it does not. Where packets cannot be dropped the kernel
// still takes connections and acknowledges what is sent, so that it takes others longer to notice.
func (r *Region) CutOff() error {
	r.mu.Lock()
	r.cut = true
	r.mu.Unlock()
	if err := errors.Join(r.network.drop(true), r.halt(true)); err != nil {
		return fmt.Errorf("cutting region %s off: %w", r.Name, err)
	}
	return nil
}

// Rejoin undoes CutOff: the region's processes go on where they were.
func (r *Region) Rejoin() error {
	if err := errors.Join(r.reconnect(), r.halt(false)); err != nil {
		return fmt.Errorf("letting region %s rejoin: %w", r.Name, err)
	}
	return nil
}

// reconnect ends the dropping of packets, if there is any.
func (r *Region) reconnect() error {
	r.mu.Lock()
	cut := r.cut
	r.cut = false
	r.mu.Unlock()
	if !cut {
		return nil
	}
	return r.network.drop(false)
}

// halt freezes everything in the region, or has it go on. The node goes first and returns last: it would
// restart what does not answer its probes.
func (r *Region) halt(frozen bool) error {
	r.mu.Lock()
	agent := r.node
	r.mu.Unlock()
	member := r.world.store.Member(r.Name)
	parts := []func() error{r.manager.proceed, r.kafka.proceed, r.cluster.Continue, member.Continue}
	pods := func() error { return agent.Continue() }
	if frozen {
		parts = []func() error{r.manager.freeze, r.kafka.freeze, r.cluster.Freeze, member.Freeze}
		pods = func() error { return agent.Freeze() }
	}
	if agent != nil {
		parts = append(parts, pods)
	}
	return together(parts)
}

// CrashManager kills the region's member process alone. It is started again as Pods are.
func (r *Region) CrashManager() error { return r.manager.crash() }

// Store is the region's member of the coordination store.
func (r *Region) Store() *etcdstore.Member { return r.world.store.Member(r.Name) }

// StoreEndpoints are the client URLs of all members of the coordination store.
func (w *World) StoreEndpoints() []string { return w.store.Endpoints() }

// KillHub ends the hub at once: its controllers, and its API server with what that stores.
func (w *World) KillHub() error {
	return together([]func() error{w.manager.kill, w.hub.Kill})
}

// ReturnHub starts the hub again on the data that it had.
func (w *World) ReturnHub(ctx context.Context) error {
	if err := w.hub.Start(ctx); err != nil {
		return fmt.Errorf("bringing the hub back: %w", err)
	}
	if err := w.manager.start(ctx); err != nil {
		return fmt.Errorf("bringing the hub back: %w", err)
	}
	return nil
}

// Writes returns what was written to the API servers of the hub and of all regions since then, by cluster:
// "hub" or the region's name. It needs Options.Audit.
func (w *World) Writes(since time.Time) (map[string][]apiserver.Write, error) {
	servers := []*apiserver.Server{w.hub}
	for _, r := range w.regions {
		servers = append(servers, r.cluster)
	}
	out := map[string][]apiserver.Write{}
	for _, s := range servers {
		writes, err := s.Writes(since)
		if err != nil {
			return nil, err
		}
		out[s.Name()] = writes
	}
	return out, nil
}
