package web_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"multiactive.dev/operator/examples/user/internal/password"
	"multiactive.dev/operator/examples/user/internal/store"
	"multiactive.dev/operator/examples/user/internal/store/sqlstore"
	"multiactive.dev/operator/examples/user/internal/user"
	"multiactive.dev/operator/examples/user/internal/web"
)

const (
	alice = "13800000001"
	bob   = "13800000002"
	pass  = "correct horse"
)

// service is the handler on an embedded store, with what the tests look at.
type service struct {
	t       *testing.T
	handler http.Handler
	store   store.Store
	log     *bytes.Buffer
	woken   atomic.Int64
}

func newService(t *testing.T) *service {
	t.Helper()
	s, err := sqlstore.OpenEmbedded(t.Context(), t.TempDir(), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return newServiceOn(t, s, sqlstore.NewSessions(s, clock))
}

func clock() time.Time { return time.Date(2026, 5, 1, 9, 30, 0, 123456789, time.UTC) }

func newServiceOn(t *testing.T, s store.Store, sessions store.Sessions) *service {
	t.Helper()
	passwords, err := password.NewHasher(password.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	svc := &service{t: t, store: s, log: &bytes.Buffer{}}
	var id atomic.Int64
	svc.handler = (&web.Server{
		Store: s, Sessions: sessions, Passwords: passwords, Now: clock,
		NewID:          func() string { return fmt.Sprint("id-", id.Add(1)) },
		Log:            slog.New(slog.NewJSONHandler(&lockedWriter{w: svc.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OpeningBalance: 100, SessionTTL: time.Hour, GatewaySessions: true, SubjectKey: []byte("the key"),
		Created: func() { svc.woken.Add(1) },
	}).Handler()
	return svc
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// TestDeferredTransfer is carried out without a session, for whom it was admitted and as it was.
func TestDeferredTransfer(t *testing.T) {
	s := newService(t)
	s.register(alice)
	s.register(bob)
	body := fmt.Sprintf(`{"from":%q,"to":%q,"amount":10}`, alice, bob)
	key := headers{"Idempotency-Key": "lunch"}
	admitted := s.do("POST", "/v1/transfers/admit", body, with(key, s.login(alice)))
	subject := admitted.Header().Get("Multiactive-Subject")
	if admitted.Code != http.StatusOK || subject == "" {
		t.Fatalf("admitting: %d %s, subject %q", admitted.Code, admitted.Body, subject)
	}
	later := headers{"Idempotency-Key": "lunch", "Multiactive-Subject": subject}
	if w := s.do("POST", "/v1/transfers", strings.Replace(body, "10", "99", 1), later); w.Code != http.StatusForbidden {
		t.Errorf("another transfer: %d %s", w.Code, w.Body)
	}
	for _, forged := range []string{alice, alice + ".00", bob + subject[len(bob):]} {
		if w := s.do("POST", "/v1/transfers", body, headers{"Idempotency-Key": "lunch", "Multiactive-Subject": forged}); w.Code != http.StatusForbidden {
			t.Errorf("by the subject %s: %d %s", forged, w.Code, w.Body)
		}
	}
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if w := s.do("POST", "/v1/transfers", body, later); w.Code != want {
			t.Errorf("carried out: %d %s, want %d", w.Code, w.Body, want)
		}
	}
	if w := s.do("GET", "/v1/balance", "", s.login(bob)); !strings.Contains(w.Body.String(), "110") {
		t.Errorf("the payee has %s", w.Body)
	}
}

// headers are set on a request.
type headers map[string]string

func (s *service) do(method, path, body string, h headers) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(body))
	for k, v := range h {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *service) register(phone string) {
	s.t.Helper()
	w := s.do("POST", "/v1/accounts", fmt.Sprintf(`{"phone":%q,"password":%q,"name":"王芳"}`, phone, pass), nil)
	if w.Code != http.StatusCreated {
		s.t.Fatalf("registering: %d %s", w.Code, w.Body)
	}
}

// login returns the header that carries the session.
func (s *service) login(phone string) headers {
	s.t.Helper()
	w := s.do("POST", "/v1/login", fmt.Sprintf(`{"phone":%q,"password":%q}`, phone, pass), nil)
	var out struct{ Token string }
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Token == "" {
		s.t.Fatalf("logging in: %d %s", w.Code, w.Body)
	}
	return headers{"Authorization": "Bearer " + out.Token}
}

func with(h headers, more headers) headers {
	all := headers{}
	maps.Copy(all, h)
	maps.Copy(all, more)
	return all
}

// code reads the stable code of a problem document.
func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		return ""
	}
	var p struct {
		Title, Code, Detail string
		Status              int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("problem document %s: %v", w.Body, err)
	}
	if p.Status != w.Code || p.Title == "" || p.Detail == "" {
		t.Errorf("problem document %s is incomplete", w.Body)
	}
	return p.Code
}

func TestRequests(t *testing.T) {
	account := func(phone, password, name string) string {
		return fmt.Sprintf(`{"phone":%q,"password":%q,"name":%q}`, phone, password, name)
	}
	fence := headers{"Multiactive-Slot": "5", "Multiactive-Epoch": "7", "Multiactive-Owner": "beijing"}
	transfer := fmt.Sprintf(`{"from":%q,"to":%q,"amount":10}`, alice, bob)
	key := headers{"Idempotency-Key": "k1"}
	tests := map[string]struct {
		method, path, body string
		as                 string
		h                  headers
		want               int
		code               string
		miss               bool
	}{
		"register":                {"POST", "/v1/accounts", account("13800000009", pass, "n"), "", nil, 201, "", false},
		"register with key":       {"POST", "/v1/accounts", account(" 13800000009", pass, "n"), "", with(fence, headers{"Multiactive-Key": "13800000009"}), 201, "", false},
		"register with wrong key": {"POST", "/v1/accounts", account("13800000009", pass, "n"), "", headers{"Multiactive-Key": alice}, 400, "key-mismatch", false},
		"register, bad token":     {"POST", "/v1/accounts", account("13800000009", pass, "n"), "", headers{"Multiactive-Slot": "five"}, 400, "bad-fencing-token", false},
		"register, half a token":  {"POST", "/v1/accounts", account("13800000009", pass, "n"), "", headers{"Multiactive-Slot": "5", "Multiactive-Epoch": "7"}, 400, "bad-fencing-token", false},
		"register again":          {"POST", "/v1/accounts", account(alice, pass, "n"), "", nil, 409, "phone-taken", false},
		"register, bad phone":     {"POST", "/v1/accounts", account("me", pass, "n"), "", nil, 400, "bad-account", false},
		"register, bad password":  {"POST", "/v1/accounts", account("13800000009", "short", "n"), "", nil, 400, "bad-account", false},
		"register, long password": {"POST", "/v1/accounts", account("13800000009", strings.Repeat("x", 73), "n"), "", nil, 400, "bad-account", false},
		"register, no name":       {"POST", "/v1/accounts", account("13800000009", pass, " "), "", nil, 400, "bad-account", false},
		"unknown field":           {"POST", "/v1/accounts", `{"phone":"13800000009","admin":true}`, "", nil, 400, "bad-body", false},
		"wrong type":              {"POST", "/v1/accounts", `{"phone":13800000009}`, "", nil, 400, "bad-body", false},
		"two objects":             {"POST", "/v1/login", `{}{}`, "", nil, 400, "bad-body", false},
		"no body":                 {"POST", "/v1/login", ``, "", nil, 400, "bad-body", false},
		"large body":              {"POST", "/v1/login", `{"phone":"` + strings.Repeat("1", 17<<10) + `"}`, "", nil, 413, "body-too-large", false},

		"login":               {"POST", "/v1/login", fmt.Sprintf(`{"phone":%q,"password":%q}`, alice, pass), "", headers{"Multiactive-Key": alice}, 200, "", false},
		"login unknown":       {"POST", "/v1/login", `{"phone":"13800000404","password":"whatever"}`, "", nil, 401, "unknown-or-wrong", true},
		"login wrong":         {"POST", "/v1/login", fmt.Sprintf(`{"phone":%q,"password":"whatever"}`, alice), "", nil, 401, "unknown-or-wrong", true},
		"login, key mismatch": {"POST", "/v1/login", fmt.Sprintf(`{"phone":%q,"password":%q}`, alice, pass), "", headers{"Multiactive-Key": bob}, 400, "key-mismatch", false},

		"profile":                  {"GET", "/v1/profile", "", alice, headers{"X-User-Phone": alice}, 200, "", false},
		"profile of another":       {"GET", "/v1/profile", "", alice, headers{"X-User-Phone": bob}, 400, "key-mismatch", false},
		"profile without session":  {"GET", "/v1/profile", "", "", headers{"X-User-Phone": alice}, 401, "no-session", false},
		"profile, unknown session": {"GET", "/v1/profile", "", "", headers{"Authorization": "Bearer guess"}, 401, "no-session", false},
		"profile, cookie":          {"GET", "/v1/profile", "", "", headers{"Cookie": "sid=guess"}, 401, "no-session", false},
		"save profile":             {"PUT", "/v1/profile", `{"name":"Wang","about":"tea"}`, alice, fence, 200, "", false},
		"save profile, wrong key":  {"PUT", "/v1/profile", `{"name":"Wang"}`, alice, headers{"Multiactive-Key": bob}, 400, "key-mismatch", false},
		"save profile, no name":    {"PUT", "/v1/profile", `{"about":"tea"}`, alice, nil, 400, "bad-profile", false},
		"save profile, long about": {"PUT", "/v1/profile", `{"name":"n","about":"` + strings.Repeat("x", 1025) + `"}`, alice, nil, 400, "bad-profile", false},

		"password":            {"POST", "/v1/password", fmt.Sprintf(`{"old":%q,"new":"battery staple"}`, pass), alice, nil, 204, "", false},
		"password, wrong old": {"POST", "/v1/password", `{"old":"whatever","new":"battery staple"}`, alice, nil, 403, "wrong-password", false},
		"password, short":     {"POST", "/v1/password", fmt.Sprintf(`{"old":%q,"new":"x"}`, pass), alice, nil, 400, "bad-password", false},
		"password, wrong key": {"POST", "/v1/password", fmt.Sprintf(`{"old":%q,"new":"battery staple"}`, pass), alice, headers{"Multiactive-Key": bob}, 400, "key-mismatch", false},

		"balance":                   {"GET", "/v1/balance", "", alice, nil, 200, "", false},
		"transfer":                  {"POST", "/v1/transfers", transfer, alice, with(key, fence), 201, "", false},
		"transfer, no idempotency":  {"POST", "/v1/transfers", transfer, alice, nil, 400, "bad-transfer", false},
		"transfer, no session":      {"POST", "/v1/transfers", transfer, "", key, 401, "no-session", false},
		"transfer of another":       {"POST", "/v1/transfers", transfer, bob, key, 403, "not-your-account", false},
		"transfer, wrong key":       {"POST", "/v1/transfers", transfer, alice, with(key, headers{"Multiactive-Key": bob}), 400, "key-mismatch", false},
		"transfer of nothing":       {"POST", "/v1/transfers", strings.Replace(transfer, "10", "0", 1), alice, key, 400, "bad-transfer", false},
		"transfer of minus one":     {"POST", "/v1/transfers", fmt.Sprintf(`{"from":%q,"to":%q,"amount":-1}`, alice, bob), alice, key, 400, "bad-transfer", false},
		"transfer to oneself":       {"POST", "/v1/transfers", fmt.Sprintf(`{"from":%q,"to":%q,"amount":1}`, alice, alice), alice, key, 400, "bad-transfer", false},
		"transfer of too much":      {"POST", "/v1/transfers", fmt.Sprintf(`{"from":%q,"to":%q,"amount":101}`, alice, bob), alice, key, 422, "insufficient-funds", false},
		"transfer to nobody":        {"POST", "/v1/transfers", fmt.Sprintf(`{"from":%q,"to":"13800000404","amount":1}`, alice), alice, key, 422, "payee-unknown", false},
		"admit transfer":            {"POST", "/v1/transfers/admit", transfer, alice, key, 200, "", false},
		"admit without a session":   {"POST", "/v1/transfers/admit", transfer, "", key, 401, "no-session", false},
		"admit transfer of another": {"POST", "/v1/transfers/admit", transfer, bob, key, 403, "not-your-account", false},

		"session":         {"GET", "/internal/session", "", alice, nil, 200, "", false},
		"session of none": {"GET", "/internal/session", "", "", nil, 401, "no-session", false},
		"alive":           {"GET", "/healthz", "", "", nil, 204, "", false},
		"ready":           {"GET", "/readyz", "", "", nil, 204, "", false},
		"unknown path":    {"GET", "/v2", "", "", nil, 404, "no-such-operation", false},
		"unknown method":  {"DELETE", "/v1/profile", "", "", nil, 404, "no-such-operation", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.register(alice)
			s.register(bob)
			h := tc.h
			if tc.as != "" {
				h = with(h, s.login(tc.as))
			}
			w := s.do(tc.method, tc.path, tc.body, h)
			if got := code(t, w); w.Code != tc.want || got != tc.code {
				t.Errorf("got %d %q, want %d %q; body: %s", w.Code, got, tc.want, tc.code, w.Body)
			}
			if miss := w.Header().Get("Multiactive-Miss") == "true"; miss != tc.miss {
				t.Errorf("Multiactive-Miss: %t, want %t", miss, tc.miss)
			}
			for _, secret := range []string{alice, bob, "13800000009", pass, "battery staple"} {
				if strings.Contains(s.log.String(), secret) {
					t.Errorf("the log has personal data %q: %s", secret, s.log)
				}
			}
		})
	}
}

func TestLoginGivesCookie(t *testing.T) {
	s := newService(t)
	s.register(alice)
	w := s.do("POST", "/v1/login", fmt.Sprintf(`{"phone":%q,"password":%q}`, alice, pass), nil)
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || cookies[0].Name != "sid" || !cookies[0].HttpOnly || !cookies[0].Secure {
		t.Fatalf("cookies are %v, want one sid, HttpOnly and Secure", cookies)
	}
	w = s.do("GET", "/internal/session", "", headers{"Cookie": "sid=" + cookies[0].Value})
	var got user.Session
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := user.Session{Phone: alice, AccountID: "id-1", ExpiresAt: clock().Truncate(time.Microsecond).Add(time.Hour)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("session (-want +got):\n%s", diff)
	}
}

func TestPasswordChangeTakesEffect(t *testing.T) {
	s := newService(t)
	s.register(alice)
	h := s.login(alice)
	if w := s.do("POST", "/v1/password", fmt.Sprintf(`{"old":%q,"new":"battery staple"}`, pass), h); w.Code != 204 {
		t.Fatalf("changing the password: %d %s", w.Code, w.Body)
	}
	for plain, want := range map[string]int{pass: 401, "battery staple": 200} {
		w := s.do("POST", "/v1/login", fmt.Sprintf(`{"phone":%q,"password":%q}`, alice, plain), nil)
		if w.Code != want {
			t.Errorf("login with %q: %d, want %d", plain, w.Code, want)
		}
	}
}

func TestRepeatedTransferIsBookedOnce(t *testing.T) {
	s := newService(t)
	s.register(alice)
	s.register(bob)
	h := with(s.login(alice), headers{"Idempotency-Key": "k1"})
	body := fmt.Sprintf(`{"from":%q,"to":%q,"amount":10}`, alice, bob)
	first, second := s.do("POST", "/v1/transfers", body, h), s.do("POST", "/v1/transfers", body, h)
	if first.Code != 201 || second.Code != 200 || first.Body.String() != second.Body.String() {
		t.Errorf("first %d %s, second %d %s: want 201, then 200 with the same body",
			first.Code, first.Body, second.Code, second.Body)
	}
	other := s.do("POST", "/v1/transfers", strings.Replace(body, ":10", ":11", 1), h)
	if got := code(t, other); other.Code != 422 || got != "idempotency-key-reused" {
		t.Errorf("another transfer under the key: %d %s", other.Code, other.Body)
	}
	if n, err := s.store.Balance(t.Context(), alice); err != nil || n != 90 {
		t.Errorf("balance is %d (%v), want 90", n, err)
	}
}

// TestParallelRegistrations asks fifty times at once for one phone number.
func TestParallelRegistrations(t *testing.T) {
	s := newService(t)
	counts := map[int]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			w := s.do("POST", "/v1/accounts", fmt.Sprintf(`{"phone":%q,"password":%q,"name":"n"}`, alice, pass), nil)
			mu.Lock()
			defer mu.Unlock()
			counts[w.Code]++
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[int]int{201: 1, 409: 49}, counts); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if n := s.woken.Load(); n != 1 {
		t.Errorf("the relay was woken %d times, want once", n)
	}
}

