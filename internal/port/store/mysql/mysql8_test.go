package mysql

import (
	"database/sql/driver"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// What an old server of MySQL answers, in the shapes of its manual: "SHOW REPLICA STATUS Statement", "SHOW GRANTS
// Statement", "Replication and Binary Logging Options and Variables". A new one is run under the build tag e2e.
const (
	beijing  = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	shanghai = "4f22fa47-71ca-11e1-9e33-c80aa9429562"
)

func says(begins string, columns []string, values ...driver.Value) answer {
	return answer{begins: begins, columns: columns, rows: [][]driver.Value{values}}
}

var nothingWaits = says("SELECT COUNT(*) FROM information_schema.processlist", []string{"n"}, int64(0))

func versionIs(version string) answer {
	return says("SELECT VERSION()", []string{"VERSION()"}, version)
}

// replica's status, shortened to what is read.
var status = answer{
	begins: "SHOW REPLICA STATUS",
	columns: []string{
		"Replica_IO_State", "Source_Host", "Source_User", "Source_Port", "Connect_Retry", "Replica_IO_Running", "Replica_SQL_Running",
		"Replicate_Do_DB", "Last_IO_Errno", "Last_IO_Error", "Last_SQL_Errno", "Last_SQL_Error", "Retrieved_Gtid_Set", "Executed_Gtid_Set",
		"Auto_Position", "Channel_Name",
	},
	rows: [][]driver.Value{
		{
			"Waiting for source to send event", "db.bj", "replica", "3306", "1", "Yes", "Yes", "", "0", "", "0", "", beijing + ":7-20",
			beijing + ":1-18,\n" + shanghai + ":1-5", "1", "beijing",
		},
		{
			"", "db.sz", "replica", "3306", "1", "Connecting", "No", "", "2003", "error connecting to source", "1062",
			"Could not execute Write_rows event on table shop.orders; Duplicate entry '1' for key 'orders.PRIMARY'", "", "", "1", "shenzhen",
		},
		{"", "db.old", "replica", "3306", "1", "No", "No", "shop", "0", "", "0", "", "", "", "1", "old"},
	},
}

var granted = answer{begins: "SHOW GRANTS", columns: []string{"Grants"}, rows: [][]driver.Value{
	{"GRANT SELECT, RELOAD, REPLICATION SLAVE, REPLICATION CLIENT, CREATE USER ON *.* TO `multiactive`@`%` WITH GRANT OPTION"},
	{"GRANT CONNECTION_ADMIN,REPLICATION_SLAVE_ADMIN,SYSTEM_VARIABLES_ADMIN ON *.* TO `multiactive`@`%` WITH GRANT OPTION"},
	{"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `multiactive`.* TO `multiactive`@`%`"},
}}

func observed(variables ...[2]string) []answer {
	values := map[string]string{
		"log_bin": "ON", "binlog_format": "ROW", "binlog_row_image": "FULL", "server_id": "2", "auto_increment_increment": "3",
		"auto_increment_offset": "2", "binlog_expire_logs_seconds": "2592000", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1",
		"replica_net_timeout": "10", "replica_exec_mode": "STRICT", "read_only": "OFF", "log_replica_updates": "ON", "replica_skip_errors": "OFF",
		"gtid_mode": "ON", "enforce_gtid_consistency": "ON", "super_read_only": "OFF", "replica_preserve_commit_order": "ON",
	}
	for _, variable := range variables {
		values[variable[0]] = variable[1]
	}
	settings := answer{begins: "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin'", columns: []string{"Variable_name", "Value"}}
	for name, value := range values {
		settings.rows = append(settings.rows, []driver.Value{name, value})
	}
	return []answer{
		versionIs("8.0.36"),
		says("SELECT NOT @@GLOBAL.read_only", []string{"v"}, int64(1)),
		says("SELECT COUNT(*) FROM information_schema.tables", []string{"n"}, int64(7)),
		{begins: "SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_executed, ''", columns: []string{"own", "here", "applied", "region", "origin"}, rows: [][]driver.Value{
			{shanghai, beijing + ":1-18,\n" + shanghai + ":1-5:9", "", "beijing", beijing},
			{shanghai, beijing + ":1-18,\n" + shanghai + ":1-5:9", "", "shanghai", shanghai},
		}},
		nothingWaits, status, granted,
		says("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('binlog_expire_logs_seconds', 'max", []string{"n", "v"}, "binlog_expire_logs_seconds", "2592000"),
		settings,
		{begins: "SELECT CONCAT(t.table_schema", columns: []string{"t"}},
		{begins: "SELECT l.region, l.outage", columns: []string{"region"}},
	}
}

func wantedMesh() storage.Want {
	return storage.Want{Region: "shanghai", Regions: []string{"beijing", "shanghai", "shenzhen"}, Mesh: true, Writable: true, Outage: time.Hour}
}

func TestMySQLIsObserved(t *testing.T) {
	t.Parallel()
	s, _ := recordedServer(t, observed()...)
	seen, err := s.Observe(t.Context(), wantedMesh())
	if err != nil {
		t.Fatal(err)
	}
	filter := seen.Findings
	seen.Findings = nil
	shenzhen := seen.Links["shenzhen"]
	if shenzhen.Fault == nil || shenzhen.Fault.Kind != storage.FaultConflict || shenzhen.Fault.Code != "1062" || shenzhen.Receiving {
		t.Errorf("link from shenzhen is %+v, want a conflict 1062", shenzhen)
	}
	delete(seen.Links, "shenzhen")
	want := storage.Observation{
		Version: "8.0.36", Prepared: true, Writable: true, Retained: 30 * 24 * time.Hour,
		Positions: storage.Positions{"beijing": 18, "shanghai": 5},
		Links: map[string]storage.Link{
			"beijing": {Address: "db.bj:3306", Receiving: true, Applying: true, Received: 20},
			"old":     {Address: "db.old:3306", Stopped: true, Received: -1},
		},
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("observation (-want +got):\n%s", diff)
	}
	if len(filter) != 1 || filter[0].Check != "Replicate_Do_DB" || !filter[0].Blocks {
		t.Errorf("findings are %+v, want the filter of the link from old alone", filter)
	}
}

func TestFindingsOfMySQL(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		variable   [2]string
		statement  string
		blocks, on bool
	}{
		"no log":     {[2]string{"log_bin", "OFF"}, "", true, false},
		"statements": {[2]string{"binlog_format", "MIXED"}, "SET PERSIST binlog_format = 'ROW'", true, true},
		"no numbers": {[2]string{"gtid_mode", "OFF"}, "SET PERSIST gtid_mode = 'ON'", true, false},
		"super":      {[2]string{"super_read_only", "ON"}, "SET PERSIST super_read_only = 'OFF'", true, true},
		"server id":  {[2]string{"server_id", "1"}, "SET PERSIST server_id = 2", true, false},
		"offset":     {[2]string{"auto_increment_offset", "1"}, "SET PERSIST auto_increment_offset = 2", false, true},
		"slow":       {[2]string{"replica_net_timeout", "60"}, "SET PERSIST replica_net_timeout = 10", false, true},
		"not safe":   {[2]string{"sync_binlog", "0"}, "SET PERSIST sync_binlog = 1", false, false},
	} {
		s, _ := recordedServer(t, observed(test.variable)...)
		seen, err := s.Observe(t.Context(), wantedMesh())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(seen.Findings, func(f storage.Finding) bool { return f.Check == test.variable[0] })
		if i < 0 {
			t.Errorf("%s: findings are %+v, want one about %s", name, seen.Findings, test.variable[0])
			continue
		}
		if got := seen.Findings[i]; got.Statement != test.statement || got.Blocks != test.blocks || got.Online != test.on {
			t.Errorf("%s: finding is %+v, want the statement %q, blocks %t, online %t", name, got, test.statement, test.blocks, test.on)
		}
	}
}

