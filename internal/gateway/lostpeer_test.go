package gateway

import (
	"net/http"
	"strings"
	"testing"

	"multiactive.dev/operator/internal/ownership"
)

// A region that is lost without a word closes no connection. One that was kept must not be used when the region
// is back, for what is sent on it may never be answered.
func TestConnectionsToALostRegionAreNotUsedAgain(t *testing.T) {
	w := newWorld(t, nil)
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "shanghai")}
	register := func(want int32) {
		t.Helper()
		if resp, text := w.call(t, "beijing", "POST", "/v1/accounts", header, strings.NewReader(`{}`)); resp.StatusCode != http.StatusOK {
			t.Fatalf("got %d %s", resp.StatusCode, text)
		}
		if got := w.places["shanghai"].server.accepted.Load(); got != want {
			t.Errorf("%d connections were opened, want %d", got, want)
		}
	}
	register(1)
	register(1) // it was kept
	w.setState("shenzhen", ownership.RegionDrained)
	w.publish(t)
	register(1) // no region was lost
	w.setState("shanghai", ownership.RegionLost)
	w.publish(t)
	w.setState("shanghai", ownership.RegionServing)
	w.publish(t)
	register(2)
	register(2)
}
