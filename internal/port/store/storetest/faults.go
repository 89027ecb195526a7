package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

func noSecret(t testing.TB, shown any, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if text := fmt.Sprintf("%v %+v", shown, shown); secret != "" && strings.Contains(text, secret) {
			t.Errorf("%q has the password %q in it", text, secret)
		}
	}
}

// A row that is there already stops its own link alone, says what and why, and the link goes on when a
// person has mended it.
func (w World) testConflict(t *testing.T) {
	t.Parallel()
	if w.Resyncs {
		t.Skip("the engine copies everything anew")
	}
	names := regions[:2]
	if w.Mesh {
		names = regions
	}
	s := w.connected(t, w.first(), names...)
	s.must(s.nodes[regions[1]].PutHere(t.Context(), 1, "in the way"))
	s.put(regions[0], 1, "one")
	s.sees(regions[1], fails(regions[0], storage.FaultConflict))
	fault := s.observe(regions[1]).Links[regions[0]].Fault
	if fault.Code == "" || fault.Kind.Restartable() {
		t.Errorf("fault is %+v, want the engine's code, and not restartable", *fault)
	}
	want := rowsOf(1, 1, "one")
	if w.Mesh {
		// The others' links carry on; so does the other direction.
		s.put(regions[1], 2, "two")
		want = joined(want, rowsOf(2, 2, "two"))
		s.arrive(regions[0], want)
		s.arrive(regions[2], want)
		s.put(regions[2], 3, "three")
		want = joined(want, rowsOf(3, 3, "three"))
		s.arrive(regions[0], want)
		if !w.Relays {
			s.arrive(regions[1], joined(want, rowsOf(1, 1, "in the way")))
		}
	}
	s.must(s.nodes[regions[1]].Undo(t.Context(), 1))
	for _, name := range s.names {
		s.connect(name)
	}
	s.arriveEverywhere(want)
	s.sees(regions[1], runs(regions[0]))
}

// A source that has deleted what a server lacks is not gone on from: it has to be seeded.
func (w World) testPurged(t *testing.T) {
	t.Parallel()
	if w.Resyncs {
		t.Skip("the engine copies everything anew")
	}
	s := w.pair(t)
	s.put(regions[0], 1, "one")
	s.arrive(regions[1], rowsOf(1, 1, "one"))
	s.must(s.nodes[regions[1]].Stop(t.Context()))
	s.put(regions[0], 2, "two")
	s.must(s.nodes[regions[0]].Purge(t.Context()))
	s.must(s.nodes[regions[1]].Start(t.Context()))
	s.sees(regions[1], func(seen storage.Observation) error {
		if err := fails(regions[0], storage.FaultPurged)(seen); err != nil {
			return err
		}
		need := seen.Links[regions[0]].Bootstrap
		if need == nil || need.Why == "" || len(need.Commands) == 0 {
			return fmt.Errorf("bootstrap is %+v, want why it is needed, and commands", need)
		}
		noSecret(s.t, need, s.secrets()...)
		return nil
	})
	w2 := s.want(regions[1])
	var needed *store.BootstrapError
	if err := s.servers[regions[1]].Connect(t.Context(), w2, w2.Sources[0]); !errors.As(err, &needed) || needed.Why == "" {
		t.Errorf("connecting again: got error %v, want a BootstrapError that says why", err)
	}
	s.arrive(regions[1], rowsOf(1, 1, "one"))
}

