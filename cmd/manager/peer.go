package main

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
)

// setupPeer adds the region's agent, its member's controllers and the hub's, which act while the agent
// leads.
func setupPeer(ctx context.Context, mgr ctrl.Manager, o memberOptions) error {
	own, err := setupMember(ctx, mgr, o)
	if err != nil {
		return err
	}
	return setupHubBeside(mgr, hubOptions{common: o.common}, own)
}
