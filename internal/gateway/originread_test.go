package gateway

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// sessionWorld is the example service with sessions in cookie sid. Each application issues tokens of its
// own and knows only those.
func sessionWorld(t *testing.T, change func(*routing.Session)) *world {
	t.Helper()
	w := newWorld(t, nil)
	s := routing.Session{Class: "session", Cookie: "sid", FetchPath: "/internal/session", Timeout: slow, Regenerate: true}
	if change != nil {
		change(&s)
	}
	w.config.Sessions = []routing.Session{s}
	w.config.Keys[0].From = append(w.config.Keys[0].From, routing.Source{Type: routing.SourceSession})
	w.config.Flows[0].Key, w.config.Flows[0].IssuesSessions = "phone", []string{"session"}
	w.config.Flows[2].ReadsSessions = []string{"session"} // profile, at home
	w.config.Flows = append(w.config.Flows, routing.Flow{
		Name: "inbox", ReadsSessions: []string{"session"}, Match: []routing.Match{{Path: "/v1/inbox"}},
	})
	for name, p := range w.places {
		p.handle(sessionApp(name))
	}
	w.publish(t)
	return w
}

// sessionApp issues tokens with its region's name, and tells what it got.
func sessionApp(region string) http.HandlerFunc {
	token := "tok-" + region
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sid := ""
		if c, err := r.Cookie("sid"); err == nil {
			sid = c.Value
		}
		switch r.URL.Path {
		case "/v1/login":
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: token, Path: "/", HttpOnly: true})
		case "/internal/session":
			if sid != token {
				http.Error(w, "none", http.StatusUnauthorized)
				return
			}
			_, _ = io.WriteString(w, `{"user":"of `+region+`"}`)
		default:
			session, _ := base64.StdEncoding.DecodeString(r.Header.Get(HeaderSession))
			_, _ = fmt.Fprintf(w, "%s got %s, session %s from %s, slot %s", region, sid, session,
				r.Header.Get(HeaderSessionOrigin), r.Header.Get(HeaderSlot))
		}
	}
}

// login returns the cookie that a user has after a login in a region.
func (w *world) login(t *testing.T, region, phone string) string {
	t.Helper()
	resp, text := w.call(t, region, "POST", "/v1/login", nil, strings.NewReader(`{"phone":"`+phone+`"}`))
	cookies := resp.Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || !strings.HasPrefix(cookies[0].Value, "ma1."+region+".phone.") {
		t.Fatalf("login in %s: %d %q, cookies %v", region, resp.StatusCode, text, cookies)
	}
	return "sid=" + cookies[0].Value
}

func TestOriginRead(t *testing.T) {
	w := sessionWorld(t, nil)
	phone := keyHomedIn(t, "shanghai")
	slot := fmt.Sprint(ownership.Slot(phone))
	cookie := w.login(t, "beijing", phone)
	for name, tc := range map[string]struct{ at, path, cookie, want string }{
		"any region, where it was issued": {"beijing", "/v1/inbox", cookie, "beijing got tok-beijing, session  from , slot "},
		"any region, elsewhere": {"shanghai", "/v1/inbox", cookie,
			`shanghai got tok-beijing, session {"user":"of beijing"} from beijing, slot `},
		"at home, forwarded, key by the session": {"shenzhen", "/v1/profile", cookie,
			`shanghai got tok-beijing, session {"user":"of beijing"} from beijing, slot ` + slot},
		"a flow that does not read it": {"shanghai", "/v1/other", cookie, "shanghai got tok-beijing, session  from , slot "},
		"unstamped":                    {"shanghai", "/v1/inbox", "sid=own", "shanghai got own, session  from , slot "},
	} {
		resp, text := w.call(t, tc.at, "GET", tc.path, map[string]string{
			"Cookie": tc.cookie, HeaderSession: "Zm9yZ2Vk", HeaderSessionOrigin: "mars",
		}, nil)
		if resp.StatusCode != http.StatusOK || text != tc.want {
			t.Errorf("%s: got %d %q, want %q", name, resp.StatusCode, text, tc.want)
		}
	}
}

