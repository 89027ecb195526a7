package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// ownTrailers are those of this gateway's refusals of gRPC, which pass through the gateway that has forwarded the call.
var ownTrailers = []string{trailerReason, trailerInstance, trailerFlow, trailerRetryAfter}

// Trailers of refusals of gRPC.
const (
	trailerReason     = "Multiactive-Reason"
	trailerInstance   = "Multiactive-Instance"
	trailerFlow       = "Multiactive-Flow"
	trailerRetryAfter = "Multiactive-Retry-After-Seconds"
)

// headOnly are names that mean something before a body alone: where it ends, what it is, and who may have it (RFC 9110,
// 6.5.1). A reader that merges trailers into the header would believe them.
var headOnly = map[string]bool{
	"Authorization": true, "Cache-Control": true, "Content-Encoding": true, "Content-Length": true, "Content-Range": true,
	"Content-Type": true, "Expect": true, "Host": true, "Max-Forwards": true, "Pragma": true, "Range": true,
	"Set-Cookie": true, "Www-Authenticate": true,
}

// tidyTrailer removes from an answer's trailers what its header would not have either: the gateway's own names except
// those to keep, and what concerns one connection; and what means nothing there.
func tidyTrailer(trailer http.Header, keep ...string) {
	stripReserved(trailer, keep...)
	for _, name := range hopHeaders {
		delete(trailer, name)
	}
	for name := range trailer {
		if headOnly[name] || strings.HasPrefix(name, "If-") {
			delete(trailer, name)
		}
	}
}

// tidyTrailers does that for an answer, now for those that it has announced, and for all when its body has ended.
func tidyTrailers(resp *http.Response, keep ...string) {
	tidyTrailer(resp.Trailer, keep...)
	if resp.Body == nil || resp.StatusCode == http.StatusSwitchingProtocols || resp.ContentLength >= 0 && resp.ProtoMajor < 2 {
		return // it cannot have any
	}
	resp.Body = &trailedBody{resp.Body, resp, keep}
}

// trailedBody tidies the trailers that come with its end.
type trailedBody struct {
	io.ReadCloser
	resp *http.Response
	keep []string
}

func (b *trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		tidyTrailer(b.resp.Trailer, b.keep...)
	}
	return n, err
}
