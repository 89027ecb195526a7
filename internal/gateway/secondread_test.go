package gateway

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// secondReadWorld is the example service, whose login reads a class with second read.
func secondReadWorld(t *testing.T, policy routing.SecondRead) *world {
	t.Helper()
	w := newWorld(t, nil)
	w.config.Flows[0].Key, w.config.Flows[0].SecondRead = "phone", &policy
	w.config.Flows = append(w.config.Flows, routing.Flow{
		Name: "user", Core: true, Key: "phone", SecondRead: &policy, Match: []routing.Match{{Path: "/v1/user"}},
	})
	w.publish(t)
	return w
}

// slow is long enough for any answer on a busy machine.
const slow = time.Minute

// knows lets a region's application know the users, or have a miss of each. It counts what it is asked.
func (p *place) knows(users bool, asked *atomic.Int32) {
	p.handle(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-App", p.name)
		w.Header().Set("X-Key", r.Header.Get(HeaderKey))
		switch {
		case users:
			_, _ = io.WriteString(w, p.name+" got "+string(body))
		case r.Method == http.MethodPost:
			w.Header().Set(HeaderMiss, "true")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "no such user")
		default:
			http.Error(w, "no such user", http.StatusNotFound)
		}
	})
}

// neverAnswer holds a request until whoever asked has gone, which shows once the body was read.
func neverAnswer(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func TestSecondReadAsksTheOwner(t *testing.T) {
	w := secondReadWorld(t, routing.SecondRead{Timeout: slow})
	key := keyHomedIn(t, "beijing")
	body := `{"phone":"` + key + `"}`
	for name, tc := range map[string]struct {
		at, method, path, body string
		header                 map[string]string
		local, home            bool // they know the user
		status                 int
		source, answer         string
		wantLocal, wantHome    int32 // requests
	}{
		"known here": {
			at: "shanghai", method: "POST", path: "/v1/login", body: body, local: true, home: true,
			status: 200, answer: "shanghai got " + body, wantLocal: 1,
		},
		"known at home": {
			at: "shanghai", method: "POST", path: "/v1/login", body: body, home: true,
			status: 200, source: "beijing", answer: "beijing got " + body, wantLocal: 1, wantHome: 1,
		},
		"known nowhere": {
			at: "shanghai", method: "POST", path: "/v1/login", body: body,
			status: 401, source: "beijing", answer: "no such user", wantLocal: 1, wantHome: 1,
		},
		"a safe method without the header": {
			at: "shenzhen", method: "GET", path: "/v1/user?phone=" + key, home: true,
			status: 200, source: "beijing", answer: "beijing got ", wantLocal: 1, wantHome: 1,
		},
		"asked at home": {
			at: "beijing", method: "POST", path: "/v1/login", body: body,
			status: 401, answer: "no such user", wantHome: 1,
		},
		"no key": {
			at: "shanghai", method: "POST", path: "/v1/login", body: `{"name":"x"}`, home: true,
			status: 401, answer: "no such user", wantLocal: 1,
		},
		"no JSON": {
			at: "shanghai", method: "POST", path: "/v1/login", body: `{"phone":`, home: true,
			status: 401, answer: "no such user", wantLocal: 1,
		},
		"the key in a header, the body a form": {
			at: "shanghai", method: "POST", path: "/v1/login", body: "a=b", home: true,
			header: map[string]string{"X-User-Phone": key, "Content-Type": "application/x-www-form-urlencoded"},
			status: 200, source: "beijing", answer: "beijing got a=b", wantLocal: 1, wantHome: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var local, home atomic.Int32
			for region, p := range w.places {
				if region == "beijing" {
					p.knows(tc.home, &home)
				} else {
					p.knows(tc.local, &local)
				}
			}
			resp, text := w.call(t, tc.at, tc.method, tc.path, tc.header, strings.NewReader(tc.body))
			if resp.StatusCode != tc.status || strings.TrimSpace(text) != strings.TrimSpace(tc.answer) || resp.Header.Get(HeaderSource) != tc.source {
				t.Errorf("got %d %q from %q, want %d %q from %q", resp.StatusCode, text, resp.Header.Get(HeaderSource), tc.status, tc.answer, tc.source)
			}
			if local.Load() != tc.wantLocal || home.Load() != tc.wantHome {
				t.Errorf("%d requests at the local application, want %d; %d at home, want %d", local.Load(), tc.wantLocal, home.Load(), tc.wantHome)
			}
			if got := resp.Header.Get("X-Key"); tc.source != "" && got != key {
				t.Errorf("the application at home got the key %q", got)
			}
			for _, h := range []string{HeaderMiss, HeaderAnswered, HeaderStale} {
				if v := resp.Header.Get(h); v != "" {
					t.Errorf("%s: %s reached the user", h, v)
				}
			}
		})
	}
}

