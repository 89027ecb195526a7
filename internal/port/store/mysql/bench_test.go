//go:build !e2e

package mysql_test

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
	"multiactive.dev/operator/internal/storage"
)

// BenchmarkBeat is what a canary costs; `make bench-stores` has processor times.
func BenchmarkBeat(b *testing.B) {
	nodes := mysqltest.Run(b, "beijing")
	server, err := mysql.Open(nodes["beijing"].Options())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if err := server.Prepare(b.Context(), wanted()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := range b.N {
		if _, err := server.Beat(b.Context(), storage.Canary{Region: "beijing", Sequence: int64(i), Time: time.Unix(1, 0)}); err != nil {
			b.Fatal(err)
		}
	}
}
