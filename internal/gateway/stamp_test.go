package gateway

import (
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

var testSealer = sealer{peerKey: []byte("0123456789abcdef0123456789abcdef"), uid: "uid", class: "session"}

func TestStampRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.StringMatching(`[a-z0-9-]{1,32}`)
		m := stamp{region: label.Draw(t, "region"), slot: noSlot}
		if rapid.Bool().Draw(t, "with a slot") {
			m.key, m.slot = label.Draw(t, "key"), rapid.IntRange(0, ownership.SlotCount-1).Draw(t, "slot")
		}
		token := rapid.StringMatching(`[!-~]{1,64}`).Draw(t, "token")
		value := testSealer.seal(m, token)
		if got, gotToken, state := testSealer.open(value); state != genuine || got != m || gotToken != token {
			t.Fatalf("%q: got %+v, %q, %v", value, got, gotToken, state)
		}
		at := rapid.IntRange(len(stampPrefix), len(value)-1).Draw(t, "at")
		other := []byte(value)
		other[at] ^= 1 << rapid.IntRange(0, 6).Draw(t, "bit")
		if _, gotToken, state := testSealer.open(string(other)); state != forged || gotToken != string(other) {
			t.Fatalf("accepted %q for %q", other, value)
		}
		cut := value[:rapid.IntRange(len(stampPrefix), len(value)-1).Draw(t, "cut")]
		if _, _, state := testSealer.open(cut); state != forged {
			t.Fatalf("accepted %q, of %q", cut, value)
		}
	})
}

func TestStampOfAnother(t *testing.T) {
	value := testSealer.seal(stamp{region: "beijing", key: "phone", slot: 7}, "token")
	for name, s := range map[string]sealer{
		"service":   {testSealer.peerKey, "other", "session"},
		"class":     {testSealer.peerKey, "uid", "other"},
		"key":       {[]byte("another key of thirty-two bytes."), "uid", "session"},
		"short key": {[]byte("short"), "uid", "session"},
		"no key":    {nil, "uid", "session"},
	} {
		if _, _, state := s.open(value); state != forged {
			t.Errorf("another %s: %v", name, state)
		}
	}
	for _, token := range []string{"", "abc", "ma1", "ma2.beijing...x.y", "eyJh.eyJz.c2ln"} {
		if _, got, state := testSealer.open(token); state != unstamped || got != token {
			t.Errorf("%q: %q, %v", token, got, state)
		}
	}
}

// FuzzStamp checks that nothing is believed that was not signed, and that nothing else is changed.
func FuzzStamp(f *testing.F) {
	m := stamp{region: "beijing", key: "phone", slot: 7}
	value := testSealer.seal(m, "token")
	f.Add(value)
	f.Add("")
	f.Add("ma1.")
	f.Add("ma1.....")
	f.Add(strings.Replace(value, ".7.", ".07.", 1))
	f.Add(strings.Replace(value, "beijing", "shanghai", 1))
	f.Add(strings.Replace(value, ".token", ".other", 1))
	f.Fuzz(func(t *testing.T, value string) {
		got, token, state := testSealer.open(value)
		if state == genuine && (got != m || token != "token") {
			t.Errorf("%q was believed as %+v, %q", value, got, token)
		}
		if state != genuine && token != value {
			t.Errorf("%q became %q", value, token)
		}
	})
}

// sessionExchange is a request in beijing to a service with sessions in a cookie and in a header.
func sessionExchange(t testing.TB) *exchange {
	t.Helper()
	cfg := testConfig()
	cfg.UID = "uid"
	cfg.Sessions = []routing.Session{{Class: "session", Cookie: "sid"}, {Class: "api", Header: "authorization"}}
	router := mustCompile(t, cfg)
	return &exchange{snap: &snapshot{router: router}, flow: &flow{}}
}