func TestSecondReadRefusesTwoKeys(t *testing.T) {
	w := secondReadWorld(t, routing.SecondRead{Timeout: slow})
	resp, text := w.call(t, "shanghai", "POST", "/v1/login", map[string]string{"X-User-Phone": "1"}, strings.NewReader(`{"phone":"2"}`))
	wantProblem(t, resp, text, http.StatusBadRequest, ReasonConflictingKeys)
}

func TestSecondReadThatNobodyAnswers(t *testing.T) {
	key := keyHomedIn(t, "beijing", "shanghai", "shenzhen")
	for name, tc := range map[string]struct {
		timeout time.Duration
		trouble func(*testing.T, *world)
		at      string
	}{
		"the owner's gateway is gone": {slow, func(_ *testing.T, w *world) { w.places["beijing"].server.Close() }, "shanghai"},
		"the owner's application is gone": {slow, func(_ *testing.T, w *world) {
			w.places["beijing"].app.Close()
		}, "shanghai"},
		"the owner is slow": {50 * time.Millisecond, func(_ *testing.T, w *world) {
			w.places["beijing"].handle(neverAnswer)
		}, "shanghai"},
		"the owner fails": {slow, func(_ *testing.T, w *world) {
			w.places["beijing"].handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		}, "shanghai"},
		"something else answers there": {slow, func(t *testing.T, w *world) {
			for i := range w.config.Regions {
				w.config.Regions[i].Endpoint = w.places["beijing"].app.URL // no gateway
			}
			w.publish(t)
		}, "shanghai"},
		"the home is lost": {slow, func(t *testing.T, w *world) {
			w.setState("beijing", ownership.RegionLost)
			w.publish(t)
		}, "shanghai"},
		"the home is lost, and the owner has a miss too": {slow, func(t *testing.T, w *world) {
			w.setState("beijing", ownership.RegionLost)
			w.publish(t)
		}, "shenzhen"},
	} {
		for _, answerLocally := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				w := secondReadWorld(t, routing.SecondRead{Timeout: tc.timeout, AnswerLocally: answerLocally})
				var asked atomic.Int32
				for _, p := range w.places {
					p.knows(false, &asked)
				}
				tc.trouble(t, w)
				resp, text := w.call(t, tc.at, "POST", "/v1/login", nil, strings.NewReader(`{"phone":"`+key+`"}`))
				if !answerLocally {
					if p := wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonCannotCheck); p.Announcement == "" || p.Region == tc.at {
						t.Errorf("announcement and another region must be given: %s", text)
					}
					return
				}
				if resp.StatusCode != http.StatusUnauthorized || text != "no such user" || resp.Header.Get(HeaderStale) != "true" ||
					resp.Header.Get("X-App") != tc.at || resp.Header.Get(HeaderMiss) != "" {
					t.Errorf("got %d %q, %v", resp.StatusCode, text, resp.Header)
				}
			})
		}
	}
}

func TestSecondReadAsksAHomeThatReturns(t *testing.T) {
	w := secondReadWorld(t, routing.SecondRead{Timeout: slow})
	w.setState("beijing", ownership.RegionReturning)
	for i := range w.config.Regions {
		if w.config.Regions[i].Name == "beijing" {
			w.config.Regions[i].Unshipped = true
		}
	}
	w.publish(t)
	var asked atomic.Int32
	w.places["shanghai"].knows(false, &asked)
	w.places["beijing"].knows(true, &asked)
	body := `{"phone":"` + keyHomedIn(t, "beijing", "shanghai") + `"}`
	resp, text := w.call(t, "shanghai", "POST", "/v1/login", nil, strings.NewReader(body))
	if resp.StatusCode != http.StatusOK || resp.Header.Get(HeaderSource) != "beijing" {
		t.Errorf("got %d %q", resp.StatusCode, text)
	}
}

