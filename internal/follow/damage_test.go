package follow_test

import (
	"strings"
	"testing"

	"multiactive.dev/operator/internal/coordination"
	"multiactive.dev/operator/internal/follow"
	"multiactive.dev/operator/internal/ownership"
)

// Content that nobody agreed on is reported, and not taken in; neither is the reason of a failure lost.
func TestDamagedContent(t *testing.T) {
	f, store, clock := start(t)
	agreed := conf(10, 1)
	agreed.Decided, agreed.View.Epoch = 10, 7
	store.deliver <- agreed
	eventually(t, f, "connected", func(s follow.Snapshot) bool { return s.Connected && s.Problem == "" })

	unreadable := agreed
	unreadable.Revision, unreadable.Damage = 11, []ownership.Damage{{Key: "gate/beijing", What: "it is gone"}}
	lowered := agreed
	lowered.Revision, lowered.Decided, lowered.View.Epoch = 12, 12, 3
	for want, c := range map[string]ownership.Configuration{"gate/beijing: it is gone": unreadable, "view: epoch 3 follows 7": lowered} {
		store.deliver <- c
		eventually(t, f, "disconnected because "+want, func(s follow.Snapshot) bool {
			return !s.Connected && strings.Contains(s.Problem, want) && s.Configuration.View.Epoch == 7 && s.Known
		})
	}
	store.deliver <- agreed
	eventually(t, f, "connected again", func(s follow.Snapshot) bool { return s.Connected && s.Problem == "" })

	store.fail <- &coordination.OtherStoreError{Known: coordination.Position{ClusterID: 1}, Seen: coordination.Position{ClusterID: 2}}
	eventually(t, f, "refusing another store", func(s follow.Snapshot) bool { return !s.Connected && strings.Contains(s.Problem, "cluster ID") })
	pass(clock, 6e9)
}