func TestSessionKeys(t *testing.T) {
	w := sessionWorld(t, nil)
	phone, other := keyHomedIn(t, "shanghai"), keyHomedIn(t, "beijing")
	cookie := w.login(t, "shanghai", phone)
	resp, text := w.call(t, "beijing", "GET", "/v1/profile", map[string]string{"Cookie": cookie, "X-User-Phone": other}, nil)
	wantProblem(t, resp, text, http.StatusBadRequest, ReasonConflictingKeys)
	resp, text = w.call(t, "beijing", "GET", "/v1/profile", map[string]string{"Cookie": cookie, "X-User-Phone": phone}, nil)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the same user in both: %d %q", resp.StatusCode, text)
	}
	// Registration and login do not read the session: it may be of whoever used the browser before.
	resp, text = w.call(t, "beijing", "POST", "/v1/accounts", map[string]string{"Cookie": cookie, "X-User-Phone": other}, nil)
	if resp.StatusCode != http.StatusOK {
		t.Errorf("another user registers: %d %q", resp.StatusCode, text)
	}
	resp, text = w.call(t, "beijing", "POST", "/v1/login", map[string]string{"Cookie": cookie}, strings.NewReader(`{"phone":"`+other+`"}`))
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Cookies()[0].Value, fmt.Sprintf("ma1.beijing.phone.%d.", ownership.Slot(other))) {
		t.Errorf("another user logs in: %d %q, %v", resp.StatusCode, text, resp.Cookies())
	}
	resp, text = w.call(t, "beijing", "GET", "/v1/profile", nil, nil)
	if p := wantProblem(t, resp, text, http.StatusBadRequest, ReasonMissingKey); !strings.Contains(p.Detail, "session token") {
		t.Errorf("the session is not named: %s", p.Detail)
	}
}

func TestOriginThatIsAway(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*routing.Session)
		trouble func(*testing.T, *world)
	}{
		"its gateway is gone":     {nil, func(_ *testing.T, w *world) { w.places["beijing"].server.Close() }},
		"its application is gone": {nil, func(_ *testing.T, w *world) { w.places["beijing"].app.Close() }},
		"it is lost": {nil, func(t *testing.T, w *world) {
			w.setState("beijing", ownership.RegionLost)
			w.publish(t)
		}},
		"it is slow": {func(s *routing.Session) { s.Timeout = 50 * time.Millisecond }, func(_ *testing.T, w *world) {
			w.places["beijing"].handle(neverAnswer)
		}},
		"its session is too long": {nil, func(_ *testing.T, w *world) {
			w.places["beijing"].handle(func(rw http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(rw, strings.Repeat("x", maxSessionBytes+1))
			})
		}},
		"something else answers there": {nil, func(t *testing.T, w *world) {
			w.config.Regions[0].Endpoint = w.places["beijing"].app.URL // no gateway
			w.publish(t)
		}},
		"it is forwarded to": {func(s *routing.Session) { s.FetchPath = "" }, func(_ *testing.T, w *world) { w.places["beijing"].server.Close() }},
		"it is forwarded to, and slow": {func(s *routing.Session) { s.FetchPath, s.Timeout = "", 50*time.Millisecond }, func(_ *testing.T, w *world) {
			w.places["beijing"].handle(neverAnswer)
		}},
		"it is forwarded to, without application": {func(s *routing.Session) { s.FetchPath = "" }, func(_ *testing.T, w *world) {
			w.places["beijing"].app.Close()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := sessionWorld(t, tc.change)
			header := map[string]string{"Cookie": w.login(t, "beijing", keyHomedIn(t, "shanghai"))}
			tc.trouble(t, w)
			resp, text := w.call(t, "shanghai", "GET", "/v1/inbox", header, nil)
			if p := wantProblem(t, resp, text, http.StatusUnauthorized, ReasonRegenerate); p.Region != "beijing" || resp.Header.Get(HeaderRegenerate) != "session" {
				t.Errorf("the class is %q: %s", resp.Header.Get(HeaderRegenerate), text)
			}
			w.config.Sessions[0].Regenerate = false
			w.publish(t)
			resp, text = w.call(t, "shanghai", "GET", "/v1/inbox", header, nil)
			wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonOriginUnreachable)
			if resp.Header.Get(HeaderRegenerate) != "" {
				t.Error("the user is told to log in again in vain")
			}
		})
	}
}

func TestRegenerateReachesTheUserOfAForwardedRequest(t *testing.T) {
	w := sessionWorld(t, nil)
	cookie := w.login(t, "beijing", keyHomedIn(t, "shanghai"))
	w.setState("beijing", ownership.RegionLost)
	w.publish(t)
	resp, text := w.call(t, "shenzhen", "GET", "/v1/profile", map[string]string{"Cookie": cookie}, nil)
	wantProblem(t, resp, text, http.StatusUnauthorized, ReasonRegenerate)
	if resp.Header.Get(HeaderRegenerate) != "session" {
		t.Errorf("header %v", resp.Header)
	}
}

