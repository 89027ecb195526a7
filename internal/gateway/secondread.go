package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

const (
	// defaultSecondRead bounds a second read that declares nothing.
	defaultSecondRead = 300 * time.Millisecond
	// maxMissBytes of a local miss are kept until the other region has answered.
	maxMissBytes = 64 << 10
)

// secondRead is a compiled routing.SecondRead.
type secondRead struct {
	timeout       time.Duration
	answerLocally bool
	// pinned is the place of the data that is read, 0 when the flow's key decides.
	pinned int
}

func (r *Router) compileSecondRead(decl routing.Flow) (*secondRead, error) {
	if decl.SecondRead == nil || decl.HomeRegion {
		return nil, nil
	}
	s := &secondRead{timeout: decl.SecondRead.Timeout, answerLocally: decl.SecondRead.AnswerLocally}
	setDefault(&s.timeout, defaultSecondRead)
	var err error
	s.pinned, err = r.pinOf(decl.SecondRead.Homes, fmt.Sprintf("flows[%s].secondRead.homes", decl.Name))
	return s, err
}

// knower says who knows more of a slot than the local application.
type knower struct {
	// region to ask; noRegion: the one that it is about cannot be asked.
	region, about int
	// sure: what that region lacks, nobody has.
	sure bool
}

// knowsMore returns who knows more of a slot than this region; false if nobody does.
func (r *Router) knowsMore(slot int) (knower, bool) {
	h := &r.holders[slot]
	owner, home := int(h.owner), int(h.home)
	switch {
	case home == noRegion || owner == r.self && h.complete:
		return knower{}, false
	case owner != noRegion && owner != r.self:
		return knower{r.asked(owner), owner, h.complete}, true
	case home != r.self:
		// What the owner lacks, only the home can have. It may answer though it does not own.
		return knower{r.asked(home), home, true}, true
	default:
		_, lost := r.whyHome(h)
		return knower{region: noRegion, about: lost}, true
	}
}

// asked returns the region if it can be asked now, else noRegion.
func (r *Router) asked(i int) int {
	if r.regions[i].endpoint == nil || r.regions[i].State == ownership.RegionLost || !r.mayForward() {
		return noRegion
	}
	return i
}

// lookForSlot finds the slot of a request that any region serves, if it is of use and the request has a
// key. Without one, the local application answers as it can; two keys are refused as everywhere.
func (ex *exchange) lookForSlot(m match) *problem {
	f := ex.flow
	if f.secondRead == nil && (f.key == nil || len(f.issued) == 0) {
		return nil
	}
	parts := requestParts{header: ex.r.Header, url: ex.r.URL, match: m}
	whole := !isUpgrade(ex.r)
	// A call of gRPC may go on for ever, and has its key in the header; what is sent of it is kept instead.
	if whole && !isGRPC(ex.r) && (f.secondRead != nil || f.key.needsBody) {
		parts.body, whole = bufferWhole(ex.r, ex.g.options.KeyBodyBytes)
	}
	if !keyBody(ex.r) {
		parts.body = nil
	}
	if f.key != nil {
		if p := ex.takeSlot(&parts); p != nil && p.reason == ReasonConflictingKeys {
			return p // any other fault is the application's to judge
		}
	}
	ex.readSlot = ex.slotToRead()
	ex.again = ex.readSlot != noSlot && whole && ex.hop == nil
	return nil
}

// slotToRead returns the slot whose owner a second read asks; noSlot: there is none.
func (ex *exchange) slotToRead() int {
	switch s := ex.flow.secondRead; {
	case s == nil:
		return noSlot
	case s.pinned != 0:
		return s.pinned
	case ex.slotted:
		return ex.slot
	default:
		return noSlot
	}
}

// keyBody reports whether the body of a request may hold its key.
func keyBody(r *http.Request) bool {
	return saysJSON(r.Header) && r.Header.Get("Content-Encoding") == ""
}

// errMiss ends an attempt at the local application, which has a miss that another region may know better.
var errMiss = errors.New("the local application has a miss")

// errNotAnswered ends a second read that tells no more than the miss.
var errNotAnswered = errors.New("the other region does not say whether it knows more")

// missed reports whether an application lacks what was asked for.
func missed(resp *http.Response, safe bool) bool {
	return resp.StatusCode == http.StatusNotFound && safe || resp.Header.Get(HeaderMiss) == "true"
}

// failing reports whether an application says that it cannot answer. With gRPC that is in the header only when nothing
// else is in the answer.
func failing(resp *http.Response) bool {
	switch resp.Header.Get("Grpc-Status") {
	case "2", "4", "13", "14", "15": // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS
		return true
	}
	return resp.StatusCode >= http.StatusInternalServerError
}

