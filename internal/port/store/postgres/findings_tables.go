package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"multiactive.dev/operator/internal/storage"
)

// tableFindings are about declared tables that cannot be replicated.
func (s *Server) tableFindings(ctx context.Context, w storage.Want, st state) ([]storage.Finding, error) {
	good, err := s.publishable(ctx, s.pool, w.Tables)
	if err != nil {
		return nil, err
	}
	var found []storage.Finding
	for _, declared := range w.Tables {
		t := parseTable(declared)
		if slices.Contains(good, t) {
			if f, err := s.ownerFinding(ctx, t, st); err != nil {
				return nil, err
			} else if f != nil {
				found = append(found, *f)
			}
			continue
		}
		var kind, persistence string
		err := s.pool.QueryRow(ctx, `SELECT c.relkind::text, c.relpersistence::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = $2`, t.schema, t.name).Scan(&kind, &persistence)
		f := storage.Finding{Check: "table " + t.String(), Blocks: true}
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			f.Problem = fmt.Sprintf("table %s does not exist here; PostgreSQL replicates rows and no definitions: make it, as it is in the other regions", t)
		case err != nil:
			return nil, err
		case kind != "r" && kind != "p" || persistence != "p":
			f.Problem = fmt.Sprintf("%s is no table that is logged: it cannot be replicated", t)
		default:
			f.Statement = "ALTER TABLE " + t.quoted() + " REPLICA IDENTITY FULL"
			f.Problem = fmt.Sprintf("table %s has no primary key: nobody could tell which row a change is about, and its updates would be refused; give it one, or, which is slow, let whole rows be compared", t)
		}
		found = append(found, f)
	}
	return found, nil
}

// ownerFinding: only a table's owner may publish it.
func (s *Server) ownerFinding(ctx context.Context, t table, st state) (*storage.Finding, error) {
	if st.super {
		return nil, nil
	}
	var owner string
	var owns bool
	err := s.pool.QueryRow(ctx, `SELECT pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = to_regclass($1)`, t.quoted()).
		Scan(&owner, &owns)
	if err != nil || owns {
		return nil, err
	}
	return &storage.Finding{Check: "owner of " + t.String(), Blocks: true, Statement: "GRANT " + quote(owner) + " TO " + quote(s.options.Admin.User),
		Problem: fmt.Sprintf("the operator's user is not the owner of table %s, who alone may publish it", t)}, nil
}

// sequence of a column of a declared table.
type sequence struct {
	schema, name        string
	table               table
	column              string
	increment, next     int64
	min, max, cacheSize int64
}

// roomForRegions is the step that is proposed: as many regions can join before it must be changed.
const roomForRegions = 10

// Serial and identity columns depend on the sequence that they own ("a" and "i" in pg_depend.deptype).
const sequencesSQL = `SELECT sn.nspname, sc.relname, tn.nspname, tc.relname, a.attname, q.seqincrement, q.seqmin, q.seqmax, q.seqcache,
		coalesce(pg_sequence_last_value(sc.oid::regclass) + q.seqincrement, q.seqstart)
	FROM unnest($1::text[], $2::text[]) AS w(schema, name)
	JOIN pg_namespace tn ON tn.nspname = w.schema JOIN pg_class tc ON tc.relnamespace = tn.oid AND tc.relname = w.name
	JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = tc.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
	JOIN pg_attribute a ON a.attrelid = tc.oid AND a.attnum = d.refobjsubid
	JOIN pg_sequence q ON q.seqrelid = d.objid JOIN pg_class sc ON sc.oid = q.seqrelid JOIN pg_namespace sn ON sn.oid = sc.relnamespace
	ORDER BY 1, 2`

// sequenceFindings: sequences are not replicated. Every region must make numbers of its own, in a mesh, and after a
// takeover, when the new primary goes on with its own.
func (s *Server) sequenceFindings(ctx context.Context, w storage.Want, _ state) ([]storage.Finding, error) {
	if len(w.Regions) < 2 {
		return nil, nil
	}
	var schemas, names []string
	for _, declared := range w.Tables {
		t := parseTable(declared)
		schemas, names = append(schemas, t.schema), append(names, t.name)
	}
	rows, err := s.pool.Query(ctx, sequencesSQL, schemas, names)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (sequence, error) {
		var q sequence
		err := row.Scan(&q.schema, &q.name, &q.table.schema, &q.table.name, &q.column, &q.increment, &q.min, &q.max, &q.cacheSize, &q.next)
		return q, err
	})
	if err != nil {
		return nil, err
	}
	index := int64(slices.Index(w.Regions, w.Region))
	var found []storage.Finding
	for _, q := range all {
		if q.ownNumbers(int64(len(w.Regions)), index) {
			continue
		}
		highest := q.next
		// What other regions wrote is in the table as well.
		var used *int64
		if err := s.pool.QueryRow(ctx, "SELECT max("+quote(q.column)+")::bigint FROM "+q.table.quoted()).Scan(&used); err != nil {
			return nil, err
		}
		if used != nil {
			highest = max(highest, *used+1)
		}
		found = append(found, q.finding(w, index, highest))
	}
	return found, nil
}

// ownNumbers tells whether the sequence makes numbers that no other region's does, if theirs have the same step.
func (q sequence) ownNumbers(regions, index int64) bool {
	return q.increment >= regions && remainder(q.next, q.increment) == remainder(index+1, q.increment)
}

func remainder(a, b int64) int64 { return ((a % b) + b) % b }

func (q sequence) finding(w storage.Want, index, highest int64) storage.Finding {
	step := max(int64(roomForRegions), int64(len(w.Regions)))
	next := highest + remainder(index+1-highest, step)
	name := pgx.Identifier{q.schema, q.name}.Sanitize()
	return storage.Finding{
		Check: "sequence " + q.schema + "." + q.name, Blocks: w.Mesh, Online: q.cacheSize == 1,
		Statement: fmt.Sprintf("ALTER SEQUENCE %s INCREMENT BY %d START WITH %d RESTART", name, step, next),
		Problem: fmt.Sprintf("sequence %s.%s makes numbers that other regions' make as well: in every region it needs the same step, at least %d, and a start of its own",
			q.schema, q.name, len(w.Regions)),
	}
}
