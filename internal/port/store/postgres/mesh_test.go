//go:build e2e

package postgres_test

import (
	"testing"

	"multiactive.dev/operator/internal/port/store/postgres"
	"multiactive.dev/operator/internal/port/store/storetest"
	testserver "multiactive.dev/operator/internal/testkit/postgres"
)

// PostgreSQL of a version that can be part of a mesh passes the contract.
func TestRealMesh(t *testing.T) {
	t.Parallel()
	programs, err := testserver.Newer()
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, storetest.World{
		Mesh: true, Fences: true, Digests: true, Forgets: true, Guard: postgres.Guard, Table: "shop.orders",
		Start: start(programs), Bare: bare(programs), Point: point, Open: open,
	})
}

func TestRealConflictNamesRow(t *testing.T) {
	t.Parallel()
	programs, err := testserver.Newer()
	if err != nil {
		t.Fatal(err)
	}
	testConflictNamesRow(t, programs)
}
