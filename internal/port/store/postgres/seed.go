package postgres

import (
	"context"
	"fmt"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// seedFile is what the commands of a Bootstrap write rows to.
const seedFile = "multiactive-seed.sql"

// seeded tells whether a person says that what a source has is here.
func (s *Server) seeded(ctx context.Context, region string) (bool, error) {
	var seeded bool
	err := s.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM multiactive.seeded WHERE source = $1)", region).Scan(&seeded)
	return seeded, err
}

// bootstrap says how the server gets what a source has: rows of the very moment at which a new slot begins, so
// that nothing is missing and nothing comes twice. The commands are for a person, who knows whether rows that are
// here may go.
func (s *Server) bootstrap(w storage.Want, from storage.Source, why string, linked bool) storage.Bootstrap {
	slot, source, target := linkName(w.Region), s.shellAddress(from.Address), s.shellAddress(s.options.Address)
	var commands []string
	if linked {
		name := quote(linkName(from.Region))
		commands = append(commands, fmt.Sprintf("psql %s --command=%s --command=%s --command=%s", target,
			shell("ALTER SUBSCRIPTION "+name+" DISABLE"), shell("ALTER SUBSCRIPTION "+name+" SET (slot_name = NONE)"), shell("DROP SUBSCRIPTION "+name)))
	}
	var dumped []string
	for _, declared := range w.Tables {
		dumped = append(dumped, "--table="+shell(parseTable(declared).quoted()))
	}
	commands = append(commands,
		fmt.Sprintf("psql %s --command=%s", source, shell("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active AND slot_name = "+literal(slot))),
		fmt.Sprintf("psql %s <<'END'\nCREATE_REPLICATION_SLOT %s LOGICAL pgoutput EXPORT_SNAPSHOT \\gset\n\\setenv SNAPSHOT :snapshot_name\n"+
			"\\! pg_dump %s --snapshot=\"$SNAPSHOT\" --data-only %s --file=%s\nEND",
			strings.TrimSuffix(source, "'")+" replication=database'", quote(slot), source, strings.Join(dumped, " "), seedFile),
		// Its own origin keeps the rows from going on to the others as if they had been written here.
		fmt.Sprintf("PGOPTIONS='-c default_transaction_read_only=off' psql %s --set=ON_ERROR_STOP=1 --single-transaction"+
			" --command=%s --command=%s --file=%s --command=%s", target,
			shell("SELECT pg_replication_origin_create('multiactive_seed') WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'multiactive_seed')"),
			shell("SELECT pg_replication_origin_session_setup('multiactive_seed')"), seedFile,
			shell("INSERT INTO multiactive.seeded (source) VALUES ("+literal(from.Region)+") ON CONFLICT DO NOTHING")),
	)
	return storage.Bootstrap{Why: why + "; the tables must be there and hold none of these rows before they are seeded", Commands: commands}
}

// shellAddress is a connection string without a password, which the programs ask for.
func (s *Server) shellAddress(address string) string {
	host, port, err := splitAddress(address)
	if err != nil {
		return shell(address)
	}
	return shell(fmt.Sprintf("host=%s port=%d dbname=%s user=%s",
		plainValue(host), port, plainValue(s.options.Database), plainValue(s.options.Admin.User)))
}

// plainValue quotes a value of a connection string only where that is needed.
func plainValue(value string) string {
	if value != "" && strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-") == "" {
		return value
	}
	return conninfoValue(value)
}

// shell quotes a word of a command.
func shell(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