func TestOriginKnowsNoSuchSession(t *testing.T) {
	w := sessionWorld(t, nil)
	cookie := w.login(t, "beijing", keyHomedIn(t, "shanghai"))
	w.places["beijing"].handle(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusUnauthorized) })
	resp, text := w.call(t, "shanghai", "GET", "/v1/inbox", map[string]string{"Cookie": cookie}, nil)
	if want := "shanghai got tok-beijing, session  from , slot "; resp.StatusCode != http.StatusOK || text != want {
		t.Errorf("got %d %q, want the application's own answer", resp.StatusCode, text)
	}
}

func TestForwardRequestToOrigin(t *testing.T) {
	w := sessionWorld(t, func(s *routing.Session) { s.FetchPath = "" })
	cookie := w.login(t, "beijing", keyHomedIn(t, "shanghai"))
	for _, method := range []string{"GET", "POST"} {
		resp, text := w.call(t, "shanghai", method, "/v1/inbox", map[string]string{"Cookie": cookie}, strings.NewReader("x"))
		if text != "beijing got tok-beijing, session  from , slot " || resp.Header.Get(HeaderSource) != "beijing" {
			t.Errorf("%s: got %q from %q", method, text, resp.Header.Get(HeaderSource))
		}
	}
	resp, text := w.call(t, "shenzhen", "GET", "/v1/profile", map[string]string{"Cookie": cookie}, nil)
	if !strings.HasPrefix(text, "shanghai got tok-beijing") {
		t.Errorf("a home request: %d %q", resp.StatusCode, text)
	}
}

func TestForgedSessions(t *testing.T) {
	w := sessionWorld(t, nil)
	var reached atomic.Int32
	genuine := w.login(t, "beijing", keyHomedIn(t, "shanghai"))
	w.places["shanghai"].handle(func(rw http.ResponseWriter, r *http.Request) { reached.Add(1); sessionApp("shanghai")(rw, r) })
	other := sealer{peerKey: w.config.PeerKey, uid: "another service", class: "session"}
	for name, cookie := range map[string]string{
		"changed region": strings.Replace(genuine, "beijing", "shenzhen", 1), "cut": genuine[:len(genuine)-1], "only a prefix": "sid=ma1.",
		"another service's": "sid=" + other.seal(stamp{region: "beijing", slot: noSlot}, "tok-beijing"),
		"long":              "sid=ma1." + strings.Repeat(".", 20000),
	} {
		resp, text := w.call(t, "shanghai", "GET", "/v1/inbox", map[string]string{"Cookie": cookie}, nil)
		wantProblem(t, resp, text, http.StatusUnauthorized, ReasonInvalidSession)
		if resp.Header.Get(HeaderRegenerate) != "session" || reached.Load() != 0 {
			t.Errorf("%s: %v; the application was asked %d times", name, resp.Header, reached.Load())
		}
		if resp, text = w.call(t, "shanghai", "POST", "/v1/login", map[string]string{"Cookie": cookie}, nil); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: a login is refused for the old cookie: %d %q", name, resp.StatusCode, text)
		}
		reached.Store(0)
	}
	gone := sealer{peerKey: w.config.PeerKey, uid: w.config.UID, class: "session"}
	resp, text := w.call(t, "shanghai", "GET", "/v1/inbox", map[string]string{"Cookie": "sid=" + gone.seal(stamp{region: "mars", slot: noSlot}, "x")}, nil)
	wantProblem(t, resp, text, http.StatusUnauthorized, ReasonRegenerate)
}

func TestSessionsAreNotHandedOut(t *testing.T) {
	w := sessionWorld(t, nil)
	cookie := map[string]string{"Cookie": w.login(t, "beijing", keyHomedIn(t, "shanghai"))}
	for _, path := range []string{
		"/internal/session", "/internal/session/", "/INTERNAL/session", "/x/../internal/session", "/internal/./session", "//internal//session",
		"/internal/session;a=b", "/%69nternal/session", "/internal%2Fsession", `/internal%5Csession`, "/internal/session?x=y", originPage + "?class=session",
	} {
		resp, text := w.call(t, "beijing", "GET", path, cookie, nil)
		if resp.StatusCode < 400 || strings.Contains(text, "of beijing") || strings.Contains(text, "got") {
			t.Errorf("%s: %d %q", path, resp.StatusCode, text)
		}
	}
	forged := map[string]string{"Cookie": cookie["Cookie"], HeaderHop: "v1,shanghai,beijing,1,n,h,AAAA"}
	resp, text := w.call(t, "beijing", "GET", originPage+"?class=session", forged, nil)
	wantProblem(t, resp, text, http.StatusNotFound, ReasonNotFound)
}

