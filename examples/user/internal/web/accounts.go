package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"multiactive.dev/operator/examples/user/internal/user"
)

func (s *Server) register(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Phone, Password, Name string }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	phone, err := user.NormalizePhone(in.Phone)
	if err := errors.Join(err, user.CheckPassword("password", in.Password),
		user.CheckText("name", in.Name, user.MaxNameBytes, true)); err != nil {
		return badRequest("bad-account", joined(err))
	}
	tok, err := admitted(r, phone)
	if err != nil {
		return err
	}
	verifier, err := s.Passwords.Verifier(in.Password)
	if err != nil {
		return err
	}
	a := user.Account{ID: s.NewID(), Phone: phone, Name: in.Name, Verifier: verifier, CreatedAt: s.stamp()}
	if err := s.Store.CreateAccount(r.Context(), tok, a, s.OpeningBalance); err != nil {
		return err
	}
	s.created()
	return writeJSON(w, http.StatusCreated, map[string]any{
		"id": a.ID, "phone": a.Phone, "name": a.Name, "createdAt": a.CreatedAt,
	})
}

// login says Multiactive-Miss both for an unknown account and for a password
// that does not match: either may be news that has not arrived here yet.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Phone, Password string }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	phone, err := user.NormalizePhone(in.Phone)
	if err != nil {
		return badRequest("bad-login", err.Error())
	}
	if err := checkKey(r, phone); err != nil {
		return err
	}
	a, err := s.Store.Account(r.Context(), phone)
	if err != nil && !errors.Is(err, user.ErrNotFound) {
		return err
	}
	if err := s.Passwords.Check(a.Verifier, in.Password); err != nil {
		return &problem{
			Status: http.StatusUnauthorized, Code: "unknown-or-wrong",
			Detail: "the phone number is unknown or the password is wrong", miss: true,
		}
	}
	sid := s.NewID()
	session := user.Session{Phone: a.Phone, AccountID: a.ID, ExpiresAt: s.stamp().Add(s.SessionTTL)}
	if err := s.Sessions.Put(r.Context(), sid, session); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure is left out only where the operator of a playground says so
		Name: cookieName, Value: sid, Path: "/", Expires: session.ExpiresAt,
		HttpOnly: true, Secure: !s.InsecureCookie, SameSite: http.SameSiteLaxMode,
	})
	return writeJSON(w, http.StatusOK, map[string]any{"token": sid, "expiresAt": session.ExpiresAt})
}

func (s *Server) changePassword(w http.ResponseWriter, r *http.Request) error {
	session, err := s.authenticated(r)
	if err != nil {
		return err
	}
	var in struct{ Old, New string }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if err := user.CheckPassword("new", in.New); err != nil {
		return badRequest("bad-password", err.Error())
	}
	tok, err := admitted(r, session.Phone)
	if err != nil {
		return err
	}
	a, err := s.Store.Account(r.Context(), session.Phone)
	if err != nil {
		return err
	}
	if err := s.Passwords.Check(a.Verifier, in.Old); err != nil {
		return &problem{Status: http.StatusForbidden, Code: "wrong-password", Detail: "old is not the present password"}
	}
	verifier, err := s.Passwords.Verifier(in.New)
	if err != nil {
		return err
	}
	if err := s.Store.ChangePassword(r.Context(), tok, session.Phone, verifier, s.Now()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) profile(w http.ResponseWriter, r *http.Request) error {
	session, err := s.authenticated(r)
	if err != nil {
		return err
	}
	if err := checkKey(r, session.Phone); err != nil {
		return err
	}
	p, err := s.Store.Profile(r.Context(), session.Phone)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, p)
}

func (s *Server) saveProfile(w http.ResponseWriter, r *http.Request) error {
	session, err := s.authenticated(r)
	if err != nil {
		return err
	}
	var in struct{ Name, About string }
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if err := errors.Join(user.CheckText("name", in.Name, user.MaxNameBytes, true),
		user.CheckText("about", in.About, user.MaxAboutBytes, false)); err != nil {
		return badRequest("bad-profile", joined(err))
	}
	tok, err := admitted(r, session.Phone)
	if err != nil {
		return err
	}
	p := user.Profile{Phone: session.Phone, Name: in.Name, About: in.About}
	if err := s.Store.SaveProfile(r.Context(), tok, p, s.Now()); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, p)
}

// session tells another region's gateway what a token issued here stands for.
// Whoever has the token could use the session anyway.
func (s *Server) session(w http.ResponseWriter, r *http.Request) error {
	session, err := s.authenticated(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, session)
}

// authenticated finds the session of a request, by cookie or bearer token.
func (s *Server) authenticated(r *http.Request) (user.Session, error) {
	var sid string
	if c, err := r.Cookie(cookieName); err == nil {
		sid = c.Value
	}
	if scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		sid = strings.TrimSpace(value)
	}
	if doc := r.Header.Get(headerSession); s.GatewaySessions && doc != "" {
		return s.handedOver(doc)
	}
	refused := &problem{Status: http.StatusUnauthorized, Code: "no-session", Detail: "log in first: the request has no valid session"}
	if sid == "" {
		return user.Session{}, refused
	}
	session, err := s.Sessions.Get(r.Context(), sid)
	if errors.Is(err, user.ErrNotFound) {
		return user.Session{}, refused
	}
	return session, err
}

// handedOver reads a session that another region has.
func (s *Server) handedOver(doc string) (user.Session, error) {
	var session user.Session
	text, err := base64.StdEncoding.DecodeString(doc)
	if err == nil {
		err = json.Unmarshal(text, &session)
	}
	if err != nil || session.Phone == "" || !s.Now().Before(session.ExpiresAt) {
		return user.Session{}, &problem{Status: http.StatusUnauthorized, Code: "no-session", Detail: "the session of another region has expired; log in again"}
	}
	return session, nil
}

// admitted checks the routing key of a write and returns its fencing token.
func admitted(r *http.Request, phone string) (*user.Token, error) {
	if err := checkKey(r, phone); err != nil {
		return nil, err
	}
	return token(r)
}

func (s *Server) created() {
	if s.Created != nil {
		s.Created()
	}
}

// joined writes joined errors in one line.
func joined(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
