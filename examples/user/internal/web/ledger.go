package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"multiactive.dev/operator/examples/user/internal/user"
)

func (s *Server) balance(w http.ResponseWriter, r *http.Request) error {
	session, err := s.authenticated(r)
	if err != nil {
		return err
	}
	if err := checkKey(r, session.Phone); err != nil {
		return err
	}
	n, err := s.Store.Balance(r.Context(), session.Phone)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"phone": session.Phone, "balance": n})
}

// requested reads a transfer and checks all that can be checked in any region:
// who asks, and whether the request makes sense. Whether the money is there,
// only the payer's home can tell.
func (s *Server) requested(r *http.Request) (user.Transfer, error) {
	// A request that was deferred has no session any more, but the subject that admitTransfer gave it.
	subject := r.Header.Get(headerSubject)
	var session user.Session
	var err error
	if subject == "" {
		if session, err = s.authenticated(r); err != nil {
			return user.Transfer{}, err
		}
	}
	var in struct {
		From, To string
		Amount   int64
	}
	if err := readJSON(r, &in); err != nil {
		return user.Transfer{}, err
	}
	t := user.Transfer{
		ID: s.NewID(), From: in.From, To: in.To, Amount: in.Amount,
		IdempotencyKey: r.Header.Get("Idempotency-Key"), CreatedAt: s.stamp(),
	}
	if err := t.Check(); err != nil {
		return user.Transfer{}, badRequest("bad-transfer", err.Error())
	}
	if subject != "" && hmac.Equal([]byte(subject), []byte(s.subject(t))) {
		session.Phone = t.From
	}
	if t.From != session.Phone {
		return user.Transfer{}, &problem{
			Status: http.StatusForbidden, Code: "not-your-account", Detail: "from must be the account that is logged in",
		}
	}
	return t, checkKey(r, t.From)
}

// subject vouches for the payer of a transfer that is carried out later, and for that transfer alone.
func (s *Server) subject(t user.Transfer) string {
	m := hmac.New(sha256.New, s.SubjectKey)
	fmt.Fprintf(m, "%q %q %d %q", t.From, t.To, t.Amount, t.IdempotencyKey)
	return t.From + "." + hex.EncodeToString(m.Sum(nil))
}

// admitTransfer answers whether the transfer may be accepted for later.
func (s *Server) admitTransfer(w http.ResponseWriter, r *http.Request) error {
	t, err := s.requested(r)
	if err != nil {
		return err
	}
	w.Header().Set(headerSubject, s.subject(t))
	return writeJSON(w, http.StatusOK, map[string]string{"subject": t.From})
}

func (s *Server) transfer(w http.ResponseWriter, r *http.Request) error {
	t, err := s.requested(r)
	if err != nil {
		return err
	}
	tok, err := token(r)
	if err != nil {
		return err
	}
	booked, err := s.Store.Transfer(r.Context(), tok, t)
	if err != nil {
		return err
	}
	s.created()
	status := http.StatusCreated
	if booked.ID != t.ID {
		// A repetition: the first one stands.
		status = http.StatusOK
	}
	return writeJSON(w, status, booked)
}
