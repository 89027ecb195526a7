package mysql

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

// oddColumns are columns of a table that are of no known kind.
var oddColumns = "SELECT COALESCE(GROUP_CONCAT(column_name, ' ', data_type ORDER BY ordinal_position SEPARATOR ', '), '') FROM information_schema.columns " +
	"WHERE table_schema = ? AND table_name = ? AND data_type NOT IN ('" + strings.Join(slices.Sorted(maps.Keys(kinds)), "', '") + "')"

// settleFindings looks for what would keep late changes from being settled, while nothing is lost yet.
func (s *Server) settleFindings(ctx context.Context, spoken dialect, w storage.Want, granted grants) ([]storage.Finding, error) {
	if len(w.Conflicts) == 0 {
		// A policy may have been removed before all was decided on.
		if left, err := s.undecided(ctx, w.Region); err != nil || len(left) == 0 {
			return nil, s.explain(ctx, "reading what is to be decided on", err)
		}
	}
	var found []storage.Finding
	lacks := granted.lacking(spoken.settlePrivileges())
	if len(lacks) > 0 {
		found = append(found, storage.Finding{
			Check: strings.Join(lacks, ", "), Statement: "GRANT " + strings.Join(lacks, ", ") + " ON *.* TO " + granted.account + " WITH GRANT OPTION",
			Problem: "The operator's user lacks privileges without which what a lost region had not shipped is not settled (dataClasses.conflict): nothing comes from that " +
				"region until an administrator has granted them.",
		})
	}
	for _, p := range w.Conflicts {
		schema, table, _ := strings.Cut(p.Table, ".")
		var triggers, column int
		var odd string
		err := s.plain.row(ctx, "SELECT COUNT(*) FROM information_schema.triggers WHERE event_object_schema = ? AND event_object_table = ?", []any{schema, table}, &triggers)
		if err == nil && p.Winner == storage.WinnerLast {
			err = s.plain.row(ctx, "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ? AND table_name = ? AND column_name = ? "+
				"AND data_type IN ('datetime', 'timestamp', 'date')", []any{schema, table, p.TimestampColumn}, &column)
		}
		if err == nil {
			err = s.plain.row(ctx, oddColumns, []any{schema, table}, &odd)
		}
		if err != nil {
			return nil, s.explain(ctx, "looking at table "+p.Table, err)
		}
		if odd != "" {
			found = append(found, storage.Finding{Check: p.Table, Problem: fmt.Sprintf("Table %s has columns of types that are not known to be written again as "+
				"they were: %s. What a lost region had not shipped of it is not taken back, and nothing comes from that region. Remove dataClasses.conflict, or have "+
				"these columns in a table of their own.", p.Table, odd)})
		}
		if triggers > 0 {
			found = append(found, storage.Finding{Check: p.Table, Problem: fmt.Sprintf("Table %s has triggers: what a lost region had not shipped of it is not taken "+
				"back, and nothing comes from that region. Remove the triggers, or dataClasses.conflict.", p.Table)})
		}
		if p.Winner == storage.WinnerLast && column == 0 {
			found = append(found, storage.Finding{Check: p.Table, Problem: fmt.Sprintf("Table %s has no column %s of the type DATETIME or TIMESTAMP, which "+
				"dataClasses.conflict.lastWriterWins names: of rows that two regions have changed a person decides.", p.Table, p.TimestampColumn)})
		}
	}
	return found, nil
}
