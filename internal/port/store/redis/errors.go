package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"multiactive.dev/operator/internal/port/store"
)

// longestMessage of a server that is passed on, in bytes.
const longestMessage = 512

// says tells whether a server answered with one of the error codes, which begin its messages.
func says(err error, codes ...string) bool {
	var said redis.Error
	if !errors.As(err, &said) {
		return false
	}
	code, _, _ := strings.Cut(said.Error(), " ")
	return slices.Contains(codes, code)
}

// refused tells whether a server does not take the user. "WRONGPASS" is what ACLs say, "NOAUTH" a server that
// asks for a password when none is given.
func refused(err error) bool { return says(err, "WRONGPASS", "NOAUTH") }

// explain makes errors of the contract from the client's, and leaves no password in them.
func (s *Server) explain(doing string, err error) error {
	var bootstrap *store.BootstrapError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bootstrap):
		return fmt.Errorf("%s: %w", doing, err)
	case refused(err):
		return fmt.Errorf("%s: %w", doing, &store.CredentialsError{Err: s.scrub(err)})
	case says(err, "NOPERM"):
		return fmt.Errorf("%s: %w", doing, s.privilege(err))
	}
	return fmt.Errorf("%s: %w", doing, s.scrub(err))
}

// privilege takes the command out of what the server says: User x has no permissions to run the 'acl|setuser' command.
func (s *Server) privilege(err error) error {
	missing := s.scrubText(err.Error())
	grant := "+@all"
	if _, rest, ok := strings.Cut(missing, "run the '"); ok {
		if command, _, ok := strings.Cut(rest, "'"); ok {
			missing, grant = command, "+"+command
		}
	}
	return &store.PrivilegeError{Missing: []string{missing}, Statement: "ACL SETUSER " + s.options.Admin.User + " " + grant}
}

func (s *Server) scrub(err error) error {
	if text := err.Error(); s.scrubText(text) != text {
		return errors.New(s.scrubText(text))
	}
	return err
}

func (s *Server) scrubText(text string) string {
	for _, password := range []string{s.options.Admin.Password, s.options.Replication.Password} {
		if password != "" {
			text = strings.ReplaceAll(text, password, "[password]")
		}
	}
	return text
}

func (s *Server) message(text string) string {
	text = strings.TrimSpace(s.scrubText(text))
	if len(text) > longestMessage {
		text = strings.ToValidUTF8(text[:longestMessage], "")
	}
	return text
}
