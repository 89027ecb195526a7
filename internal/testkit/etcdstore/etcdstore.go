// Package etcdstore runs a real etcd of one or more members as processes: the coordination store with
// one member per region, and the storage of a test API server.
//
// It is for tests and the playground only: no TLS, no authentication, loopback addresses or those of a network
// namespace that it is given, and no fsync
// (data outlives its process, not its machine).
package etcdstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"multiactive.dev/operator/internal/testkit/binaries"
	"multiactive.dev/operator/internal/testkit/ports"
)

// Defaults of Options; the timings suit members that are tens of milliseconds apart.
const (
	DefaultHeartbeatInterval = 200 * time.Millisecond
	DefaultElectionTimeout   = 2 * time.Second
	DefaultStartTimeout      = 60 * time.Second
)

// portsFile keeps the addresses, so that a later start on the same directory has the same.
const portsFile = "ports.json"

// MemberOptions describe one member.
type MemberOptions struct {
	// Name is a DNS label, unique in the store; for the coordination store the region's name. Required.
	Name string
	// Host is the IP address to listen on: a loopback address, or, with Network, any of that network. Required.
	Host string
	// ClientPort and PeerPort: 0 means the ones used before in this directory, else free ones.
	ClientPort, PeerPort int
	// Network is the file of the network namespace to run in, with both ports chosen. Default: the parent's.
	Network string
}

// Options describe a store.
type Options struct {
	// Dir holds data, logs and chosen ports. Required; created when missing, with what it holds kept.
	Dir string
	// Members of the store, at least one. They cannot be changed for a directory that has data.
	Members []MemberOptions
	// HeartbeatInterval between members. Default: DefaultHeartbeatInterval.
	HeartbeatInterval time.Duration
	// ElectionTimeout without a leader. Default: DefaultElectionTimeout.
	ElectionTimeout time.Duration
	// StartTimeout bounds the wait for one member. Default: DefaultStartTimeout.
	StartTimeout time.Duration
	// ExtraArgs are added to every member's command line and win over the ones above.
	ExtraArgs []string
}

// Store is a set of members that form one etcd.
type Store struct {
	members []*Member
}

type memberPorts struct {
	Client int `json:"client"`
	Peer   int `json:"peer"`
}

// New prepares a store and starts nothing.
func New(o Options) (*Store, error) {
	o = withDefaults(o)
	if err := validate(o); err != nil {
		return nil, fmt.Errorf("preparing etcd: %w", err)
	}
	program, err := binaries.Find(binaries.Etcd)
	if err != nil {
		return nil, fmt.Errorf("preparing etcd: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("preparing etcd: %w", err)
	}
	chosen, err := choosePorts(o)
	if err != nil {
		return nil, fmt.Errorf("preparing etcd: %w", err)
	}
	store := &Store{members: make([]*Member, 0, len(o.Members))}
	peers := make([]string, 0, len(o.Members))
	for _, member := range o.Members {
		store.members = append(store.members, &Member{
			name: member.Name, host: member.Host, ports: chosen[member.Name], program: program,
			timeout: o.StartTimeout, logFile: filepath.Join(o.Dir, member.Name+".log"), network: member.Network,
		})
		peers = append(peers, member.Name+"="+address(member.Host, chosen[member.Name].Peer))
	}
	for _, member := range store.members {
		member.args = arguments(member, o, strings.Join(peers, ","))
	}
	return store, nil
}

// Start runs the members that do not run, all at once, and waits until each is ready. When one fails,
// those that this call started are left running; Kill ends them.
func (s *Store) Start(ctx context.Context) error {
	return s.each(func(m *Member) error { return m.Start(ctx) })
}

// Stop ends all members gracefully.
func (s *Store) Stop(ctx context.Context) error {
	return s.each(func(m *Member) error { return m.Stop(ctx) })
}

// Kill ends all members at once.
func (s *Store) Kill() error {
	return s.each((*Member).Kill)
}

// Endpoints returns the client URLs of all members, in the order of Options.Members.
func (s *Store) Endpoints() []string {
	endpoints := make([]string, 0, len(s.members))
	for _, member := range s.members {
		endpoints = append(endpoints, member.Endpoint())
	}
	return endpoints
}

// Member returns the member with the name, or nil when there is none.
func (s *Store) Member(name string) *Member {
	i := slices.IndexFunc(s.members, func(m *Member) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return s.members[i]
}

// Members returns all members, in the order of Options.Members.
func (s *Store) Members() []*Member { return slices.Clone(s.members) }

// each runs what for all members at the same time: a first start needs a majority to become ready.
func (s *Store) each(what func(*Member) error) error {
	failures := make([]error, len(s.members))
	var all sync.WaitGroup
	for i, member := range s.members {
		all.Go(func() { failures[i] = what(member) })
	}
	all.Wait()
	return errors.Join(failures...)
}

func withDefaults(o Options) Options {
	if o.HeartbeatInterval == 0 {
		o.HeartbeatInterval = DefaultHeartbeatInterval
	}
	if o.ElectionTimeout == 0 {
		o.ElectionTimeout = DefaultElectionTimeout
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = DefaultStartTimeout
	}
	return o
}

func validate(o Options) error {
	if o.Dir == "" {
		return errors.New("option Dir is empty; name a directory for data and logs")
	}
	if len(o.Members) == 0 {
		return errors.New("option Members is empty; give at least one member")
	}
	seen := map[string]bool{}
	for i, member := range o.Members {
		if problems := validation.IsDNS1123Label(member.Name); len(problems) > 0 {
			return fmt.Errorf("option Members[%d].Name %q: %s", i, member.Name, strings.Join(problems, "; "))
		}
		if seen[member.Name] {
			return fmt.Errorf("option Members[%d].Name %q is used twice; give every member its own", i, member.Name)
		}
		seen[member.Name] = true
		if member.Network != "" && member.ClientPort != 0 && member.PeerPort != 0 {
			continue // not this machine's addresses
		}
		if err := ports.CheckLoopback(member.Host); err != nil {
			return fmt.Errorf("option Members[%d].Host: %w", i, err)
		}
	}
	return nil
}

// choosePorts takes the options' ports, else those of an earlier run, else free ones, and records them.
func choosePorts(o Options) (map[string]memberPorts, error) {
	path := filepath.Join(o.Dir, portsFile)
	earlier := map[string]memberPorts{}
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, &earlier)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the ports of an earlier run from %s: %w", path, err)
	}
	chosen := make(map[string]memberPorts, len(o.Members))
	for _, member := range o.Members {
		known := earlier[member.Name]
		free := make([]int, 2)
		if cmp.Or(member.ClientPort, known.Client) == 0 || cmp.Or(member.PeerPort, known.Peer) == 0 {
			if free, err = ports.Free(member.Host, 2); err != nil {
				return nil, err
			}
		}
		chosen[member.Name] = memberPorts{
			Client: cmp.Or(member.ClientPort, known.Client, free[0]),
			Peer:   cmp.Or(member.PeerPort, known.Peer, free[1]),
		}
	}
	if content, err = json.Marshal(chosen); err != nil {
		return nil, fmt.Errorf("recording ports: %w", err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return nil, fmt.Errorf("recording ports: %w", err)
	}
	return chosen, nil
}