// sends compares what is sent, and never with a password where a person may see it.
func sends(t *testing.T, r *recorder, what string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, r.take()); diff != "" {
		t.Errorf("%s sends (-want +got):\n%s", what, diff)
	}
}

func TestLinksOfMySQL(t *testing.T) {
	t.Parallel()
	answers := append(observed(),
		says("SELECT @@GLOBAL.gtid_purged", []string{"p"}, beijing+":1-10"),
		says("SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_executed, ''", []string{"a", "b", "c"}, shanghai, beijing+":1-18", ""),
		answer{begins: "STOP REPLICA"}, answer{begins: "CHANGE REPLICATION SOURCE"}, answer{begins: "START REPLICA"}, answer{begins: "RESET REPLICA"})
	// Asked alone, where the server is has three columns.
	answers = slices.DeleteFunc(answers, func(a answer) bool { return len(a.columns) == 5 })
	s, r := recordedServer(t, answers...)
	ctx, w := t.Context(), wantedMesh()
	change := "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db.new', SOURCE_PORT = 3307, SOURCE_USER = 'replica', SOURCE_PASSWORD = 'secret', " +
		"SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 0, SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1 FOR CHANNEL "
	sends(t, r, "a new address", s.Connect(ctx, w, storage.Source{Region: "beijing", Address: "db.new:3307"}),
		"STOP REPLICA FOR CHANNEL 'beijing'", change+"'beijing'", "START REPLICA FOR CHANNEL 'beijing'")
	sends(t, r, "a new link", s.Connect(ctx, w, storage.Source{Region: "chengdu", Address: "db.new:3307"}),
		change+"'chengdu'", "START REPLICA FOR CHANNEL 'chengdu'")
	sends(t, r, "a pause", s.Pause(ctx, "beijing"), "STOP REPLICA FOR CHANNEL 'beijing'")
	sends(t, r, "a pause of none", s.Pause(ctx, "chengdu"))
	sends(t, r, "an end", s.Disconnect(ctx, w, "beijing"), "STOP REPLICA FOR CHANNEL 'beijing'", "RESET REPLICA ALL FOR CHANNEL 'beijing'")
}

