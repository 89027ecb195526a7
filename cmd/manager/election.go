package main

import (
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
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
	return lock, nil
}
