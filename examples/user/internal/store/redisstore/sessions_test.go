package redisstore_test

import (
	"testing"
	"time"

	"multiactive.dev/operator/examples/user/internal/store/redisstore"
	"multiactive.dev/operator/examples/user/internal/store/storetest"
	"multiactive.dev/operator/examples/user/internal/testserver"
)

func TestSessions(t *testing.T) {
	k := redisstore.Open(testserver.StartRedis(t), "")
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	storetest.RunSessions(t, time.Now(), k)
}
