package gateway

import (
	"net/http"
	"strings"
)

// Headers that the gateway gives the application with a home request: the fencing token (R11).
const (
	// HeaderKey is the normalised partition key, to compare with the row that is written. Requests that any
	// region serves have it too, alone, if the gateway had to look for it.
	HeaderKey = "Multiactive-Key"
	// HeaderSlot is the key's slot, 0 to 1023. For flows with a pinned home it is that of the list of regions, which is greater and has 31
	// bits at most (ownership.PinnedSlot). What is written for it is fenced in the same way.
	HeaderSlot = "Multiactive-Slot"
	// HeaderEpoch is the epoch of the view that the gateway acts on.
	HeaderEpoch = "Multiactive-Epoch"
	// HeaderOwner is the region that owns the slot: the one where the application runs.
	HeaderOwner = "Multiactive-Owner"
)

// Headers that the gateway gives the application with a request whose session another region has. They come
// from the gateway alone, so whoever believes them must be reachable by nobody else.
const (
	// HeaderSession is what the origin's application answered, in base64.
	HeaderSession = "Multiactive-Session"
	// HeaderSessionOrigin is the region that has the session.
	HeaderSessionOrigin = "Multiactive-Session-Origin"
)

// Headers that the gateway gives the user.
const (
	// HeaderStale is "true" on an answer from this region's copy while the home cannot answer.
	HeaderStale = "Multiactive-Stale"
	// HeaderSource names the region that answered when it was not the one that was asked.
	HeaderSource = "Multiactive-Source"
	// HeaderRegenerate is on refusals of requests whose session cannot be read: the data class to make anew.
	// After a login the user goes on, in the region that was asked.
	HeaderRegenerate = "Multiactive-Regenerate"
)

// HeaderRefused is on the refusal of a request that another gateway forwarded, if nothing was sent to an
// application: the epoch that the refusing gateway acts on.
const HeaderRefused = "Multiactive-Refused"

// HeaderMiss is how the application says, with any method, that it lacks what was asked for, or that what it
// has does not match: another region may know better. It must have written nothing then.
const HeaderMiss = "Multiactive-Miss"

// HeaderAnswered is on every answer of an application to a request that another gateway forwarded: the
// region of the application. Refusals of its gateway, or of whatever stands before that, lack it.
const HeaderAnswered = "Multiactive-Answered"

// HeaderHop authenticates a request that another gateway of the service forwarded.
const HeaderHop = "Multiactive-Hop"

const reservedPrefix = "multiactive-"

// reserved reports whether a header belongs to the gateway. Underscores count as hyphens, for
// CGI-like application servers cannot tell them apart.
func reserved(name string) bool {
	if len(name) < len(reservedPrefix) {
		return false
	}
	for i := range len(reservedPrefix) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == '_':
			c = '-'
		}
		if c != reservedPrefix[i] {
			return false
		}
	}
	return true
}

// stripReserved removes every header of the gateway's own, except those named.
func stripReserved(h http.Header, keep ...string) {
	for name := range h {
		if !reserved(name) {
			continue
		}
		kept := false
		for _, k := range keep {
			kept = kept || name == k
		}
		if !kept {
			delete(h, name)
		}
	}
}

// maxHeaderFields bounds the names of a request's headers: many servers take no more than a hundred, and some
// look through all of them for each.
const maxHeaderFields = 256

// checkHeader refuses a request whose line and header are longer than the gateway takes, in bytes as
// HTTP/1.1 writes them.
func checkHeader(r *http.Request, limit int64) *problem {
	if int64(len(r.RequestURI)) > limit {
		return problemOf(ReasonURITooLong, "this gateway takes at most %d bytes of path, query and header", limit)
	}
	if len(r.Header) > maxHeaderFields {
		return problemOf(ReasonHeaderTooLarge, "this gateway takes at most %d headers", maxHeaderFields)
	}
	const separators = len(": \r\n")
	size := len(r.Method) + len(r.RequestURI) + len(r.Proto) + separators + len("Host") + len(r.Host) + separators
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + separators
		}
	}
	if int64(size) > limit {
		return problemOf(ReasonHeaderTooLarge, "this gateway takes at most %d bytes of path, query and header; send fewer or shorter cookies", limit)
	}
	return nil
}

// isGRPC reports whether the request expects its status in trailers. There is no gRPC over HTTP/1.
func isGRPC(r *http.Request) bool {
	if r.ProtoMajor < 2 {
		return false
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// isUpgrade reports whether the request asks for another protocol (WebSocket), whose messages
// may write whatever the method says.
func isUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }

// isSafe reports whether the request promises not to write.
func isSafe(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return !isUpgrade(r)
	}
	return false
}
