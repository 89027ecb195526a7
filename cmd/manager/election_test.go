package main

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A container that is started again is the same candidate as the one before, and so goes on with its Lease.
func TestElectionIsInTheNameOfThePod(t *testing.T) {
	identity := func(o commonOptions) string {
		t.Helper()
		o.mode, o.operatorNamespace = modeMember, "multiactive-system"
		lock, err := electionLock(&rest.Config{Host: "https://127.0.0.1:6443"}, o)
		if err != nil {
			t.Fatal(err)
		}
		if lock == nil {
			return ""
		}
		if what := lock.Describe(); what != "multiactive-system/multiactive-member" {
			t.Errorf("the lock is %s", what)
		}
		return lock.Identity()
	}
	first, again, other := identity(commonOptions{leaderElect: true, podUID: "1"}), identity(commonOptions{leaderElect: true, podUID: "1"}), identity(commonOptions{leaderElect: true, podUID: "2"})
	if first != again || first == other || !strings.HasSuffix(first, "_1") {
		t.Errorf("two processes of one Pod are %s and %s, one of another is %s", first, again, other)
	}
	if got := identity(commonOptions{leaderElect: true}) + identity(commonOptions{podUID: "1"}); got != "" {
		t.Errorf("outside of a Pod, or without an election, the candidate is %s", got)
	}
}

// officeOf is the API server's side of a lock: what it answers next.
type officeOf struct {
	holder string
	err    error
}

func (o *officeOf) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	return &resourcelock.LeaderElectionRecord{HolderIdentity: o.holder}, nil, o.err
}

func (o *officeOf) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	if o.err == nil {
		o.holder = r.HolderIdentity
	}
	return o.err
}

func (o *officeOf) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return o.Update(ctx, r)
}
func (*officeOf) RecordEvent(string) {}
func (*officeOf) Identity() string   { return "me" }
func (*officeOf) Describe() string   { return "a/lease" }

// Whoever has the office keeps it while the API server does not answer, and only then; nobody wins it like that.
func TestAnOfficeIsKeptWithoutAnAPIServer(t *testing.T) {
	away := &url.Error{Op: "Put", URL: "https://127.0.0.1:6443", Err: context.DeadlineExceeded}
	lease := schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}
	conflict := apierrors.NewConflict(lease, "lease", errors.New("changed"))
	renew := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}
	for name, c := range map[string]struct {
		// before are what the API server answers before the renewal, each with its holder.
		before []officeOf
		answer error
		wants  bool
	}{
		"held, no answer":                {[]officeOf{{holder: "me"}}, away, true},
		"held, its storage is away":      {[]officeOf{{holder: "me"}}, apierrors.NewInternalError(errors.New("etcdserver: no leader")), true},
		"held, it has too much to do":    {[]officeOf{{holder: "me"}}, apierrors.NewTooManyRequests("later", 1), true},
		"held, still no answer":          {[]officeOf{{holder: "me"}, {err: away}}, away, true},
		"held, changed by somebody else": {[]officeOf{{holder: "me"}}, conflict, false},
		"held, forbidden":                {[]officeOf{{holder: "me"}}, apierrors.NewForbidden(lease, "lease", errors.New("no")), false},
		"never held":                     {nil, away, false},
		"held by another":                {[]officeOf{{holder: "other"}}, away, false},
		"lost since":                     {[]officeOf{{holder: "me"}, {holder: "other"}}, away, false},
		"handed over":                    {[]officeOf{{holder: "me"}, {holder: ""}}, away, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := &officeOf{}
			lock := &patientLock{Interface: server, log: logr.Discard()}
			for _, b := range c.before {
				*server = b
				_, _, _ = lock.Get(t.Context())
			}
			*server = officeOf{err: c.answer}
			if err := lock.Update(t.Context(), renew); (err == nil) != c.wants {
				t.Errorf("renewed: %v, want it to be taken for renewed: %t", err, c.wants)
			}
		})
	}
	t.Run("giving it up needs an answer", func(t *testing.T) {
		server := &officeOf{holder: "me"}
		lock := &patientLock{Interface: server, log: logr.Discard()}
		_, _, _ = lock.Get(t.Context())
		server.err = away
		if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{}); err == nil {
			t.Error("given up without an answer")
		}
	})
}
