package requestlogtest_test

import (
	"testing"

	"multiactive.dev/operator/internal/port/requestlog"
	"multiactive.dev/operator/internal/port/requestlog/requestlogtest"
)

func TestMemory(t *testing.T) {
	log := requestlogtest.NewMemory(3)
	requestlogtest.Contract(t, func(*testing.T) requestlog.Log { return log })
}
