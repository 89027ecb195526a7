package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"multiactive.dev/operator/examples/user/internal/user"
)

// problem is an error document (RFC 9457) and the error that leads to it.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Code is stable, for programs.
	Code string `json:"code"`
	// Detail is for people: what is wrong and, where it is not plain, what to do.
	Detail string `json:"detail"`
	miss   bool
}

func (p *problem) Error() string { return p.Detail }

func (p *problem) write(w http.ResponseWriter) {
	if p.miss {
		w.Header().Set(headerMiss, "true")
	}
	p.Title = http.StatusText(p.Status)
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func badRequest(code, detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Code: code, Detail: detail}
}

// known maps the errors of the domain.
var known = []struct {
	err    error
	status int
	code   string
}{
	{user.ErrPhoneTaken, http.StatusConflict, "phone-taken"},
	{user.ErrNotFound, http.StatusNotFound, "not-found"},
	{user.ErrPayeeUnknown, http.StatusUnprocessableEntity, "payee-unknown"},
	{user.ErrInsufficientFunds, http.StatusUnprocessableEntity, "insufficient-funds"},
	{user.ErrIdempotencyReuse, http.StatusUnprocessableEntity, "idempotency-key-reused"},
}

// problemOf finds the document for an error. What users cannot mend is logged
// here and told in general words.
func (s *Server) problemOf(operation string, err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return &problem{Status: k.status, Code: k.code, Detail: k.err.Error()}
		}
	}
	switch {
	case errors.Is(err, user.ErrFenced):
		s.Log.Warn("write refused by the fence", "operation", operation, "error", err)
		return &problem{Status: http.StatusServiceUnavailable, Code: "fenced", Detail: user.ErrFenced.Error() + "; try again"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &problem{Status: http.StatusServiceUnavailable, Code: "timeout", Detail: "the stores did not answer in time; try again"}
	}
	s.Log.Error("request failed", "operation", operation, "error", err)
	return &problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "the request failed; try again later"}
}

// readJSON decodes a body of one object without unknown fields.
func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			return badRequest("bad-body", "the body must be one JSON object and nothing else")
		}
		return nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{Status: http.StatusRequestEntityTooLarge, Code: "body-too-large", Detail: "the body is larger than 16 KiB"}
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return badRequest("bad-body", "field "+wrong.Field+" must be a "+wrong.Type.String())
	}
	return badRequest("bad-body", "the body must be a JSON object with the documented fields only")
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is sent: a client that has gone cannot be told anything.
	_ = json.NewEncoder(w).Encode(v)
	return nil
}
