package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// RunSessions holds a session store to its contract. The store's clock must
// be the real one: Redis knows no other.
func RunSessions(t *testing.T, now time.Time, k store.Sessions) {
	ctx := t.Context()
	live := user.Session{Phone: "13800000001", AccountID: "a", ExpiresAt: now.Add(time.Hour).UTC().Truncate(time.Millisecond)}
	past := live
	past.ExpiresAt = now.Add(-time.Hour).UTC().Truncate(time.Millisecond)

	must(t, k.Ping(ctx))
	must(t, k.Put(ctx, "live", live))
	must(t, k.Put(ctx, "past", past))
	got, err := k.Get(ctx, "live")
	must(t, err)
	if diff := cmp.Diff(live, got); diff != "" {
		t.Errorf("session (-want +got):\n%s", diff)
	}
	for _, token := range []string{"past", "unknown", ""} {
		if _, err := k.Get(ctx, token); err == nil {
			t.Errorf("token %q has a session", token)
		} else {
			wantErr(t, err, user.ErrNotFound)
		}
	}
	must(t, k.Delete(ctx, "live"))
	must(t, k.Delete(ctx, "live"))
	_, err = k.Get(ctx, "live")
	wantErr(t, err, user.ErrNotFound)
}