// What a source has deleted and a server has does not matter: links end and begin as before.
func (w World) testPurgedLater(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	s.put(regions[0], 1, "one")
	want := rowsOf(1, 1, "one")
	if w.Mesh {
		s.put(regions[1], 2, "two")
		want = joined(want, rowsOf(2, 2, "two"))
	}
	s.arriveEverywhere(want)
	s.beatAll(1)
	s.positionsAgree()
	// While all run: a source that is purged without its reader may not have heard yet what that has.
	for _, name := range s.names {
		s.must(s.nodes[name].Purge(t.Context()))
	}
	for _, name := range s.names {
		s.must(s.nodes[name].Kill())
	}
	for _, name := range s.names {
		s.must(s.nodes[name].Start(t.Context()))
	}
	for _, name := range s.names {
		s.reopen(name)
		s.connect(name)
	}
	s.put(regions[0], 3, "three")
	s.arriveEverywhere(joined(want, rowsOf(3, 3, "three")))
	s.sees(regions[1], runs(regions[0]))
	if w.Mesh {
		s.sees(regions[0], runs(regions[1]))
	}
}

func (s *set) secrets() []string {
	var all []string
	for _, n := range s.nodes {
		all = append(all, n.Options().Admin.Password, n.Options().Replication.Password)
	}
	return all
}

// A password that is wrong is told as such, at the server and at a link, and never shown.
func (w World) testCredentials(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	o := s.nodes[regions[0]].Options()
	right := o.Admin.Password
	o.Admin.Password = "wrong'\\secret"
	server, err := s.Open(o)
	s.must(err)
	defer func() { _ = server.Close() }()
	_, err = server.Observe(t.Context(), s.want(regions[0]))
	if _, ok := errors.AsType[*store.CredentialsError](err); !ok {
		t.Errorf("got error %v, want a CredentialsError", err)
	}
	noSecret(t, err, right, o.Admin.Password)

	// Somebody changes the password of the user that servers replicate as; the link finds out when it
	// connects again.
	who := o.Replication.User
	s.must(s.nodes[regions[0]].Password(t.Context(), who, "somebody else's"))
	s.must(s.nodes[regions[0]].Stop(t.Context()))
	s.must(s.nodes[regions[0]].Start(t.Context()))
	s.sees(regions[1], fails(regions[0], storage.FaultCredentials))
	noSecret(t, s.observe(regions[1]), s.secrets()...)
	if s.observe(regions[0]).Prepared {
		t.Error("the user has another password, and Prepared is true")
	}
	s.prepare(regions[0])
	s.connect(regions[1])
	s.put(regions[0], 1, "one")
	s.arrive(regions[1], rowsOf(1, 1, "one"))
	s.sees(regions[1], runs(regions[0]))
}

// A new password of the user that servers replicate as reaches servers and links.
func (w World) testRotation(t *testing.T) {
	t.Parallel()
	s := w.pair(t)
	for _, name := range s.names {
		o := s.nodes[name].Options()
		o.Replication.Password = "new'password\\"
		server, err := s.Open(o)
		s.must(err)
		t.Cleanup(func() { _ = server.Close() })
		s.servers[name] = server
	}
	for _, name := range s.names {
		if s.observe(name).Prepared {
			t.Errorf("%s has the old password still, and Prepared is true", name)
		}
		s.prepare(name)
	}
	for _, name := range s.names {
		s.connect(name)
	}
	s.must(s.nodes[regions[0]].Stop(t.Context()))
	s.must(s.nodes[regions[0]].Start(t.Context()))
	s.put(regions[0], 1, "one")
	s.arrive(regions[1], rowsOf(1, 1, "one"))
	s.sees(regions[1], runs(regions[0]))
}

// A user that may do nothing is told what it lacks.
func (w World) testPrivileges(t *testing.T) {
	t.Parallel()
	s := w.start(t, regions[0], regions[0])
	server, err := s.Open(s.nodes[regions[0]].Stranger())
	s.must(err)
	defer func() { _ = server.Close() }()
	err = server.Prepare(t.Context(), s.want(regions[0]))
	var lacks *store.PrivilegeError
	if !errors.As(err, &lacks) || len(lacks.Missing) == 0 || lacks.Statement == "" {
		t.Errorf("got error %v, want a PrivilegeError that names what is missing and how it is granted", err)
	}
	noSecret(t, err, s.nodes[regions[0]].Stranger().Admin.Password)
}
