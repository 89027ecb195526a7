// Package engines knows which engine speaks to which product. It is the only place that knows them all.
package engines

import (
	"fmt"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/port/store/mysql"
	"multiactive.dev/operator/internal/port/store/postgres"
	"multiactive.dev/operator/internal/port/store/redis"
)

// Open returns a client of a server; it connects when it is used first.
func Open(engine v1alpha1.StoreEngine, o store.Options) (store.Server, error) {
	switch engine {
	case v1alpha1.EngineMySQL, v1alpha1.EngineMariaDB:
		return mysql.Open(o)
	case v1alpha1.EnginePostgreSQL:
		return postgres.Open(o)
	case v1alpha1.EngineRedis:
		return redis.Open(o)
	}
	return nil, fmt.Errorf("this version has no engine for %s: upgrade the region's member, or set management: External", engine)
}
