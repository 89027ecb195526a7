package register

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/history"
)

// limit is how long a request may take. A process that stood still for longer does not know any more whether
// its region still owns the key.
const limit = 2 * time.Second

// Log makes entries durable in the region; it returns once one is.
type Log interface {
	Append(context.Context, history.Entry) error
	// Ready returns nil once the register has all that had been written when the process started.
	Ready() error
}

// Service answers requests.
type Service struct {
	Region   string
	Register *Register
	Log      Log
	Journal  interface{ Append(history.Note) error }
}

// Handler serves PUT and POST /keys/{key}?id=ID, which append to the key's chain and answer with the entry.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Log.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /keys/{key}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Register.Get(r.PathValue("key")))
	})
	mux.HandleFunc("PUT /keys/{key}", func(w http.ResponseWriter, r *http.Request) { s.write(w, r, false) })
	mux.HandleFunc("POST /keys/{key}", func(w http.ResponseWriter, r *http.Request) { s.write(w, r, true) })
	return mux
}

func (s *Service) write(w http.ResponseWriter, r *http.Request, strict bool) {
	begin := history.Now()
	e, err := token(r)
	if err != nil {
		http.Error(w, "the fencing token: "+err.Error(), http.StatusBadRequest)
		return
	}
	e.Region, e.Strict = s.Region, strict
	if err := s.Log.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	turn := s.Register.turn(e.Key)
	select {
	case turn <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	if former := s.Register.Next(&e); e.Epoch < former.Epoch {
		<-turn
		if r.Context().Err() != nil {
			return // it had broken off before
		}
		s.refuse(w, e, begin, history.Fenced, http.StatusConflict)
		return
	}
	if s.note(e, begin, history.Attempted) != nil || r.Context().Err() != nil {
		<-turn
		return
	}
	s.append(w, r, e, begin, turn)
}

// append makes the entry durable and answers. It ends the turn.
func (s *Service) append(w http.ResponseWriter, r *http.Request, e history.Entry, begin time.Duration, turn <-chan struct{}) {
	done := make(chan error, 1)
	go func() { // what has been sent to the log ends some time, and the next write waits for it
		err := s.Log.Append(context.WithoutCancel(r.Context()), e)
		if err == nil {
			s.Register.Apply(e)
		}
		<-turn
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-r.Context().Done():
		return
	}
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case r.Context().Err() != nil || history.Now()-begin > limit:
		s.refuse(w, e, begin, history.TooLate, http.StatusGatewayTimeout)
	case s.note(e, begin, history.Accepted) != nil:
		w.WriteHeader(http.StatusInternalServerError)
	default:
		answer(w, e)
	}
}

func (s *Service) refuse(w http.ResponseWriter, e history.Entry, begin time.Duration, what string, status int) {
	_ = s.note(e, begin, what) // the answer is no better without
	http.Error(w, what, status)
}

func (s *Service) note(e history.Entry, begin time.Duration, what string) error {
	return s.Journal.Append(history.Note{Entry: e, What: what, Begin: begin, End: history.Now()})
}

// token reads what the gateway said.
func token(r *http.Request) (e history.Entry, err error) {
	e.Key, e.ID, e.Owner = r.PathValue("key"), r.URL.Query().Get("id"), r.Header.Get("Multiactive-Owner")
	if e.Slot, err = strconv.Atoi(r.Header.Get("Multiactive-Slot")); err != nil {
		return e, err
	}
	e.Epoch, err = strconv.ParseInt(r.Header.Get("Multiactive-Epoch"), 10, 64)
	return e, err
}

func answer(w http.ResponseWriter, e history.Entry) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(e) // nobody to tell
}
