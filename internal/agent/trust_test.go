package agent

import (
	"errors"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// TestRoutingTaken needs the answer of every gateway that has asked of late, and of no other.
func TestRoutingTaken(t *testing.T) {
	d := newDesk(t)
	if err := d.publisher.Publish("accounts", "user", build); err != nil {
		t.Fatal(err)
	}
	d.show(10, 3)
	taken := func(decided int64, want bool, when string) {
		t.Helper()
		if got := d.RoutingTaken(decided); got != want {
			t.Errorf("%s: taken is %t", when, got)
		}
	}
	taken(3, true, "no gateway is there")
	taken(11, false, "nothing was built from what was decided")
	version := d.poll("&gateway=g-1").Version
	taken(3, false, "a gateway was given its routing and has not acted on it")
	d.poll("&gateway=g-1&wait=0s&version=" + version)
	taken(3, true, "it acts on it")
	d.show(11, 4)
	taken(4, false, "it acts on the routing before")
	version = d.poll("&gateway=g-1&version=" + version).Version
	d.poll("&gateway=g-1&wait=0s&version=" + version)
	taken(4, true, "it acts on the new routing")
	d.poll("&gateway=g-2")
	taken(4, false, "another gateway has just started")
	d.clock.Step(ackExpires + time.Second)
	taken(4, true, "neither has asked for long")
}

func TestPutTrustNeedsARegistration(t *testing.T) {
	d := newDesk(t)
	if err := d.PutTrust(t.Context(), ownership.Trust{}); !errors.Is(err, errNotRegistered) {
		t.Errorf("error is %v", err)
	}
}
