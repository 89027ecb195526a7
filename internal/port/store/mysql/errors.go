package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"multiactive.dev/operator/internal/port/store"
)

// Error numbers; they are the same in MariaDB and MySQL (MariaDB: "MariaDB Error Codes"; MySQL: "Server
// Error Message Reference").
const (
	errDatabaseAccess   = 1044
	errAccessDenied     = 1045
	errBadDatabase      = 1049
	errTableAccess      = 1142
	errColumnAccess     = 1143
	errSyntax           = 1064
	errNoSuchTable      = 1146
	errSpecificAccess   = 1227
	errAccessNoPassword = 1698
	errPasswordExpired  = 1820
	errMustChange       = 1862
	errAccountLocked    = 3118
	errAccountLockedMA  = 4151
)

// is tells whether a server answered with one of these numbers.
func is(err error, numbers ...uint16) bool {
	said, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains(numbers, said.Number)
}

// explain wraps an error, and makes what concerns users and privileges typed.
func (s *Server) explain(ctx context.Context, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case is(err, errAccessDenied) && s.lacks(ctx) != nil:
		// Whoever grants what it does not have is answered as if it could not log in.
		return fmt.Errorf("%s: %w (%w)", doing, s.lacks(ctx), err)
	case is(err, errAccessDenied, errAccessNoPassword, errPasswordExpired, errMustChange, errAccountLocked, errAccountLockedMA):
		err = &store.CredentialsError{Err: err}
	case is(err, errDatabaseAccess, errTableAccess, errColumnAccess, errSpecificAccess):
		if lacks := s.lacks(ctx); lacks != nil {
			return fmt.Errorf("%s: %w (%w)", doing, lacks, err)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func (p *pool) scrub(err error) error { return scrubbed(err, p.secrets) }

// scrubbed takes passwords out of an error: servers repeat statements that they do not understand.
func scrubbed(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	said, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		if clean := scrub(err.Error(), secrets); clean != err.Error() {
			return errors.New(clean)
		}
		return err
	}
	message := said.Message
	if said.Number == errSyntax {
		// What follows is cut off somewhere, perhaps within a password.
		message, _, _ = strings.Cut(message, " near '")
	}
	if message = scrub(message, secrets); message == said.Message {
		return err
	}
	return &mysql.MySQLError{Number: said.Number, SQLState: said.SQLState, Message: message}
}

func scrub(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		quoted := quote(secret)
		// As a statement has it, as the driver quotes it, and as it is.
		for _, form := range []string{quoted[1 : len(quoted)-1], escaped.Replace(secret), secret} {
			text = strings.ReplaceAll(text, form, "***")
		}
	}
	return text
}

// escaped is how the driver writes what a literal must not have.
var escaped = strings.NewReplacer(`\`, `\\`, "'", `\'`, `"`, `\"`, "\x00", `\0`, "\n", `\n`, "\r", `\r`, "\x1a", `\Z`)
