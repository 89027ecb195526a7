package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// bytesCase is what a client sends over HTTP/1.1, byte by byte, and what becomes of it.
type bytesCase struct {
	// name says what is sent, and as what the application gets, as the page has it.
	name, as string
	sent     string
	// status of the answer, and of those that follow before the connection is asked whether it still works.
	status int
	also   []int
	// reason of the problem document; without one it is the server's plain text, or the application's.
	reason string
	// problem is the reason of a page of the gateway's own, which is not counted.
	problem string
	// closed: the connection does not go on. mayClose: it may, since much of a body is left.
	closed, mayClose bool
	// seen has the requests that the application gets, with their bodies. Empty: none.
	seen string
	// mayRefuse: 400, closed, is as good.
	mayRefuse bool
	// broken: it may also get the beginning of a request whose body breaks off, which is no request.
	broken bool
	// key that the gateway tells it, host that it sees, trailer that it gets, and lacks, a text that must be nowhere in what it gets.
	key, host, trailer, lacks string
}

func (c *bytesCase) row() row {
	answer := strconv.Itoa(c.status)
	if reason := c.reason + c.problem; reason != "" {
		answer += " `" + reason + "`"
	}
	for _, status := range c.also {
		answer += ", then " + strconv.Itoa(status)
	}
	if c.closed && c.status >= 400 {
		answer += ", closed"
	}
	switch {
	case c.seen != "" && c.as != "":
		answer += "; passed on: " + c.as
	case c.seen != "":
		answer += "; passed on"
	case c.as != "":
		answer += "; " + c.as
	}
	if c.mayRefuse {
		answer += "; or 400, closed"
	}
	counted := "by flow and reason"
	switch {
	case c.reason == "" && c.seen == "" && !c.broken:
		counted = "no"
	case c.reason == "":
		counted = "by flow and outcome"
	}
	return row{c.name, answer, counted}
}

// run sends the case and checks what came of it, here and at the application.
func (c *bytesCase) run(t *testing.T, h *hostility) {
	h.app.take()
	before := h.counted(t)
	got := h.exchange(t, c.sent)
	var statuses []int
	for _, r := range got.responses {
		statuses = append(statuses, r.StatusCode)
	}
	if c.mayRefuse && slices.Equal(statuses, []int{400}) && got.closed && len(h.app.seen()) == 0 {
		return
	}
	if want := append([]int{c.status}, c.also...); !slices.Equal(statuses, want) || got.closed != c.closed && !c.mayClose {
		t.Errorf("answered %v, want %v, closed=%t", got, want, c.closed)
	}
	var seen []string
	for _, r := range h.app.seen() {
		if r.err != nil && c.broken {
			continue
		}
		seen = append(seen, r.String())
		if values := r.Header["Multiactive-Key"]; c.key != "" && !slices.Equal(values, []string{c.key}) {
			t.Errorf("the application was told the keys %q, want %q", values, c.key)
		}
		if c.host != "" && r.Host != c.host {
			t.Errorf("the application saw host %q", r.Host)
		}
		if c.trailer != "" && r.Trailer.Get(c.trailer) == "" {
			t.Errorf("the application saw trailers %v", r.Trailer)
		}
	}
	if s := strings.Join(seen, ";"); s != c.seen {
		t.Errorf("the application saw %q, want %q", s, c.seen)
	}
	c.check(t, h)
	c.checkCounted(t, got, before, h.counted(t))
}

// check reads all that reached the application as a strict reader does.
func (c *bytesCase) check(t *testing.T, h *hostility) {
	raw, served := h.app.take()
	read := 0
	for _, bytes := range raw {
		n, err := readStrictly(bytes)
		if err != nil && !c.broken {
			t.Errorf("the application got %q: %v", bytes, err)
		}
		read += n
		if c.lacks != "" && strings.Contains(string(bytes), c.lacks) {
			t.Errorf("the application got %q", bytes)
		}
	}
	if read != served && !c.broken {
		t.Errorf("a strict reader sees %d requests, the application saw %d: %q", read, served, raw)
	}
}

// checkCounted looks for the refusal in the metrics and for what every refusal must have.
func (c *bytesCase) checkCounted(t *testing.T, got *answer, before, after map[string]string) {
	maps.DeleteFunc(after, func(name, value string) bool { return before[name] == value || strings.Contains(name, `"local"`) })
	if c.problem != "" && (len(got.bodies) == 0 || !strings.Contains(got.bodies[0], fmt.Sprintf("\"reason\":%q", c.problem))) {
		t.Errorf("the answer is %v, want reason %s", got, c.problem)
	}
	if c.reason == "" {
		if len(after) > 0 && c.seen == "" && !c.broken {
			t.Errorf("counted as %v, and it was no request", after)
		}
		return
	}
	if len(got.responses) == 0 {
		return
	}
	var p struct{ Reason, Instance string }
	if err := json.Unmarshal([]byte(got.bodies[0]), &p); err != nil || p.Reason != c.reason || p.Instance == "" {
		t.Errorf("the answer is %q, want reason %s", got.bodies[0], c.reason)
	}
	if got := slices.Collect(maps.Keys(after)); !slices.ContainsFunc(got, func(name string) bool {
		return strings.HasPrefix(name, "refused_requests") && strings.Contains(name, fmt.Sprintf("reason=%q", c.reason))
	}) {
		t.Errorf("counted as %v, want reason %s", after, c.reason)
	}
}

// chunk is one chunk of a body.
func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

func lengthOf(s string) string { return strconv.Itoa(len(s)) }

// tellsNothing checks that what users sent is not in the log, which is of level debug.
func tellsNothing(t *testing.T, h *hostility) {
	t.Helper()
	for _, secret := range []string{`/138`, `/139`, "phone=", "hello", "forged", "eyJ", "ma1.", "HTTP2-Settings"} {
		if i := strings.Index(h.log.String(), secret); i >= 0 {
			t.Errorf("logged is %q: %s", secret, h.log.String()[max(i-200, 0):i+20])
		}
	}
}

// TestHostileBytes sends every case on every way into the gateway.
func TestHostileBytes(t *testing.T) {
	for way, args := range ways {
		t.Run(way, func(t *testing.T) {
			h := hostile(t, nil, args...)
			for _, group := range bytesGroups {
				for i := range group.cases {
					c := &group.cases[i]
					t.Run(c.name, func(t *testing.T) { c.run(t, h) })
					if c.broken { // what breaks off may reach the application late
						tellsNothing(t, h)
						h = hostile(t, nil, args...)
					}
				}
			}
			tellsNothing(t, h)
		})
	}
}

// bytesGroups are the cases that are sent byte by byte, under their headings of the page.
var bytesGroups = []struct {
	heading string
	cases   []bytesCase
}{
	{"Where a request ends", framingCases},
	{"Lines, addresses and methods", lineCases},
	{"Speaking for the gateway", forgedCases},
	{"Keys, tokens and sessions", keyCases},
}