func TestSecondReadOfALongBody(t *testing.T) {
	w := secondReadWorld(t, routing.SecondRead{Timeout: slow})
	var asked atomic.Int32
	w.places["shanghai"].knows(false, &asked)
	long := strings.Repeat("x", DefaultKeyBodyBytes+1)
	header := map[string]string{"X-User-Phone": keyHomedIn(t, "beijing"), "Content-Type": "text/plain"}
	for name, body := range map[string]io.Reader{"of known length": strings.NewReader(long), "chunked": io.MultiReader(strings.NewReader(long))} {
		resp, text := w.call(t, "shanghai", "POST", "/v1/login", header, body)
		if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get(HeaderStale) != "true" {
			t.Errorf("%s: a miss: %d %q, %v", name, resp.StatusCode, text, resp.Header)
		}
	}
	w.places["shanghai"].knows(true, &asked)
	resp, text := w.call(t, "shanghai", "POST", "/v1/login", header, io.MultiReader(strings.NewReader(long)))
	if resp.StatusCode != http.StatusOK || text != "shanghai got "+long || resp.Header.Get(HeaderStale) != "" {
		t.Errorf("no miss: %d, %d bytes, %v", resp.StatusCode, len(text), resp.Header)
	}
}

func TestSecondReadOfAMissThatDoesNotEnd(t *testing.T) {
	w := secondReadWorld(t, routing.SecondRead{Timeout: 50 * time.Millisecond, AnswerLocally: true})
	w.places["beijing"].handle(neverAnswer)
	w.places["shanghai"].handle(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set(HeaderMiss, "true")
		_, _ = io.WriteString(rw, "no su")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	resp, text := w.call(t, "shanghai", "GET", "/v1/user?phone="+keyHomedIn(t, "beijing"), nil, nil)
	wantProblem(t, resp, text, http.StatusServiceUnavailable, ReasonCannotCheck)
}

// TestSecondReadOfPinnedData asks the region that the data is pinned to, whatever the user's key says.
func TestSecondReadOfPinnedData(t *testing.T) {
	w := newWorld(t, nil)
	w.config.Flows = append(w.config.Flows, routing.Flow{
		Name: "tariffs", Core: true, Match: []routing.Match{{Path: "/v1/tariffs"}},
		SecondRead: &routing.SecondRead{Timeout: slow, Homes: []string{"shenzhen", "beijing"}},
	})
	w.publish(t)
	var here, home atomic.Int32
	w.places["beijing"].knows(false, &here)
	w.places["shanghai"].knows(false, &here)
	w.places["shenzhen"].knows(true, &home)
	for _, key := range []string{keyHomedIn(t, "beijing"), keyHomedIn(t, "shanghai"), ""} {
		resp, text := w.call(t, "beijing", "GET", "/v1/tariffs", map[string]string{"X-User-Phone": key}, nil)
		if resp.StatusCode != http.StatusOK || resp.Header.Get(HeaderSource) != "shenzhen" || resp.Header.Get("X-Key") != "" {
			t.Errorf("key %q: %d %q, %v", key, resp.StatusCode, text, resp.Header)
		}
	}
	w.places["shenzhen"].knows(false, &home)
	resp, text := w.call(t, "shenzhen", "GET", "/v1/tariffs", nil, nil)
	if resp.StatusCode != http.StatusNotFound || resp.Header.Get(HeaderSource) != "" {
		t.Errorf("a miss at home: %d %q, %v", resp.StatusCode, text, resp.Header)
	}
	if here.Load() != 3 || home.Load() != 4 {
		t.Errorf("%d requests here and %d at home, want 3 and 4", here.Load(), home.Load())
	}
	w.setState("shenzhen", ownership.RegionLost)
	w.publish(t)
	w.places["beijing"].knows(true, &here)
	resp, text = w.call(t, "shanghai", "GET", "/v1/tariffs", nil, nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get(HeaderSource) != "beijing" {
		t.Errorf("after the first home is lost: %d %q, %v", resp.StatusCode, text, resp.Header)
	}
}

func TestSecondReadOfDataThatIsPinnedNowhere(t *testing.T) {
	cfg := testConfig()
	cfg.Flows = append(cfg.Flows, routing.Flow{
		Name: "tariffs", Match: []routing.Match{{Path: "/v1/tariffs"}}, SecondRead: &routing.SecondRead{Homes: []string{"mars"}},
	})
	if _, err := Compile(&cfg); err == nil || !strings.Contains(err.Error(), "flows[tariffs].secondRead.homes") {
		t.Errorf("got %v", err)
	}
}
