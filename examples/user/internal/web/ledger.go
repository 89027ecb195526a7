package web

import (
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
	session, err := s.authenticated(r)
	if err != nil {
		return user.Transfer{}, err
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
	if t.From != session.Phone {
		return user.Transfer{}, &problem{
			Status: http.StatusForbidden, Code: "not-your-account", Detail: "from must be the account that is logged in",
		}
	}
	return t, checkKey(r, t.From)
}

// admitTransfer answers whether the transfer may be accepted for later.
func (s *Server) admitTransfer(w http.ResponseWriter, r *http.Request) error {
	t, err := s.requested(r)
	if err != nil {
		return err
	}
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