// TestSessionHopIsForOneToken: whoever has seen one gateway ask another for a session gets no other session by it.
func TestSessionHopIsForOneToken(t *testing.T) {
	w := sessionWorld(t, nil)
	cfg := w.places["beijing"].gateway.state.load().router.cfg
	seen := w.login(t, "beijing", keyHomedIn(t, "shanghai"))
	other := w.login(t, "beijing", keyHomedIn(t, "beijing"))
	uri := originPage + "?" + url.Values{
		paramClass: {"session"}, paramToken: {sessionProof(cfg, "session", strings.TrimPrefix(seen, "sid="))},
	}.Encode()
	proof := hop{from: "shanghai", to: "beijing", epoch: cfg.Epoch, nonce: newNonce(), host: "h"}
	ask := func(cookie string) (*http.Response, string) {
		t.Helper()
		return w.call(t, "beijing", "GET", uri, map[string]string{"Cookie": cookie, HeaderHop: proof.sign(cfg.PeerKey, cfg.UID, "GET", uri)}, nil)
	}
	if resp, text := ask(seen); resp.StatusCode != http.StatusOK || !strings.Contains(text, "of beijing") {
		t.Fatalf("the session that was asked for: %d %q", resp.StatusCode, text)
	}
	resp, text := ask(other)
	wantProblem(t, resp, text, http.StatusUnauthorized, ReasonInvalidSession)
}

// webToken is a JSON Web Token that nobody has signed: applications here know theirs by sight.
func webToken(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

// A token that says itself where it is from is read there, and nobody writes into it.
func TestOriginClaim(t *testing.T) {
	for name, where := range map[string]struct {
		change func(*routing.Session)
		header string
		scheme string
	}{
		"in a header": {func(s *routing.Session) { s.Cookie, s.Header, s.OriginClaim = "", "Authorization", "region" }, "Authorization", "Bearer "},
		"in a cookie": {func(s *routing.Session) { s.OriginClaim = "region" }, "Cookie", "sid="},
	} {
		t.Run(name, func(t *testing.T) {
			w := sessionWorld(t, where.change)
			own := map[string]string{}
			for region, p := range w.places {
				own[region] = where.scheme + webToken(`{"region":"`+region+`","sub":"u"}`)
				p.handle(func(rw http.ResponseWriter, r *http.Request) {
					sent := r.Header.Get(where.header)
					if r.URL.Path == "/internal/session" {
						if sent != own[region] {
							http.Error(rw, "none", http.StatusUnauthorized)
							return
						}
						_, _ = io.WriteString(rw, "session of "+region)
						return
					}
					rw.Header().Set("Authorization", own[region])
					rw.Header().Set("Set-Cookie", own[region])
					session, _ := base64.StdEncoding.DecodeString(r.Header.Get(HeaderSession))
					_, _ = fmt.Fprintf(rw, "%s got %s, %s", region, sent, session)
				})
			}
			stranger, plain := where.scheme+webToken(`{"region":"mars"}`), where.scheme+webToken(`{"sub":"u"}`)
			forged := where.scheme + webToken(`{"region":"beijing","sub":"somebody else"}`)
			for what, tc := range map[string]struct{ token, want string }{
				"from here":            {own["shanghai"], "shanghai got " + own["shanghai"] + ", "},
				"from elsewhere":       {own["beijing"], "shanghai got " + own["beijing"] + ", session of beijing"},
				"the origin has none":  {forged, "shanghai got " + forged + ", "},
				"no such claim":        {plain, "shanghai got " + plain + ", "},
				"no JSON Web Token":    {where.scheme + "opaque", "shanghai got " + where.scheme + "opaque, "},
				"a claim that is none": {where.scheme + "a.!.c", "shanghai got " + where.scheme + "a.!.c, "},
			} {
				resp, text := w.call(t, "shanghai", "GET", "/v1/inbox", map[string]string{where.header: tc.token}, nil)
				if resp.StatusCode != http.StatusOK || text != tc.want {
					t.Errorf("%s: got %d %q, want %q", what, resp.StatusCode, text, tc.want)
				}
				if resp.Header.Get("Authorization") != own["shanghai"] || resp.Header.Get("Set-Cookie") != own["shanghai"] {
					t.Errorf("%s: a token was changed on its way out: %v", what, resp.Header)
				}
			}
			resp, text := w.call(t, "shanghai", "GET", "/v1/inbox", map[string]string{where.header: stranger}, nil)
			wantProblem(t, resp, text, http.StatusUnauthorized, ReasonRegenerate)
			if got := resp.Header.Get(HeaderRegenerate); got != "session" {
				t.Errorf("a region that is none: to regenerate %q", got)
			}
		})
	}
}
