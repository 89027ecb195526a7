package mysqltest

import (
	"maps"
	"strconv"

	"multiactive.dev/operator/internal/testkit/mariadb"
)

// Engine is a product as tests use it: what MariaDB and MySQL have and say differently.
type Engine struct {
	// Programs that servers run.
	Programs mariadb.Programs
	// Grants are those of docs/guides/stores-mysql.md, SettleGrants those that dataClasses.conflict needs as well.
	Grants, SettleGrants []string
	// StopLink and StartLink take the name of a link. Point takes that, a host and a port, LinkFirst tells whether in this order or with
	// the link last.
	StopLink, StartLink, Point string
	LinkFirst                  bool
	// StopAll stops all links.
	StopAll string
	// settings are those that all servers have.
	settings map[string]string
	// numbers are settings with a number of the server's own.
	numbers []string
	// JSON is the type of a column with JSON texts.
	JSON string
	// Bare are settings of a server that nobody has set up for replication, where the product's newest differs from older ones.
	Bare map[string]string
	// reads are for the application's user, where the operator cannot let all users read what fences are.
	reads []string
}

// MariaDB is the machine's.
var MariaDB = Engine{
	Grants: []string{
		"GRANT BINLOG ADMIN, BINLOG MONITOR, CREATE USER, READ_ONLY ADMIN, RELOAD, REPLICATION MASTER ADMIN, REPLICATION SLAVE, " +
			"REPLICATION SLAVE ADMIN, SELECT, SLAVE MONITOR ON *.* TO 'multiactive'@'%' WITH GRANT OPTION",
		inSchema,
	},
	SettleGrants: []string{"GRANT BINLOG REPLAY, DELETE, INSERT, TRIGGER, UPDATE ON *.* TO 'multiactive'@'%' WITH GRANT OPTION"},
	StopLink:     "STOP SLAVE ?", StartLink: "START SLAVE ?", StopAll: "STOP ALL SLAVES",
	Point: "CHANGE MASTER ? TO MASTER_HOST = ?, MASTER_PORT = ?", LinkFirst: true, JSON: "JSON",
	settings: map[string]string{
		"log-bin": "binlog", "log-slave-updates": "ON", "binlog-format": "ROW", "gtid-strict-mode": "ON", "gtid-ignore-duplicates": "ON",
		"expire-logs-days": "7",
	},
	numbers: []string{"server-id", "gtid-domain-id"},
}

const inSchema = "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON multiactive.* TO 'multiactive'@'%'"

// MySQL is that of `make mysql`.
func MySQL() (Engine, error) {
	programs, err := mariadb.MySQL()
	return Engine{
		Programs: programs,
		Grants: []string{
			"GRANT CONNECTION_ADMIN, CREATE USER, RELOAD, REPLICATION CLIENT, REPLICATION SLAVE, REPLICATION_SLAVE_ADMIN, SELECT, " +
				"SYSTEM_VARIABLES_ADMIN ON *.* TO 'multiactive'@'%' WITH GRANT OPTION",
			inSchema,
		},
		StopLink: "STOP REPLICA FOR CHANNEL ?", StartLink: "START REPLICA FOR CHANNEL ?", StopAll: "STOP REPLICA",
		SettleGrants: []string{"GRANT DELETE, INSERT, TRIGGER, UPDATE ON *.* TO 'multiactive'@'%' WITH GRANT OPTION"},
		// Its own type is binary: rows with it are not taken back.
		JSON:  "LONGTEXT",
		Point: "CHANGE REPLICATION SOURCE TO SOURCE_HOST = ?, SOURCE_PORT = ? FOR CHANNEL ?",
		settings: map[string]string{
			"log-bin": "binlog", "gtid-mode": "ON", "enforce-gtid-consistency": "ON", "binlog-expire-logs-seconds": "604800",
			"replica-net-timeout": "10",
		},
		numbers: []string{"server-id"},
		Bare:    map[string]string{"gtid-mode": "OFF", "enforce-gtid-consistency": "OFF"},
		reads:   []string{"GRANT SELECT ON multiactive.* TO 'application'@'%'"},
	}, err
}

// Settings are what a server of a store has in its configuration; place tells servers apart, from 1.
func (e Engine) Settings(place, regions int) map[string]string {
	all := maps.Clone(e.settings)
	all["auto-increment-increment"], all["auto-increment-offset"] = strconv.Itoa(regions), strconv.Itoa(place)
	for _, name := range e.numbers {
		all[name] = strconv.Itoa(place)
	}
	return all
}

// Settings are those of MariaDB.
func Settings(place, regions int) map[string]string { return MariaDB.Settings(place, regions) }
