//go:build e2e

// Package clusters_test installs the operator with Helm into whole Kubernetes clusters and loses them.
package clusters_test

import (
	"os"
	"testing"

	"multiactive.dev/operator/internal/testkit/cluster"
)

func TestMain(m *testing.M) { os.Exit(cluster.Main(m.Run)) }
