package testkit

import (
	"testing"

	"multiactive.dev/operator/internal/testkit/ports"
)

// FreePort returns a TCP port that is free on the loopback address host now; ports.Host gives an
// address that nobody else uses.
func FreePort(t testing.TB, host string) int {
	t.Helper()
	free, err := ports.Free(host, 1)
	if err != nil {
		t.Fatal(err)
	}
	return free[0]
}
