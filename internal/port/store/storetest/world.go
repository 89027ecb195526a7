// Package storetest is the contract of store.Server: the same tests for every engine, against real servers.
//
// An engine's own test hands in a World and calls Run. The tests must never depend on how an engine does
// something, only on what the contract promises; what an engine cannot do is skipped by its capabilities.
package storetest

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// World is an engine and the servers that it is tested with.
type World struct {
	// Mesh, Fences and Digests tell what the engine can.
	Mesh, Fences, Digests bool
	// Relays: links carry what their source has of other regions as well, so a change that does not fit stops
	// all links of a server that bring it.
	Relays bool
	// Forgets: a source keeps nothing for a link that has been removed; one that is made anew must be seeded with
	// what was written meanwhile.
	Forgets bool
	// Resyncs: a server that cannot go on copies everything anew by itself. Nothing that arrives conflicts, and
	// nothing is purged.
	Resyncs bool
	// Guard is the statement with which applications read their fence; its arguments are service and slot,
	// its columns owner, epoch and whether the lease is valid.
	Guard string
	// Table that applications write to, as Want.Tables has it: id BIGINT, the primary key, and value.
	Table string
	// Patience is how long something may take that usually takes a second or two. Default: 2 min.
	Patience time.Duration
	// Start runs one server per region until the test ends. Table is there and empty; all that the contract
	// needs is set, and nothing is prepared.
	Start func(t testing.TB, regions ...string) map[string]Node
	// Bare runs one server as it is installed, with none of the settings that a store needs.
	Bare func(t testing.TB, region string) Node
	// Point makes a server's link from a region read from another address, as a person would by hand. May be
	// nil.
	Point func(ctx context.Context, n Node, from, address string) error
	// Open returns the engine's client.
	Open func(store.Options) (store.Server, error)
}

// Node is a server of one region, with the means of whoever operates it.
type Node interface {
	// Options are how the operator reaches the server: as a user with the privileges that the engine's guide
	// lists, and no others.
	Options() store.Options
	// Stranger are those of a user that may log in and do nothing.
	Stranger() store.Options
	// Start runs the server again, at the same address and with its data. Stop ends it gracefully, Kill as a
	// crash does. Freeze halts it, and Continue lets it go on.
	Start(context.Context) error
	Stop(context.Context) error
	Kill() error
	Freeze() error
	Continue() error
	// Move gives the server another address, for its next start.
	Move() error
	// Put writes a row as an application does, and returns once that is acknowledged.
	Put(ctx context.Context, id int64, value string) error
	// Rows are those of Table.
	Rows(context.Context) (map[int64]string, error)
	// PutHere writes a row that is not replicated, Undo deletes it in the same way.
	PutHere(ctx context.Context, id int64, value string) error
	Undo(ctx context.Context, id int64) error
	// Purge deletes what the server keeps for others that have not read it.
	Purge(context.Context) error
	// LoseCanaries deletes the canaries of a region from a sequence to another, on this server alone.
	LoseCanaries(ctx context.Context, region string, from, to int64) error
	// Forget deletes the operator's schema, on this server alone.
	Forget(context.Context) error
	// Password changes that of a user.
	Password(ctx context.Context, user, password string) error
	// Application has connections of an application's user; nil for engines without SQL.
	Application() *sql.DB
}

// Regions of the contract's worlds.
var regions = []string{"beijing", "shanghai", "shenzhen"}

// set is a store in some regions: the servers, the operator's clients, and what is wanted.
type set struct {
	World
	t       testing.TB
	names   []string
	nodes   map[string]Node
	servers map[string]store.Server
	primary string // "" in a mesh
}

// start runs servers for a store. With a primary the others replicate from it.
func (w World) start(t testing.TB, primary string, names ...string) *set {
	t.Helper()
	if w.Patience == 0 {
		w.Patience = 2 * time.Minute
	}
	s := &set{World: w, t: t, names: names, nodes: w.Start(t, names...), servers: map[string]store.Server{}, primary: primary}
	for _, name := range names {
		s.reopen(name)
	}
	return s
}

// connected runs servers, prepares them, and sets all links up.
func (w World) connected(t testing.TB, primary string, names ...string) *set {
	t.Helper()
	s := w.start(t, primary, names...)
	for _, name := range names {
		s.prepare(name)
	}
	if primary != "" {
		for _, name := range names {
			s.must(s.servers[name].SetWritable(t.Context(), name == primary))
		}
	}
	for _, name := range names {
		s.connect(name)
	}
	return s
}

// reopen makes a new client of a server, as a restarted operator has it.
func (s *set) reopen(name string) {
	s.t.Helper()
	o := s.nodes[name].Options()
	server, err := s.Open(o)
	s.must(err)
	s.t.Cleanup(func() { _ = server.Close() })
	s.servers[name] = server
}

func (s *set) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// want is what the server of a region is to be.
func (s *set) want(name string) storage.Want {
	w := storage.Want{
		Store: "orders", Region: name, Regions: s.names, Mesh: s.primary == "", Writable: s.primary == "" || s.primary == name,
		Tables: []string{s.Table}, Outage: time.Hour,
	}
	for _, other := range s.names {
		if other != name && (s.primary == "" || (s.primary == other && s.primary != name)) {
			w.Sources = append(w.Sources, s.source(other))
		}
	}
	return w
}

func (s *set) source(name string) storage.Source {
	return storage.Source{Region: name, Address: s.nodes[name].Options().Address}
}

func (s *set) prepare(name string) {
	s.t.Helper()
	s.must(s.servers[name].Prepare(s.t.Context(), s.want(name)))
}

// connect sets up all links that a region receives.
func (s *set) connect(name string) {
	s.t.Helper()
	w := s.want(name)
	for _, source := range w.Sources {
		s.must(s.servers[name].Connect(s.t.Context(), w, source))
	}
}

func (s *set) observe(name string) storage.Observation {
	s.t.Helper()
	seen, err := s.servers[name].Observe(s.t.Context(), s.want(name))
	s.must(err)
	return seen
}
