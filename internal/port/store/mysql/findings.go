package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/internal/storage"
)

func tooOld(spoken dialect, version string) storage.Finding {
	return storage.Finding{
		Check: "version", Blocks: true,
		Problem: fmt.Sprintf("The server is %s, and the operator needs %s or later: upgrade it.", version, spoken.oldest()),
	}
}

// findings looks at everything that keeps the server from being, or staying, part of the store.
func (s *Server) findings(ctx context.Context, spoken dialect, f facts, links []map[string]string) ([]storage.Finding, error) {
	granted, err := grantsOf(ctx, s.plain)
	if err != nil {
		return nil, s.explain(ctx, "reading the privileges of the operator's user", err)
	}
	found := s.privilegeFindings(spoken, granted)
	settling, err := s.settleFindings(ctx, spoken, f.want, granted)
	if err != nil {
		return nil, err
	}
	found = append(found, settling...)
	f.settable = spoken.keySettings(granted)
	tables, generated, err := s.tableFindings(ctx, f.want)
	if err != nil {
		return nil, err
	}
	f.generated = generated
	f.linked = len(links) > 0
	if f.value, err = s.variables(ctx, spoken); err != nil {
		return nil, err
	}
	for _, setting := range spoken.settings() {
		if one := setting.finding(f, spoken.scope()); one != nil {
			found = append(found, *one)
		}
	}
	found = append(append(found, filterFindings(links)...), s.foreignFindings(spoken, links, f.want)...)
	found = append(found, tables...)
	slices.SortStableFunc(found, func(a, b storage.Finding) int { return rank(a) - rank(b) })
	return found, nil
}

// rank puts what blocks first.
func rank(f storage.Finding) int {
	if f.Blocks {
		return 0
	}
	return 1
}

// variables reads those that settings name.
func (s *Server) variables(ctx context.Context, spoken dialect) (map[string]string, error) {
	var names []string
	for _, setting := range spoken.settings() {
		names = append(names, quote(setting.name))
	}
	values := map[string]string{}
	query := "SHOW GLOBAL VARIABLES WHERE Variable_name IN (" + strings.Join(names, ", ") + ")"
	err := s.plain.each(ctx, query, nil, func(scan func(...any) error) error {
		var name, value string
		err := scan(&name, &value)
		values[name] = value
		return err
	})
	return values, s.explain(ctx, "reading settings", err)
}

// privilegeFindings names every privilege that the operator's user lacks.
func (s *Server) privilegeFindings(spoken dialect, granted grants) []storage.Finding {
	lacks := s.lacking(spoken, granted)
	if lacks == nil {
		return nil
	}
	var found []storage.Finding
	for _, missing := range lacks.Missing {
		found = append(found, storage.Finding{
			Check: missing, Blocks: true, Statement: lacks.Statement,
			Problem: fmt.Sprintf("The operator's user lacks the privilege %s: an administrator has to grant it.", missing),
		})
	}
	return found
}

// filterFindings looks for links that leave something out.
func filterFindings(links []map[string]string) []storage.Finding {
	var found []storage.Finding
	for _, link := range links {
		for _, column := range filters {
			if value := link[column]; value != "" {
				found = append(found, storage.Finding{
					Check: column, Blocks: true,
					Problem: fmt.Sprintf("The link from %s has the filter %s = %s: what it leaves out is lost, and positions do not show it. Remove the filter.",
						link["Connection_name"]+link["Channel_Name"], column, value),
				})
			}
		}
	}
	return found
}

// filters are columns of a link's status.
var filters = []string{
	"Replicate_Do_DB", "Replicate_Ignore_DB", "Replicate_Do_Table", "Replicate_Ignore_Table", "Replicate_Wild_Do_Table",
	"Replicate_Wild_Ignore_Table", "Replicate_Do_Domain_Ids", "Replicate_Ignore_Domain_Ids", "Replicate_Ignore_Server_Ids",
}

// Mend implements store.Server.
func (s *Server) Mend(ctx context.Context, findings []storage.Finding) error {
	for _, finding := range findings {
		if !finding.Online || finding.Statement == "" {
			continue
		}
		if _, err := s.local.exec(ctx, finding.Statement); err != nil {
			return s.explain(ctx, "mending "+finding.Check, err)
		}
	}
	return nil
}
