package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"multiactive.dev/operator/internal/port/store"
	"multiactive.dev/operator/internal/storage"
)

// asReplica looks at a server as the user that servers replicate as: whether it may log in, and what it may do.
func (s *Server) asReplica(ctx context.Context, address string, look func(*pool) error) error {
	p, err := s.replica(address)
	if err != nil {
		return err
	}
	defer func() { _ = p.db.Close() }()
	ctx, cancel := bounded(ctx, p.timeout)
	defer cancel()
	if err := p.scrub(p.db.PingContext(ctx)); err != nil {
		return err
	}
	return look(p)
}

// openReplica makes connections of that user.
func openReplica(o store.Options, address string) (*pool, error) {
	o.Address = address
	connector, err := mysql.NewConnector(configure(&o, o.Replication))
	if err != nil {
		return nil, err
	}
	return &pool{db: sql.OpenDB(connector), timeout: o.Timeout, secrets: []string{o.Admin.Password, o.Replication.Password}}, nil
}

// loggedIn is when the user that others replicate as was last seen to be as it must be, and a mark of what the server had of it then.
type loggedIn struct {
	mark [sha256.Size]byte
	at   time.Time
}

// logInAgain is how long a user that the server has nothing else of is taken to be as it was.
const logInAgain = 10 * time.Minute

// userMark is a mark of all that the server has of the user, and of what it must be; false where it does not let that be read in one question.
func (s *Server) userMark(ctx context.Context, spoken dialect, w storage.Want) ([sha256.Size]byte, bool) {
	query := spoken.userQuery()
	if query == "" {
		return [sha256.Size]byte{}, false
	}
	var has string
	who := s.options.Replication.User
	if err := s.plain.row(ctx, query, []any{who, who}, &has); err != nil || has == "" {
		return [sha256.Size]byte{}, false
	}
	return sha256.Sum256([]byte(strings.Join(append(compared(w), has), "\n"))), true
}

// hasUser tells whether the user that others replicate as is there, with its password and all that it needs: by logging in, unless the
// server has the same of it as when that succeeded last.
func (s *Server) hasUser(ctx context.Context, spoken dialect, w storage.Want) (bool, error) {
	mark, marked := s.userMark(ctx, spoken, w)
	s.mu.Lock()
	last := s.loggedIn
	s.mu.Unlock()
	if marked && mark == last.mark && since(last.at) < logInAgain {
		return true, nil
	}
	there, err := s.logsIn(ctx, spoken, w)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loggedIn = loggedIn{}
	if there && err == nil && marked {
		s.loggedIn = loggedIn{mark, now()}
	}
	return there, err
}

// logsIn logs in as the user, and looks at what it may do.
func (s *Server) logsIn(ctx context.Context, spoken dialect, w storage.Want) (bool, error) {
	there := false
	err := s.asReplica(ctx, s.options.Address, func(p *pool) error {
		granted, err := grantsOf(ctx, p)
		_, wanted := spoken.privileges()
		there = len(granted.lacking(wanted)) == 0 && !slices.ContainsFunc(compared(w), func(schema string) bool { return !granted.has(schema, "SELECT") })
		return err
	})
	if is(err, errAccessDenied, errAccessNoPassword, errPasswordExpired, errMustChange, errAccountLocked, errAccountLockedMA) {
		return false, nil
	}
	return there, err
}

// makeUser makes the user, or gives it its password and privileges.
func (s *Server) makeUser(ctx context.Context, spoken dialect, w storage.Want) error {
	there, err := s.hasUser(ctx, spoken, w)
	if err != nil {
		return fmt.Errorf("logging in as the user %q that others replicate as: %w", s.options.Replication.User, err)
	}
	if there {
		return nil
	}
	who := s.options.Replication
	_, wanted := spoken.privileges()
	statements := []statement{
		{"CREATE USER IF NOT EXISTS ?@'%' IDENTIFIED BY ?", []any{who.User, who.Password}},
		{"ALTER USER ?@'%' IDENTIFIED BY ? ACCOUNT UNLOCK", []any{who.User, who.Password}},
		{"GRANT " + strings.Join(wanted, ", ") + " ON *.* TO ?@'%'", []any{who.User}},
	}
	for _, schema := range compared(w) {
		statements = append(statements, statement{"GRANT SELECT ON " + schema + " TO ?@'%'", []any{who.User}})
	}
	for _, make := range statements {
		if _, err := s.local.exec(ctx, make.text, make.args...); err != nil {
			return s.explain(ctx, fmt.Sprintf("making the user %q that others replicate as", who.User), err)
		}
	}
	return nil
}

// compared are the schemas whose rows other regions compare with theirs, as grants have them: in those, _ and % stand
// for others (manual, "GRANT", database privileges).
func compared(w storage.Want) []string {
	schemas := []string{store.Schema}
	for _, table := range w.Tables {
		schema, _, _ := strings.Cut(table, ".")
		schemas = append(schemas, schema)
	}
	slices.Sort(schemas)
	schemas = slices.Compact(schemas)
	for i, schema := range schemas {
		schemas[i] = strings.NewReplacer("_", `\_`, "%", `\%`).Replace(identifier(schema)) + ".*"
	}
	return schemas
}

// grants are what a user may do: privileges by what they are on, such as "*.*" or "`multiactive`.*".
type grants struct {
	on map[string][]string
	// option tells where the user may grant what it has.
	option map[string]bool
	// account is the user as the server knows it, quoted, such as "`a`@`10.%`".
	account string
}

// lacking returns which of these privileges are not granted on everything.
func (g grants) lacking(wanted []string) []string {
	var lacks []string
	for _, privilege := range wanted {
		if !g.has("*.*", privilege) {
			lacks = append(lacks, privilege)
		}
	}
	return lacks
}

func (g grants) has(on, privilege string) bool {
	return slices.Contains(g.on[on], "ALL PRIVILEGES") || slices.Contains(g.on[on], privilege)
}

// grantsOf reads what a session's user may do, or of whom it says. What servers answer has the hash of its password in it.
func grantsOf(ctx context.Context, p *pool, of ...string) (grants, error) {
	found := grants{on: map[string][]string{}, option: map[string]bool{}}
	err := p.each(ctx, "SHOW GRANTS "+strings.Join(of, " "), nil, func(scan func(...any) error) error {
		var line string
		if err := scan(&line); err != nil {
			return err
		}
		found.read(line)
		return nil
	})
	return found, err
}

// read takes one line, such as "GRANT SELECT, BINLOG MONITOR ON *.* TO `a`@`%` WITH GRANT OPTION". Lines that
// grant roles say nothing here.
func (g *grants) read(line string) {
	rest, ok := strings.CutPrefix(line, "GRANT ")
	if !ok {
		return
	}
	list, rest, ok := strings.Cut(rest, " ON ")
	if !ok {
		return
	}
	on, rest, _ := strings.Cut(rest, " TO ")
	mayGrant := false
	for privilege := range strings.SplitSeq(list, ",") {
		g.on[on] = append(g.on[on], strings.TrimSpace(privilege))
		// MySQL's dynamic privileges, such as CONNECTION_ADMIN, have an option of their own.
		mayGrant = mayGrant || !strings.Contains(privilege, "_") && strings.Contains(rest, "WITH GRANT OPTION")
	}
	for _, end := range []string{" IDENTIFIED ", " REQUIRE ", " WITH "} {
		rest, _, _ = strings.Cut(rest, end)
	}
	if rest == "PUBLIC" {
		return // what everybody may do, which nobody is to be granted
	}
	if mayGrant {
		g.option[on] = true
	}
	g.account = rest
}
