package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"multiactive.dev/operator/internal/deferred"
	"multiactive.dev/operator/internal/port/requestlog"
)

const (
	// storeTimeout bounds the storing of one deferred request.
	storeTimeout = 5 * time.Second
	// readBackTimeout bounds the wait for what was stored to be read back.
	readBackTimeout = 2 * time.Second
	// maxIdempotencyKey bounds a client's key, in bytes.
	maxIdempotencyKey = 255
)

// keptHeaders of a request are stored with it. It is a list of what is kept, not of what is left out:
// nobody knows the names of all headers that carry credentials.
var keptHeaders = []string{"Accept", "Accept-Language", "Content-Encoding", "Content-Language", "Content-Type"}

// droppedParameters of a query are not stored, whatever their case.
var droppedParameters = []string{
	"access_token", "api_key", "apikey", "id_token", "password", "secret", "session", "sid", "token",
}

// deferrable reports whether the request may be kept for later: it writes, has an end, and was not kept
// before.
func (ex *exchange) deferrable() bool {
	return ex.g.deferrals != nil && ex.passage == nil && !ex.safe && !isUpgrade(ex.r) && !isGRPC(ex.r)
}

// deferRequest keeps the request for later, if the application admits it and the log takes it.
func (ex *exchange) deferRequest(why Reason) {
	ex.affected = true
	request, p := ex.toKeep()
	if p == nil {
		p = ex.g.deferrals.room(request)
	}
	if p != nil {
		ex.reject(OutcomeRefused, p)
		return
	}
	if !ex.admit(request) {
		return
	}
	id := ex.deferralID(request)
	if request.IdempotencyKey == "" {
		request.IdempotencyKey = id
	}
	entry, p := ex.g.deferrals.store(ex.r.Context(), ex.slot, id, request, ex.flow.deferral.ExpireAfter)
	if p != nil {
		ex.reject(OutcomeRefused, p)
		return
	}
	ex.outcome = OutcomeDeferred
	ex.g.options.Log.Info("deferred", slog.String("id", id), slog.String("flow", request.Flow), slog.String("reason", string(why)))
	ex.w.Header().Set("Location", DeferredPrefix+id)
	writeJSON(ex.w, http.StatusAccepted, statusOf(&entry))
}

// toKeep returns the request as it is stored, but for what the application says of it.
func (ex *exchange) toKeep() (*deferred.Request, *problem) {
	d := ex.flow.deferral
	idempotency := ex.r.Header.Get(d.IdempotencyHeader)
	if len(idempotency) > maxIdempotencyKey {
		return nil, problemOf(ReasonInvalidIdempotencyKey, "header %s is longer than %d bytes", d.IdempotencyHeader, maxIdempotencyKey)
	}
	if !ex.snap.router.mayForward() {
		return nil, problemOf(ReasonDeferralUnavailable, "this region has no key to name the request by; nothing was kept")
	}
	body, p := ex.wholeBody(ex.g.options.DeferredBodyBytes)
	if p != nil {
		return nil, p
	}
	r := &deferred.Request{
		Flow: ex.flow.name, Key: ex.key, Method: ex.r.Method, URI: keptURI(ex.r.URL), Host: ex.host, Body: body,
		Header: map[string][]string{}, IdempotencyHeader: d.IdempotencyHeader, IdempotencyKey: idempotency,
	}
	for _, name := range keptHeaders {
		if values := ex.r.Header[name]; len(values) > 0 {
			r.Header[name] = values
		}
	}
	r.Digest = digest(r.Method, r.URI, string(body))
	return r, nil
}

// keptURI is a path and query without parameters that are known to carry credentials.
func keptURI(u *url.URL) string {
	kept := *u
	var query []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		secret := false
		for _, dropped := range droppedParameters {
			secret = secret || strings.EqualFold(name, dropped)
		}
		if !secret {
			query = append(query, part)
		}
	}
	kept.RawQuery = strings.Join(query, "&")
	return requestURI(&kept)
}

// wholeBody reads the request's body, and leaves it to be read again.
func (ex *exchange) wholeBody(limit int64) ([]byte, *problem) {
	if ex.r.Body == nil || ex.r.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(ex.r.Body, limit+1))
	switch {
	case int64(len(body)) > limit || errors.Is(err, errBodyTooLarge):
		return nil, problemOf(ReasonBodyTooLarge, "the request cannot be carried out now, and at most %d bytes are kept for later", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problemOf(ReasonBodyTimeout, "the body did not come in time")
	case err != nil:
		return nil, problemOf(ReasonMalformedBody, "the body ended early")
	}
	ex.r.Body = &bufferedBody{Reader: bytes.NewReader(body)}
	return body, nil
}