// secondReading is a request on its way to the region that knows more.
type secondReading struct {
	ex *exchange
	knower
	timeout time.Duration
	// abandon ends the attempt under way, disarm its time limit.
	abandon context.CancelFunc
	disarm  func() bool
	// local is the miss, body the whole of its body; nil when that was too long or came too late.
	local *http.Response
	body  []byte
}

// arm limits the time of the attempt that abandon ends.
func (s *secondReading) arm() {
	s.disarm = s.ex.g.options.Clock.AfterFunc(s.timeout, s.abandon)
}

// keep reads the miss to its end, so that it can still be answered and its connection used again.
func (s *secondReading) keep(resp *http.Response) {
	s.arm()
	defer s.disarm()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMissBytes+1))
	if err != nil || len(body) > maxMissBytes {
		return
	}
	s.local, s.body = resp, body
}

// accept judges the other region's answer. Only its application can say that it lacks something: not its
// gateway, nor what stands before that.
func (s *secondReading) accept(resp *http.Response, peer string) error {
	switch {
	case !s.disarm():
		return context.DeadlineExceeded
	case resp.Header.Get(HeaderAnswered) != peer || failing(resp):
		return errNotAnswered
	case !s.sure && missed(resp, s.ex.safe):
		return errNotAnswered
	}
	return nil
}

// serveKnown sends a request to the local application, and once to the region that knows more when that has a miss. A request that another gateway forwarded is never read again: that gateway does.
func (ex *exchange) serveKnown(ctx context.Context, local target) {
	who, needed := ex.snap.router.knowsMore(ex.readSlot)
	if needed && ex.again {
		ex.asking = &secondReading{ex: ex, knower: who, timeout: ex.flow.secondRead.timeout}
		ex.serveOrReadAgain(ctx, local)
		return
	}
	local.staleMiss = needed && ex.hop == nil
	ex.serveOrFallBack(ctx, ex.send(ctx, local))
}

func (ex *exchange) serveOrReadAgain(ctx context.Context, local target) {
	s := ex.asking
	first, abandon := context.WithCancel(ctx)
	defer abandon()
	s.abandon, local.again = abandon, true
	if isGRPC(ex.r) {
		ex.keepBody()
	}
	err := ex.send(first, local)
	if !errors.Is(err, errMiss) {
		ex.serveOrFallBack(ctx, err)
		return
	}
	if s.region == noRegion || !ex.reopen() {
		ex.cannotCheck()
		return
	}
	second, abandon := context.WithCancel(ctx)
	defer abandon()
	s.abandon = abandon
	s.arm()
	to := ex.snap.router.regions[s.region].target()
	to.again = true
	err = ex.send(second, to)
	s.disarm()
	if err == nil || ex.r.Context().Err() != nil {
		ex.settle(OutcomeSecondRead, err)
		return
	}
	ex.cannotCheck()
}

// cannotCheck answers a miss that nobody could confirm: with a refusal, for "no such user" may be wrong, or
// as the local application did, marked as stale.
func (ex *exchange) cannotCheck() {
	s := ex.asking
	if ex.flow.secondRead.answerLocally && s.local != nil {
		ex.affected, ex.outcome = true, OutcomeStale
		stripReserved(s.local.Header)
		ex.stampAnswer(s.local.Header)
		h := ex.w.Header()
		maps.Copy(h, s.local.Header)
		h.Set(HeaderStale, "true")
		ex.w.WriteHeader(s.local.StatusCode)
		_, _ = io.Copy(ex.w, bytes.NewReader(s.body)) // the caller may have gone
		for name, values := range s.local.Trailer {
			h[http.TrailerPrefix+name] = values
		}
		return
	}
	p := problemOf(ReasonCannotCheck, "this region does not know, and the one that may know better cannot be asked now; try again")
	p.region = ex.snap.router.regions[s.about].Name
	ex.reject(OutcomeRefused, p)
}

// bufferWhole reads a body of at most limit bytes so that it can be sent again. A longer one, or one that
// breaks off, is left as it was, and false is returned.
func bufferWhole(r *http.Request, limit int64) ([]byte, bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, true
	}
	if r.ContentLength > limit {
		return nil, false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil || int64(len(body)) > limit {
		r.Body = &resumedBody{Reader: io.MultiReader(bytes.NewReader(body), &rest{r.Body, err}), Closer: r.Body}
		return nil, false
	}
	r.Body = &bufferedBody{Reader: bytes.NewReader(body)}
	return body, true
}

// resumedBody is a body of which something was read already.
type resumedBody struct {
	io.Reader
	io.Closer
}

// rest is what follows of a body, or the error that ended it.
type rest struct {
	body io.Reader
	err  error
}

func (b *rest) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return b.body.Read(p)
}
