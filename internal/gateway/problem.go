package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// problem is a refusal on its way to the user.
type problem struct {
	reason Reason
	detail string
	// region that the problem is about; empty: the one that refuses.
	region string
	// regenerate names the class of sessions that the user has to make anew, by logging in again.
	regenerate string
}

func problemOf(reason Reason, format string, args ...any) *problem {
	return &problem{reason: reason, detail: fmt.Sprintf(format, args...)}
}

// Problem is the body of every refusal: a problem document (RFC 9457) with members of its own.
type Problem struct {
	// Type is TypePrefix followed by Reason.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what happened and what to do.
	Detail string `json:"detail"`
	// Instance names this occurrence; the gateway's log has it too.
	Instance string `json:"instance"`
	// Flow that the request belongs to; empty when none matches.
	Flow   string `json:"flow,omitempty"`
	Reason Reason `json:"reason"`
	// Region that cannot serve the request.
	Region string `json:"region,omitempty"`
	// Announcement is what the service's owner tells users, in the caller's language.
	Announcement string `json:"announcement,omitempty"`
	// RetryAfterSeconds is absent when the same request would be refused again.
	RetryAfterSeconds int `json:"retryAfterSeconds,omitempty"`
}

// describeJSON turns an error of the JSON reader into the end of a sentence.
func describeJSON(err error) string {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errNotScalar), errors.Is(err, errRepeated), errors.Is(err, errOtherLetters):
		return "the value " + err.Error()
	case errors.As(err, &syntax):
		return fmt.Sprintf("malformed JSON at byte %d", syntax.Offset)
	default:
		return "malformed JSON: " + err.Error()
	}
}

// refuse answers with a problem document, or with trailers when the caller speaks gRPC.
func (ex *exchange) refuse(p *problem) {
	info := reasons[p.reason]
	ex.problem = p
	if ex.body != nil {
		ex.body.refuse()
		if ex.body.failure() != nil && ex.r.ProtoMajor == 1 {
			ex.w.Header().Set("Connection", "close") // nobody knows where the next request begins
		}
	}
	doc := Problem{
		Type: TypePrefix + string(p.reason), Title: info.title, Status: info.status, Detail: p.detail,
		Instance: ex.instance(), Reason: p.reason, Region: p.region, RetryAfterSeconds: info.retryAfter,
	}
	if ex.flow != nil && !ex.flow.unmatched {
		doc.Flow = ex.flow.name
	}
	if ex.snap != nil && info.status >= http.StatusInternalServerError {
		if doc.Region == "" {
			doc.Region = ex.snap.router.cfg.Region
		}
		doc.Announcement = ex.announce(doc.Flow)
	}
	if p.regenerate != "" {
		ex.w.Header().Set(HeaderRegenerate, p.regenerate)
	}
	if isGRPC(ex.r) {
		ex.refuseGRPC(&doc, info.grpc)
		return
	}
	h := ex.w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if info.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(info.retryAfter))
	}
	ex.w.WriteHeader(info.status)
	enc := json.NewEncoder(ex.w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(doc) // the caller may have gone
}

// refuseGRPC answers with a status in the trailers.
func (ex *exchange) refuseGRPC(doc *Problem, code int) {
	h := ex.w.Header()
	h.Set("Content-Type", "application/grpc")
	ex.w.WriteHeader(http.StatusOK)
	message := doc.Title + ": " + doc.Detail
	if doc.Announcement != "" {
		message = doc.Announcement + " (" + message + ")"
	}
	h.Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(code))
	h.Set(http.TrailerPrefix+"Grpc-Message", grpcEscape(message))
	h.Set(http.TrailerPrefix+trailerReason, string(doc.Reason))
	h.Set(http.TrailerPrefix+trailerInstance, doc.Instance)
	if doc.Flow != "" {
		h.Set(http.TrailerPrefix+trailerFlow, doc.Flow)
	}
	if doc.RetryAfterSeconds > 0 {
		h.Set(http.TrailerPrefix+trailerRetryAfter, strconv.Itoa(doc.RetryAfterSeconds))
	}
}

// grpcEscape percent-encodes a status message.
func grpcEscape(s string) string {
	return strings.ReplaceAll(url.PathEscape(s), "%20", " ")
}