// digest names parts: no two lists of them have the same text.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// idLength is the length of an ID without its region: 130 bits.
const idLength = 26

// deferralID names the request. Every gateway of the region gives a repetition the same name, and nobody
// outside can find out one: who has it may see what became of the request.
func (ex *exchange) deferralID(r *deferred.Request) string {
	cfg := ex.snap.router.cfg
	var sum [sha256.Size]byte
	if r.IdempotencyKey == "" {
		_, _ = rand.Read(sum[:]) // never fails
	} else {
		m := hmac.New(sha256.New, cfg.PeerKey)
		m.Write([]byte(digest("multiactive deferred id v1", cfg.UID, r.Flow, r.Key, r.Subject, r.IdempotencyKey)))
		copy(sum[:], m.Sum(nil))
	}
	return cfg.Region + "." + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:idLength]
}

// room refuses a request before the application is asked.
func (d *deferrals) room(r *deferred.Request) *problem {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.roomLocked(r)
}

func (d *deferrals) roomLocked(r *deferred.Request) *problem {
	if !d.current {
		return problemOf(ReasonDeferralUnavailable, "this gateway is still reading the requests that wait already; nothing was kept; try again")
	}
	if why := d.ledger.Room(r, d.g.options.DeferredLimits, d.promised, d.promisedBytes); why != "" {
		return problemOf(ReasonDeferralFull, "%s; nothing was kept; try again later", why)
	}
	return nil
}

// promise takes room for a request, unless it is known already.
func (d *deferrals) promise(id string, r *deferred.Request) (known *deferred.Entry, _ *problem) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.ledger.Get(id); ok && (e.State == deferred.StatePending || d.g.options.Clock.Now().Before(e.KeptUntil())) {
		return &e, reused(&e, r)
	}
	if p := d.roomLocked(r); p != nil {
		return nil, p
	}
	d.promised++
	d.promisedBytes += r.Size()
	return nil, nil
}

func (d *deferrals) kept(r *deferred.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.promised--
	d.promisedBytes -= r.Size()
}

func reused(e *deferred.Entry, r *deferred.Request) *problem {
	if e.Digest == r.Digest {
		return nil
	}
	return problemOf(ReasonIdempotencyKeyReused, "another request was made under the same idempotency key; use a new one for a new request")
}

// store puts a request into the log, and returns what is known of it: of the first one, if it was made
// before. Nil and a problem mean that it must not be taken for kept.
func (d *deferrals) store(ctx context.Context, slot int, id string, r *deferred.Request, expireAfter time.Duration) (deferred.Entry, *problem) {
	known, p := d.promise(id, r)
	switch {
	case p != nil:
		return deferred.Entry{}, p
	case known != nil:
		return *known, nil
	}
	defer d.kept(r)
	now := d.g.options.Clock.Now().UTC()
	r.ExpiresAt = now.Add(expireAfter)
	at, err := d.append(ctx, deferred.Event{Kind: deferred.Accepted, ID: id, At: now, Request: r}, func(ctx context.Context, value []byte) (requestlog.Position, error) {
		return d.log.Append(ctx, slot, value)
	})
	if err != nil {
		d.failed(err)
		return deferred.Entry{}, problemOf(ReasonDeferralUnavailable, "the requests that wait cannot be stored now, and it is not known whether this one was; "+
			"send it again with the same idempotency key")
	}
	ctx, cancel := context.WithTimeout(ctx, readBackTimeout)
	defer cancel()
	if d.applied(ctx, at) {
		if e, ok := d.get(id); ok {
			p := reused(&e, r)
			return e, p
		}
	}
	// It is stored; this gateway will read it in a moment.
	return deferred.Entry{ID: id, Flow: r.Flow, State: deferred.StatePending, AcceptedAt: now, ExpiresAt: r.ExpiresAt}, nil
}

// append stores an event.
func (d *deferrals) append(ctx context.Context, ev deferred.Event, to func(context.Context, []byte) (requestlog.Position, error)) (requestlog.Position, error) {
	value, err := deferred.Encode(ev)
	if err != nil {
		return requestlog.Position{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return to(ctx, value)
}
