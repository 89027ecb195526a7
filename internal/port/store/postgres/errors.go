package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"multiactive.dev/operator/internal/port/store"
)

// Codes of PostgreSQL (manual, appendix A) that decide what is done.
const (
	codeInvalidPassword      = "28P01"
	codeInvalidAuthorization = "28000"
	codeInsufficient         = "42501"
	codeReadOnly             = "25006"
	codeUndefinedTable       = "42P01"
	codeUndefinedSchema      = "3F000"
	codeDuplicateObject      = "42710"
	codeObjectInUse          = "55006"
	codeUndefinedObject      = "42704"
	codeUniqueViolation      = "23505"
)

// longestMessage of a server that is passed on, in bytes.
const longestMessage = 512

// hasCode tells whether the server said one of the codes.
func hasCode(err error, codes ...string) bool {
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return false
	}
	return slices.Contains(codes, said.Code)
}

// explain makes errors of the contract from the driver's, and leaves no password in them.
func (s *Server) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	var bootstrap *store.BootstrapError
	var privilege *store.PrivilegeError
	switch {
	case errors.As(err, &bootstrap), errors.As(err, &privilege), errors.Is(err, store.ErrUnsupported):
		return fmt.Errorf("%s: %w", doing, err)
	case hasCode(err, codeInvalidPassword, codeInvalidAuthorization):
		return fmt.Errorf("%s: %w", doing, &store.CredentialsError{Err: s.scrub(err)})
	case hasCode(err, codeInsufficient):
		return fmt.Errorf("%s: %w", doing, s.privilege(err))
	}
	return fmt.Errorf("%s: %w", doing, s.scrub(err))
}

// privilege says what helps whatever is missing; findings name privileges one by one.
func (s *Server) privilege(err error) error {
	var said *pgconn.PgError
	errors.As(err, &said)
	return &store.PrivilegeError{
		Missing:   []string{s.scrubText(said.Message)},
		Statement: "ALTER ROLE " + quote(s.options.Admin.User) + " SUPERUSER",
	}
}

// scrub returns err as it is unless a password stands in it.
func (s *Server) scrub(err error) error {
	if text := err.Error(); s.scrubText(text) != text {
		return errors.New(s.scrubText(text))
	}
	return err
}

// scrubText takes passwords out of a text, also as they are written in connection strings.
func (s *Server) scrubText(text string) string {
	for _, password := range []string{s.options.Admin.Password, s.options.Replication.Password} {
		if password == "" {
			continue
		}
		for _, form := range []string{conninfoValue(password), literal(conninfoValue(password)), password} {
			text = strings.ReplaceAll(text, form, "[password]")
		}
	}
	return text
}

// message is what a server said, short enough for a status.
func (s *Server) message(text string) string {
	text = strings.TrimSpace(s.scrubText(text))
	if len(text) > longestMessage {
		text = strings.ToValidUTF8(text[:longestMessage], "")
	}
	return text
}
