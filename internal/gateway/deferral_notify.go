package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"multiactive.dev/operator/internal/deferred"
)

// notifyTimeout bounds one notification.
const notifyTimeout = 10 * time.Second

// Headers of a notification.
const (
	// HeaderNotification is the notification's ID: the same however often it is sent.
	HeaderNotification = "Multiactive-Notification"
	// HeaderTimestamp is when it was sent, in seconds since 1970.
	HeaderTimestamp = "Multiactive-Timestamp"
	// HeaderSignature is "v1=" and the HMAC-SHA256, in hexadecimal digits, of the timestamp, a dot and the
	// body, with the service's secret. It is absent when there is no secret.
	HeaderSignature = "Multiactive-Signature"
)

// Notification is the body of a notification.
type Notification struct {
	// ID of the notification; Request is that of the deferred request.
	ID      string `json:"id"`
	Service string `json:"service"`
	Region  string `json:"region"`
	Request string `json:"request"`
	Flow    string `json:"flow"`
	// Subject is who asked, as the application said.
	Subject        string         `json:"subject,omitempty"`
	IdempotencyKey string         `json:"idempotencyKey"`
	State          deferred.State `json:"state"`
	Status         int            `json:"status,omitempty"`
	Why            string         `json:"why,omitempty"`
	// MayHaveBeenExecuted of an expired request.
	MayHaveBeenExecuted bool      `json:"mayHaveBeenExecuted,omitempty"`
	AcceptedAt          time.Time `json:"acceptedAt"`
	DecidedAt           time.Time `json:"decidedAt"`
}

// newNotifyClient returns a client that follows no redirect, uses no proxy, and looks at the address that
// it dials, for a name may lead anywhere, and elsewhere the next time.
func newNotifyClient(refused []netip.Prefix) *http.Client { return notifyClient(notifyDialer(refused)) }

func notifyDialer(refused []netip.Prefix) *net.Dialer {
	return &net.Dialer{Timeout: peerConnectTimeout, Control: guardedBy(func(a netip.Addr) bool {
		return refusedAddress(a) || slices.ContainsFunc(refused, func(p netip.Prefix) bool { return within(p, a) })
	})}
}

func notifyClient(dialer *net.Dialer) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: peerConnectTimeout, ResponseHeaderTimeout: notifyTimeout,
			IdleConnTimeout: idleConnTimeout, MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: maxStatusBytes,
		},
		CheckRedirect: noRedirect, Timeout: notifyTimeout,
	}
}

// tell posts a request's outcome to whoever the flow names, until that takes it: at least once, under one
// ID.
func (d *deferrals) tell(ctx context.Context, _ *holding, e deferred.Entry) error {
	snap := d.g.state.load()
	f := snap.router.flowNamed(e.Flow)
	if f == nil || f.deferral == nil || f.deferral.Notify == "" {
		return nil
	}
	if err := d.post(ctx, snap.router, f.deferral.Notify, &e); err != nil {
		d.metrics.notified(e.Flow, "failed")
		d.g.options.Log.Warn("an outcome could not be told", slog.String("id", e.ID), slog.String("flow", e.Flow), slog.Any("error", err))
		return err
	}
	d.metrics.notified(e.Flow, "ok")
	_, err := d.about(ctx, &e, deferred.Event{Kind: deferred.Notified})
	return err
}

func (d *deferrals) post(ctx context.Context, router *Router, to string, e *deferred.Entry) error {
	n := Notification{
		ID: fmt.Sprintf("%s.%d", e.ID, e.Position.Offset), Service: router.cfg.Namespace + "/" + router.cfg.Name, Region: router.cfg.Region,
		Request: e.ID, Flow: e.Flow, Subject: e.Subject, IdempotencyKey: e.IdempotencyKey, State: e.State, Status: e.Status, Why: e.Why,
		MayHaveBeenExecuted: e.Unknown, AcceptedAt: e.AcceptedAt, DecidedAt: e.DecidedAt,
	}
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("notify: the address cannot be read")
	}
	timestamp := strconv.FormatInt(d.g.options.Clock.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", n.ID)
	req.Header.Set(HeaderNotification, n.ID)
	req.Header.Set(HeaderTimestamp, timestamp)
	if read := d.g.options.NotifySecret; read != nil {
		secret, err := read()
		if err != nil {
			return fmt.Errorf("notify: reading the secret: %w", err)
		}
		req.Header.Set(HeaderSignature, sign(secret, timestamp, body))
	}
	resp, err := d.notify.Do(req)
	if err != nil {
		return fmt.Errorf("notify: %w", withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, maxStatusBytes) // so that the connection can be used again
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("notify: it was answered with %s", resp.Status)
	}
	return nil
}

// withoutURL is the error without the address that was asked, which may hold a secret.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// sign returns the signature of a notification.
func sign(secret []byte, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(timestamp + "."))
	m.Write(body)
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}
