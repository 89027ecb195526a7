package main

import (
	"strings"
	"testing"

	"k8s.io/client-go/rest"
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