func TestMySQLIsToBeSeeded(t *testing.T) {
	t.Parallel()
	s, r := recordedServer(t, versionIs("8.4.0"), nothingWaits, status,
		says("SELECT @@GLOBAL.gtid_purged", []string{"p"}, beijing+":1-30"),
		says("SELECT @@GLOBAL.server_uuid, @@GLOBAL.gtid_executed, ''", []string{"a", "b", "c"}, shanghai, beijing+":1-18", ""))
	err := s.Connect(t.Context(), wantedMesh(), storage.Source{Region: "beijing", Address: "db.new:3307"})
	needed, ok := errors.AsType[*store.BootstrapError](err)
	if !ok || len(needed.Commands) == 0 || strings.Contains(err.Error(), "secret") {
		t.Errorf("got error %v, want a BootstrapError with commands", err)
	}
	if sent := r.take(); len(sent) > 0 {
		t.Errorf("%q was sent to a server that has to be seeded", sent)
	}
}

func TestMySQLIsPrepared(t *testing.T) {
	t.Parallel()
	refused := &mysqldriver.MySQLError{Number: 1045, Message: "Access denied for user 'replica'@'10.0.0.1' (using password: YES)"}
	s, r := recordedServer(t, versionIs("8.0.36"), says("SELECT COUNT(*) FROM information_schema.tables", []string{"n"}, int64(0)),
		answer{begins: "CREATE"}, answer{begins: "ALTER USER"}, answer{begins: "GRANT"})
	open := s.replica
	s.replica = func(address string) (*pool, error) {
		p, err := open(address)
		return p, errors.Join(err, refused)
	}
	err := s.Prepare(t.Context(), wantedMesh())
	sends(t, r, "preparing", err, append(slices.Clone(schema),
		"CREATE USER IF NOT EXISTS 'replica'@'%' IDENTIFIED BY 'secret'",
		"ALTER USER 'replica'@'%' IDENTIFIED BY 'secret' ACCOUNT UNLOCK",
		"GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO 'replica'@'%'",
		"GRANT SELECT ON `multiactive`.* TO 'replica'@'%'")...)
	old, _ := recordedServer(t, versionIs("5.7.44-log"))
	if err := old.Prepare(t.Context(), wantedMesh()); err == nil || !strings.Contains(err.Error(), "5.7.44") || !strings.Contains(err.Error(), "8.0.26") {
		t.Errorf("preparing an old server: got error %v, want one that names both versions", err)
	}
}

func TestMySQLIsMadeWritable(t *testing.T) {
	t.Parallel()
	is := func(writable int64) (*Server, *recorder) {
		return recordedServer(t, versionIs("8.0.36"), says("SELECT CAST(UTC_TIMESTAMP(6)", []string{"t"}, "2026-01-02 03:04:05.000000"),
			answer{begins: "SET GLOBAL read_only"}, says("SELECT NOT @@GLOBAL.read_only", []string{"v"}, writable), answer{begins: "INSERT INTO multiactive.lease"})
	}
	s, r := is(1)
	sends(t, r, "writable", s.SetWritable(t.Context(), true),
		"SET GLOBAL read_only = IF(UTC_TIMESTAMP(6) <= '2026-01-02 03:05:05.000000', 0, @@GLOBAL.read_only)")
	// It is told when the server's clock was asked, less the time that took.
	begun := "INSERT INTO multiactive.lease (region, valid_until) VALUES ('beijing', LEAST(CAST('2026-01-02 03:04:"
	if err := s.Lease(t.Context(), "beijing", 0); err != nil {
		t.Errorf("no lease: %v", err)
	}
	if sent := r.take(); len(sent) != 1 || !strings.HasPrefix(sent[0], begun) || !strings.HasSuffix(sent[0], " AS DATETIME(6)), UTC_TIMESTAMP(6) + INTERVAL 0 MICROSECOND)) "+
		"ON DUPLICATE KEY UPDATE valid_until = VALUES(valid_until); SELECT CAST(UTC_TIMESTAMP(6) AS CHAR)") {
		t.Errorf("no lease sends %q, want a time of the server's, and no later than its clock says", sent)
	}
	if err := s.SetWritable(t.Context(), false); err == nil {
		t.Error("a server that stays writable: got no error")
	}
	s, r = is(0)
	sends(t, r, "not writable", s.SetWritable(t.Context(), false), "SET GLOBAL read_only = ON")
}
