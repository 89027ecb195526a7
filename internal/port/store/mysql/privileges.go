package mysql

import (
	"slices"
	"strings"

	"multiactive.dev/operator/internal/port/store"
)

// inSchema is what the operator's user needs in the operator's schema.
var inSchema = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"}

// forLinks are needed only where the operator makes links and their user.
var forLinks = []string{
	"CREATE USER", "RELOAD", "REPLICATION MASTER ADMIN", "REPLICATION SLAVE", "REPLICATION SLAVE ADMIN", "REPLICATION_SLAVE_ADMIN",
}

// lacking compares what the operator's user has with what it needs.
func (s *Server) lacking(spoken dialect, granted grants) *store.PrivilegeError {
	watching := s.options.Replication.User == ""
	global, _ := spoken.privileges()
	if watching {
		global = slices.DeleteFunc(global, func(privilege string) bool { return slices.Contains(forLinks, privilege) })
	}
	lacks := granted.lacking(global)
	schema := "`" + store.Schema + "`.*"
	var within []string
	for _, privilege := range inSchema {
		if !granted.has("*.*", privilege) && !granted.has(schema, privilege) {
			within = append(within, privilege)
		}
	}
	var statements []string
	account := granted.account
	if account == "" {
		account = quote(s.options.Admin.User) + "@'%'"
	}
	if len(lacks) > 0 || !granted.option["*.*"] {
		add := lacks
		if len(add) == 0 {
			add = []string{"USAGE"}
		}
		statements = append(statements, "GRANT "+strings.Join(add, ", ")+" ON *.* TO "+account+" WITH GRANT OPTION")
	}
	if !granted.option["*.*"] {
		lacks = append(lacks, "GRANT OPTION")
	}
	if len(within) > 0 {
		statements = append(statements, "GRANT "+strings.Join(within, ", ")+" ON "+store.Schema+".* TO "+account)
		for _, privilege := range within {
			lacks = append(lacks, privilege+" on "+store.Schema+".*")
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return &store.PrivilegeError{Missing: lacks, Statement: strings.Join(statements, "; ")}
}