// broken fails as a store does that cannot be reached, or is fenced.
type broken struct {
	store.Store
	err error
}

func (b broken) Ping(context.Context) error { return b.err }

func (b broken) CreateAccount(context.Context, *user.Token, user.Account, int64) error { return b.err }

func TestStoreErrors(t *testing.T) {
	tests := map[string]struct {
		err        error
		want       int
		code, hide string
	}{
		"fenced":   {fmt.Errorf("%w: slot 5 is Closed", user.ErrFenced), 503, "fenced", "slot 5"},
		"slow":     {context.DeadlineExceeded, 503, "timeout", "deadline"},
		"internal": {errors.New("dial tcp 10.0.0.7:3306"), 500, "internal", "10.0.0.7"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			ok := newService(t)
			s := newServiceOn(t, broken{ok.store, tc.err}, sqlstore.NewSessions(ok.store.(*sqlstore.Store), clock))
			w := s.do("POST", "/v1/accounts", fmt.Sprintf(`{"phone":%q,"password":%q,"name":"n"}`, alice, pass), nil)
			if got := code(t, w); w.Code != tc.want || got != tc.code {
				t.Errorf("got %d %q, want %d %q", w.Code, got, tc.want, tc.code)
			}
			if strings.Contains(w.Body.String(), tc.hide) {
				t.Errorf("the answer tells %q: %s", tc.hide, w.Body)
			}
			if w := s.do("GET", "/readyz", "", nil); w.Code != 503 {
				t.Errorf("readyz: %d, want 503", w.Code)
			}
		})
	}
}

// TestSessionOfAnotherRegion hands a session over as the gateway does.
func TestSessionOfAnotherRegion(t *testing.T) {
	there, here := newService(t), newService(t)
	there.register(alice)
	doc := there.do("GET", "/internal/session", "", there.login(alice)).Body.String()
	here.register(alice)
	handed := func(doc string) headers {
		return headers{"Cookie": "sid=elsewhere", "Multiactive-Session": base64.StdEncoding.EncodeToString([]byte(doc))}
	}
	expired := strings.Replace(doc, "2026", "2025", 1)
	for name, tc := range map[string]struct {
		headers headers
		want    int
	}{
		"handed over": {handed(doc), 200}, "expired": {handed(expired), 401}, "no JSON": {handed("{"), 401}, "of nobody": {handed("{}"), 401},
		"no base64": {headers{"Multiactive-Session": "?"}, 401},
	} {
		if w := here.do("GET", "/v1/profile", "", tc.headers); w.Code != tc.want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}
