package world

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/internal/testkit/process"
)

// Part is a process, or the Pods of one Deployment, that a fault can hit while the rest of the world goes
// on. Whoever froze or killed it calls Restore in the end.
type Part struct {
	// Name for people.
	Name    string
	running func() []*process.Process
	// revive starts it where nobody else does; nil: somebody does.
	revive func(context.Context) error
}

// Kill ends the processes at once (SIGKILL). A manager, a Kafka and a Pod are started again by themselves,
// as a kubelet does; the others by Restore.
func (p Part) Kill() error { return p.each((*process.Process).Kill) }

// Freeze halts the processes (SIGSTOP): connections stay open and nothing answers.
func (p Part) Freeze() error { return p.each((*process.Process).Freeze) }

// Continue undoes Freeze (SIGCONT).
func (p Part) Continue() error { return p.each((*process.Process).Continue) }

// Restore has the processes run again.
func (p Part) Restore(ctx context.Context) error {
	err := p.Continue()
	if p.revive != nil {
		err = errors.Join(err, p.revive(ctx))
	}
	return err
}

// PIDs are the numbers of the processes that run now.
func (p Part) PIDs() []int {
	var out []int
	for _, one := range p.running() {
		out = append(out, one.PID())
	}
	return out
}

func (p Part) each(do func(*process.Process) error) error {
	var failures []error
	for _, one := range p.running() {
		failures = append(failures, do(one))
	}
	return errors.Join(failures...)
}

// Manager is the hub's.
func (w *World) Manager() Part { return w.manager.part() }

// Witness is the witness's agent, of a world with two regions.
func (w *World) Witness() Part { return w.witness.part() }

// Dismiss ends the witness's agent for good: two regions are left, with the store's three members.
func (w *World) Dismiss() error { return w.witness.kill() }

// Manager is the region's, which its agent is in.
func (r *Region) Manager() Part { return r.manager.part() }

// API is the hub's API server and its storage.
func (w *World) API() Part {
	return Part{Name: "API server " + hubName, revive: w.hub.Start, running: func() []*process.Process {
		return present(w.hub.Process(), w.hub.Storage().Process())
	}}
}

// Metrics is the URL of the hub's manager's metrics.
func (w *World) Metrics() string { return metricsURL(w.network) }

// Metrics is the URL of the region's manager's metrics.
func (r *Region) Metrics() string { return metricsURL(r.network) }

func metricsURL(n network) string {
	return "http://" + net.JoinHostPort(n.manager(), strconv.Itoa(metricsPort)) + "/metrics"
}

// Profiles is the URL that the hub's manager serves profiles at, with Options.Profiles.
func (w *World) Profiles() string { return profilesURL(w.network) }

// Profiles is the URL that the region's manager serves profiles at, with Options.Profiles.
func (r *Region) Profiles() string { return profilesURL(r.network) }

func profilesURL(n network) string {
	return "http://" + net.JoinHostPort(n.manager(), strconv.Itoa(profilesPort)) + "/debug/pprof/"
}

// Broker is the region's Kafka.
func (r *Region) Broker() Part { return r.kafka.part() }

// Coordination is the region's member of the coordination store.
func (r *Region) Coordination() Part {
	member := r.world.store.Member(r.Name)
	return Part{Name: "coordination member " + r.Name, revive: member.Start, running: func() []*process.Process {
		return present(member.Process())
	}}
}

// API is the region's API server and its storage.
func (r *Region) API() Part {
	return Part{Name: "API server " + r.Name, revive: r.cluster.Start, running: func() []*process.Process {
		return present(r.cluster.Process(), r.cluster.Storage().Process())
	}}
}

// Deployment is what runs as the Pods of one Deployment of the region, or of several.
func (r *Region) Deployment(names ...string) Part {
	return r.pods(strings.Join(names, ", "), func(deployment string) bool { return slices.Contains(names, deployment) })
}

// Mirrors are the operator's own between Kafkas, which copy into the region.
func (r *Region) Mirrors() Part {
	return r.pods("mirrors", func(deployment string) bool { return strings.HasPrefix(deployment, "multiactive-mirror-") })
}

// pods are those of some Deployments.
func (r *Region) pods(name string, of func(deployment string) bool) Part {
	return Part{Name: name + " " + r.Name, running: func() []*process.Process {
		var out []*process.Process
		for pod, p := range r.processes() {
			// A Pod's name is that of its Deployment with two more words, which the node makes up.
			words := strings.Split(pod, "-")
			if of(strings.Join(words[:max(0, len(words)-2)], "-")) {
				out = append(out, p)
			}
		}
		return out
	}}
}

// All is every process of the region.
func (r *Region) All() Part {
	return Part{Name: "everything in " + r.Name, running: func() []*process.Process {
		out := present(r.manager.process(), r.kafka.process(), r.world.store.Member(r.Name).Process(),
			r.cluster.Process(), r.cluster.Storage().Process())
		for _, p := range r.processes() {
			out = append(out, p)
		}
		return out
	}}
}

func (p *program) part() Part {
	return Part{Name: p.spec.Name, running: func() []*process.Process { return present(p.process()) }}
}

func present(all ...*process.Process) []*process.Process {
	var out []*process.Process
	for _, p := range all {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

// CoordinationEndpoints are the client URLs of the coordination store.
func (w *World) CoordinationEndpoints() []string { return w.coordinationEndpoints(w.network) }
