//go:build !e2e

package mysql_test

import (
	"testing"
	"time"

	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
)

// Nothing that was acknowledged is lost, and nothing comes twice, while servers of a mesh are killed. `make
// bench-stores` kills more of them.
func TestSoak(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes 20 s")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	regions := []string{"beijing", "shanghai", "shenzhen"}
	soak := mysqltest.Soak{
		Rate: 300, Kills: 2, Quiet: 2 * time.Second, Up: time.Second, Down: time.Second, Patience: 90 * time.Second, Seed: seed,
	}
	result, err := soak.Run(t.Context(), regions, mysqltest.Run(t, regions...))
	t.Logf("%d rows acknowledged, %d refused; lag p99 %s, while killing %s; recoveries %v, settled after %s", result.Acknowledged, result.Refused,
		mysqltest.Quantile(result.Quiet, 0.99), mysqltest.Quantile(result.Killing, 0.99), result.Recoveries, result.Settled)
	if err != nil {
		t.Fatal(err)
	}
	if result.Acknowledged < 100 || len(result.Quiet) == 0 {
		t.Errorf("%d rows were acknowledged, %d lags measured: that tests little", result.Acknowledged, len(result.Quiet))
	}
}
