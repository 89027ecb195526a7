// Package web is the HTTP interface of the user service. It knows regions only
// by the documented headers: the partition key and fencing token that the
// gateway sends with a request, and the miss that it tells the gateway. It must
// never choose a region, and never log phone numbers, passwords or tokens.
package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/user"
)

// Headers of the contract with the gateway.
const (
	headerKey   = "Multiactive-Key"
	headerSlot  = "Multiactive-Slot"
	headerEpoch = "Multiactive-Epoch"
	headerOwner = "Multiactive-Owner"
	// headerMiss in an answer says that the account, or the password, was not
	// found in this region: the gateway may ask the key's home.
	headerMiss = "Multiactive-Miss"
	// headerSession has the session that another region has for the request's
	// token, as that region's session operation answered, in base64.
	headerSession = "Multiactive-Session"
	// headerSubject in the answer to an admission says who asks for a request that is to be deferred; the
	// gateway, which takes it from nobody else, gives it back when the request is carried out.
	headerSubject = "Multiactive-Subject"
	headerUser    = "X-User-Phone"
)

const (
	// maxBody bounds request bodies, in bytes.
	maxBody = 16 << 10
	// requestTimeout bounds the work of one request.
	requestTimeout = 5 * time.Second
	cookieName     = "sid"
)

// Passwords makes and checks verifiers.
type Passwords interface {
	Verifier(plain string) (string, error)
	Check(verifier, plain string) error
}

// Server serves the user service. All fields are required, except Created.
type Server struct {
	Store     store.Store
	Sessions  store.Sessions
	Passwords Passwords
	Now       func() time.Time
	// NewID returns a random identifier that nobody can guess.
	NewID func() string
	Log   *slog.Logger
	// OpeningBalance of a new account, in the smallest unit of the currency.
	OpeningBalance int64
	SessionTTL     time.Duration
	// InsecureCookie sends the session cookie over plain HTTP too.
	InsecureCookie bool
	// GatewaySessions believes headerSession: nobody but the gateway, which drops
	// what users send, reaches this server.
	GatewaySessions bool
	// SubjectKey signs who asked for a deferred transfer: the same in every region.
	SubjectKey []byte
	// Created is called when the outbox has something new.
	Created func()
}

// Handler returns the service's routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, s.wrap(pattern, h))
	}
	handle("POST /v1/accounts", s.register)
	handle("POST /v1/login", s.login)
	handle("POST /v1/password", s.changePassword)
	handle("GET /v1/profile", s.profile)
	handle("PUT /v1/profile", s.saveProfile)
	handle("GET /v1/balance", s.balance)
	handle("POST /v1/transfers", s.transfer)
	handle("POST /v1/transfers/admit", s.admitTransfer)
	handle("GET /internal/session", s.session)
	handle("GET /readyz", s.ready)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	handle("/", func(_ http.ResponseWriter, r *http.Request) error {
		return &problem{Status: http.StatusNotFound, Code: "no-such-operation", Detail: "there is no " + r.Method + " on this path"}
	})
	return mux
}

// wrap bounds a request, turns an error into a problem document and logs the
// outcome. Paths are logged as patterns and bodies not at all.
func (s *Server) wrap(pattern string, h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.Now()
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		err := h(w, r.WithContext(ctx))
		if err == nil {
			s.Log.Debug("request", "operation", pattern, "took", s.Now().Sub(start))
			return
		}
		p := s.problemOf(pattern, err)
		p.write(w)
		s.Log.Debug("request refused", "operation", pattern, "status", p.Status, "code", p.Code, "took", s.Now().Sub(start))
	})
}

// stamp is the present time as exactly as stores keep it, so that a repeated
// request gets the same answer.
func (s *Server) stamp() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// ready answers 204 when the stores do. Kafka is left out: registrations go on
// without it and are published later.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) error {
	if err := errors.Join(s.Store.Ping(r.Context()), s.Sessions.Ping(r.Context())); err != nil {
		s.Log.Warn("not ready", "error", err)
		return &problem{Status: http.StatusServiceUnavailable, Code: "stores-unreachable", Detail: "a store does not answer"}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// checkKey refuses a request that was routed by another key than that of the
// row it is about.
func checkKey(r *http.Request, phone string) error {
	for _, h := range []string{headerKey, headerUser} {
		v := r.Header.Get(h)
		if v == "" {
			continue
		}
		if sent, err := user.NormalizePhone(v); err != nil || sent != phone {
			return badRequest("key-mismatch", "header "+h+" does not name the account that the request is about")
		}
	}
	return nil
}

// token reads the fencing token; nil when none was sent.
func token(r *http.Request) (*user.Token, error) {
	slot, epoch, owner := r.Header.Get(headerSlot), r.Header.Get(headerEpoch), r.Header.Get(headerOwner)
	if slot == "" && epoch == "" && owner == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(slot)
	if err != nil || n < 0 {
		return nil, badRequest("bad-fencing-token", "header "+headerSlot+" must be a slot number")
	}
	e, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || e < 0 {
		return nil, badRequest("bad-fencing-token", "header "+headerEpoch+" must be an epoch number")
	}
	if owner == "" {
		return nil, badRequest("bad-fencing-token", "header "+headerOwner+" must name a region")
	}
	return &user.Token{Slot: n, Epoch: e, Owner: owner}, nil
}
