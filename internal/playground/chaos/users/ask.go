package users

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
	"multiactive.dev/operator/internal/playground/chaos/history"
)

const (
	// patience is how long a user waits for an answer; a gateway holds a request for two seconds while owners change, and the
	// example works on one for five at most.
	patience = 6 * time.Second
	maxBody  = 64 << 10
	cookie   = "sid"
)

// underWay are the reasons of gateways that do not know whether an application has done what was asked.
var underWay = []string{"upstream-failed", "owner-failed", "lease-lapsed"}

func newClient() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{DisableCompression: true}}
}

// new begins an act.
func (p *person) new(kind acts.Kind, at Endpoint) acts.Act {
	return acts.Act{Kind: kind, Phone: p.phone, At: at.Region}
}

// ask sends one request with the user's key and session, notes what came of it in the act, reads the document into out, and returns
// the session's cookie.
func (p *person) ask(ctx context.Context, at Endpoint, method, path string, body any, a *acts.Act, out any) (session string) {
	a.Call = history.Now()
	defer func() { a.Return = history.Now() }()
	request, err := p.request(ctx, method, at.URL+path, body, a)
	if err != nil {
		a.Code = err.Error()
		return ""
	}
	answer, err := p.client.Do(request)
	if err != nil {
		a.Code = "no answer"
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		a.Code = "half an answer"
		return ""
	}
	a.Status, a.Stale = answer.StatusCode, answer.Header.Get("Multiactive-Stale") != ""
	read(text, a, out)
	for _, c := range answer.Cookies() {
		if c.Name == cookie {
			session = c.Value
		}
	}
	return session
}

func (p *person) request(ctx context.Context, method, url string, body any, a *acts.Act) (*http.Request, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-User-Phone", p.phone)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.Once != "" {
		request.Header.Set("Idempotency-Key", a.Once)
	}
	if p.cookie != "" && a.Kind != acts.Register && a.Kind != acts.Login {
		request.Header.Set("Cookie", cookie+"="+p.cookie)
	}
	return request, nil
}

// read takes an answer's document, or the reason of a refusal.
func read(text []byte, a *acts.Act, out any) {
	if a.Status >= http.StatusBadRequest {
		var refused struct{ Code, Reason string }
		if json.Unmarshal(text, &refused) == nil {
			a.Code = refused.Code + refused.Reason
			a.Refused = refused.Reason != "" && !slices.Contains(underWay, refused.Reason)
		}
	} else if out != nil && json.Unmarshal(text, out) != nil {
		a.Status, a.Code = 0, "half an answer"
	}
}
