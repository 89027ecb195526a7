package deferred

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// version of the events' format. A gateway skips what it cannot read, so a new one is for changes that
// an older gateway must not act on.
const version = 1

// Kind of an event.
type Kind string

// The kinds.
const (
	// Accepted: the request was promised to be carried out. It has Request.
	Accepted Kind = "Accepted"
	// Begun: it is about to be sent to an application.
	Begun Kind = "Begun"
	// Unsent: what was begun did not reach an application.
	Unsent Kind = "Unsent"
	// Executed: the application answered that it has done it. It has Status.
	Executed Kind = "Executed"
	// Refused: the application answered that it will not do it. It has Status and Why.
	Refused Kind = "Refused"
	// Expired: nobody could do it in time. It has Why, and Unknown.
	Expired Kind = "Expired"
	// Notified: the outcome was told, or nobody is to be told.
	Notified Kind = "Notified"
)

// Request is a request as it was accepted: without cookies and credentials.
type Request struct {
	// Flow that it belongs to, as declared.
	Flow string `json:"flow"`
	// Key is the normalised partition key; empty for flows whose data has a fixed home.
	Key    string `json:"key,omitempty"`
	Method string `json:"method"`
	// URI is the escaped path and query.
	URI    string              `json:"uri"`
	Host   string              `json:"host"`
	Header map[string][]string `json:"header,omitempty"`
	Body   []byte              `json:"body,omitempty"`
	// Subject is who asked, as the application said when it admitted the request.
	Subject string `json:"subject,omitempty"`
	// IdempotencyHeader and IdempotencyKey let the application carry it out once.
	IdempotencyHeader string `json:"idempotencyHeader"`
	IdempotencyKey    string `json:"idempotencyKey"`
	// Digest names what was asked for, to tell a repetition from another request under the same key.
	Digest    string    `json:"digest"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Size is about what a request takes in memory, in bytes.
func (r *Request) Size() int {
	const overhead = 512
	n := overhead + len(r.Body) + len(r.URI) + len(r.Host) + len(r.Key) + len(r.Subject) + len(r.IdempotencyKey) + len(r.Digest)
	for name, values := range r.Header {
		n += len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	return n
}

// Event is one record of the log.
type Event struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
	// Of is the offset of the acceptance that the event is about; unused by Accepted.
	Of int64     `json:"of,omitempty"`
	At time.Time `json:"at"`
	// Request of an Accepted one.
	Request *Request `json:"request,omitempty"`
	// Status of the application's answer.
	Status int `json:"status,omitempty"`
	// Why is a sentence for the user.
	Why string `json:"why,omitempty"`
	// Unknown of an Expired one: it was begun, and may have been carried out.
	Unknown bool `json:"unknown,omitempty"`
}

type envelope struct {
	Version int `json:"v"`
	Event
}

// Encode returns the event as it is stored.
func Encode(e Event) ([]byte, error) {
	content, err := json.Marshal(envelope{version, e})
	if err != nil {
		return nil, fmt.Errorf("encoding an event of a deferred request: %w", err)
	}
	return content, nil
}

// errFormat is of a record that this version does not understand.
var errFormat = errors.New("a newer gateway wrote it, or it does not belong here")

// Decode reads a stored event. Its error holds nothing of the record's content.
func Decode(content []byte) (Event, error) {
	var e envelope
	if err := json.Unmarshal(content, &e); err != nil {
		return Event{}, errors.New("it is no JSON of an event")
	}
	if e.Version != version || e.ID == "" || (e.Kind == Accepted) != (e.Request != nil) {
		return Event{}, errFormat
	}
	switch e.Kind {
	case Accepted, Begun, Unsent, Executed, Refused, Expired, Notified:
		return e.Event, nil
	}
	return Event{}, errFormat
}