func TestStripStamps(t *testing.T) {
	ex := sessionExchange(t)
	cookie := ex.snap.router.sessions[0].seal(stamp{region: "beijing", slot: 3, key: "phone"}, "tok")
	header := ex.snap.router.sessions[1].seal(stamp{region: "mars", slot: noSlot}, "to.k")
	for name, tc := range map[string]struct{ name, in, want string }{
		"alone":            {"Cookie", "sid=" + cookie, "sid=tok"},
		"among others":     {"Cookie", "a=b; sid=" + cookie + "; c=\"d\" ;e", "a=b; sid=tok; c=\"d\" ;e"},
		"twice":            {"Cookie", "sid=" + cookie + ";sid=x; sid=" + cookie, "sid=tok;sid=x; sid=tok"},
		"quoted":           {"Cookie", `sid="` + cookie + `"; a=b`, `sid="tok"; a=b`},
		"another's cookie": {"Cookie", "sid2=" + cookie, "sid2=" + cookie},
		"another class":    {"Cookie", "sid=" + header, "sid=" + header},
		"forged":           {"Cookie", "sid=" + cookie + "x", "sid=" + cookie + "x"},
		"with a scheme":    {"Authorization", "Bearer " + header, "Bearer to.k"},
		"without":          {"Authorization", header, "to.k"},
		"unstamped":        {"Authorization", "Basic abc=", "Basic abc="},
	} {
		h := http.Header{tc.name: {"first", tc.in}}
		ex.stripStamps(h)
		if got := h[tc.name]; got[0] != "first" || got[1] != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestStampAnswer(t *testing.T) {
	ex := sessionExchange(t)
	h := http.Header{
		"Set-Cookie": {
			"sid=tok; Path=/; HttpOnly; SameSite=Lax", "theme=dark", `sid="tok"`, "sid=; Max-Age=0",
			"sid=" + strings.Repeat("x", maxCookieBytes-4), "side=tok",
		},
		"Authorization": {"Bearer tok"},
	}
	ex.stampAnswer(h)
	s := ex.snap.router.sessions
	plain, api := s[0].seal(stamp{region: "beijing", slot: noSlot}, "tok"), s[1].seal(stamp{region: "beijing", slot: noSlot}, "tok")
	want := []string{
		"sid=" + plain + "; Path=/; HttpOnly; SameSite=Lax", "theme=dark", `sid="` + plain + `"`, "sid=; Max-Age=0",
		"sid=" + strings.Repeat("x", maxCookieBytes-4), "side=tok",
	}
	for i, got := range h["Set-Cookie"] {
		if got != want[i] {
			t.Errorf("cookie %d: got %q, want %q", i, got, want[i])
		}
	}
	if got := h.Get("Authorization"); got != "Bearer "+api {
		t.Errorf("header: %q", got)
	}
}

func TestStampedSlot(t *testing.T) {
	phone := &key{name: "phone"}
	for name, tc := range map[string]struct {
		change func(*exchange, *session)
		token  string
		want   stamp
	}{
		"of the flow's key": {func(ex *exchange, _ *session) { ex.flow.key, ex.slot, ex.slotted = phone, 5, true }, "new", stamp{"beijing", "phone", 5}},
		"none":              {func(*exchange, *session) {}, "new", stamp{"beijing", "", noSlot}},
		"the same token": {func(ex *exchange, s *session) {
			ex.session = presented{session: s, stamp: stamp{"shanghai", "phone", 9}, token: "old"}
		}, "old", stamp{"shanghai", "phone", 9}},
		"a new token for the same user": {func(ex *exchange, s *session) {
			ex.session = presented{session: s, stamp: stamp{"shanghai", "phone", 9}, token: "old"}
		}, "new", stamp{"beijing", "phone", 9}},
		"a login as another user": {func(ex *exchange, s *session) {
			ex.flow.issued = []*session{s}
			ex.session = presented{session: s, stamp: stamp{"shanghai", "phone", 9}, token: "old"}
		}, "new", stamp{"beijing", "", noSlot}},
	} {
		ex := sessionExchange(t)
		s := ex.snap.router.sessions[0]
		tc.change(ex, s)
		got, token, state := s.open(ex.stamped(s, tc.token))
		if got != tc.want || token != tc.token || state != genuine {
			t.Errorf("%s: %+v, %q, %v", name, got, token, state)
		}
	}
}

// FuzzCookie checks that whatever a client sends, only genuine stamps are taken off, and that what the
// application sets comes back to it as it was.
func FuzzCookie(f *testing.F) {
	ex := sessionExchange(f)
	s := ex.snap.router.sessions[0]
	genuine := s.seal(stamp{region: "beijing", slot: noSlot}, "tok")
	f.Add("sid=" + genuine)
	f.Add("sid=\"" + genuine)
	f.Add("sid=ma1.;;;=;sid==;ma1.")
	f.Add(" sid = " + genuine + " ; sid=" + genuine)
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Cookie": {line}}
		ex.stripStamps(h)
		got, sent := strings.Split(h["Cookie"][0], ";"), strings.Split(line, ";")
		for i, pair := range sent {
			if len(got) != len(sent) || got[i] != pair && got[i] != strings.Replace(pair, genuine, "tok", 1) {
				t.Fatalf("%q became %q", line, h["Cookie"][0])
			}
		}
		out := http.Header{"Set-Cookie": {line}}
		ex.stampAnswer(out)
		pair, attributes, _ := strings.Cut(out["Set-Cookie"][0], ";")
		back := http.Header{"Cookie": {pair}}
		ex.stripStamps(back)
		before, want, _ := strings.Cut(line, ";")
		if name, value, _ := strings.Cut(before, "="); strings.TrimSpace(name) == "sid" && value != strings.TrimSpace(value) {
			before = name + "=" + strings.TrimSpace(value) // as browsers keep it
		}
		if strings.Contains(before, stampPrefix) {
			return // the application sets what looks like a stamp
		}
		if got := back["Cookie"][0]; got != before && strings.TrimSpace(got) != strings.TrimSpace(before) || attributes != want {
			t.Errorf("%q came back as %q; attributes %q", line, got, attributes)
		}
	})
}
