package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
)

// renewWithin is controller-runtime's own limit for renewing the Lease of an election.
const renewWithin = 10 * time.Second

// electionID names the Lease of the election among the managers of a mode.
func electionID(mode string) string { return "multiactive-" + mode }

// electionLock is the lock of that election in the name of the Pod, not of the process: a container that is started again
// because the last one has crashed goes on at once. Otherwise it would wait until the Lease has run out that the crashed one
// held, for 15 seconds, and the region's own lease would have run out by then. Nil, and the default lock, outside of a Pod.
func electionLock(config *rest.Config, o commonOptions) (resourcelock.Interface, error) {
	if !o.leaderElect || o.podUID == "" {
		return nil, nil //nolint:nilnil // nil is the default
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("naming this candidate: %w", err)
	}
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, o.operatorNamespace, electionID(o.mode),
		resourcelock.ResourceLockConfig{Identity: host + "_" + o.podUID}, rest.AddUserAgent(config, "leader-election"), renewWithin)
	if err != nil {
		return nil, fmt.Errorf("preparing the election among managers: %w", err)
	}
	return &patientLock{Interface: lock, log: ctrl.Log.WithName("election")}, nil
}

// patientLock keeps an office that was won while the API server does not answer: who takes it over has to ask the same API server.
// controller-runtime ends the process of whoever cannot renew the Lease for ten seconds, and one that begins anew needs the API server;
// the region's agent would be gone for as long as a control plane is upgraded, and the region's home writes with it. When the API server
// answers again, or refuses, its word counts.
//
// If it is this node alone that cannot reach the API server, another member takes over once the Lease has run out. That is for the protocol as if
// this process had stood still: what it writes to the coordination store is refused from then on (agent.ErrReplaced, which ends it), and the
// other acknowledges nothing before this one's lease has run out.
type patientLock struct {
	resourcelock.Interface
	log logr.Logger

	mu sync.Mutex
	// held: the last answer was that this process has the office. silent: there was none since.
	held, silent bool
}

// Create implements resourcelock.Interface.
func (l *patientLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Create(ctx, record)
	if err == nil {
		l.answered(record.HolderIdentity)
	}
	return err
}

// Get implements resourcelock.Interface.
func (l *patientLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil {
		l.answered(record.HolderIdentity)
	}
	return record, raw, err
}

// Update implements resourcelock.Interface. Renewing what this process has succeeds without an answer.
func (l *patientLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	err := l.Interface.Update(ctx, record)
	if err == nil {
		l.answered(record.HolderIdentity)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held || record.HolderIdentity != l.Identity() || !unanswered(err) {
		return err
	}
	if !l.silent {
		l.silent = true
		l.log.Info("The API server does not answer, so the Lease of the election cannot be renewed. Going on: nobody takes it over there.",
			"lease", l.Describe(), "error", err.Error())
	}
	return nil
}

func (l *patientLock) answered(holder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = holder == l.Identity()
	if l.silent {
		l.silent = false
		l.log.Info("The API server answers again.", "lease", l.Describe(), "holder", holder)
	}
}

// unanswered tells errors of a way, or of an API server that cannot reach its own storage, from its answers about the Lease.
func unanswered(err error) bool {
	if status := apierrors.APIStatus(nil); !errors.As(err, &status) {
		return true
	}
	return apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err)
}
