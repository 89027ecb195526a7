package load_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/playground/load"
)

// gateway answers every request with a status and a session, and counts.
func gateway(t *testing.T, region string, status int) (load.Endpoint, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-User-Phone") == "" {
			t.Errorf("%s %s has no key", r.Method, r.URL)
		}
		http.SetCookie(w, &http.Cookie{Name: "other", Value: "x"})
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "s-" + region, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, `{"token":"t-`+region+`"}`)
	}))
	t.Cleanup(server.Close)
	return load.Endpoint{Region: region, URL: server.URL}, &asked
}

// gone is an endpoint that refuses connections.
func gone(t *testing.T) load.Endpoint {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return load.Endpoint{Region: "gone", URL: server.URL}
}

func TestLoginGoesOnToTheNextEndpoint(t *testing.T) {
	t.Parallel()
	broken, askedBroken := gateway(t, "broken", http.StatusServiceUnavailable)
	good, askedGood := gateway(t, "good", http.StatusOK)
	a, session := load.NewClient(clock.RealClock{}).Login(t.Context(), load.User{Phone: "1"}, []load.Endpoint{gone(t), broken, good})
	if a.Err != nil || a.Region != "good" || session != "s-good" || a.Attempts != 3 {
		t.Errorf("got %+v and session %q", a, session)
	}
	if a.FirstFailure.IsZero() {
		t.Error("the first failure has no time")
	}
	if askedBroken.Load() != 1 || askedGood.Load() != 1 {
		t.Errorf("asked %d and %d times", askedBroken.Load(), askedGood.Load())
	}
}

func TestLoginGivesUpWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	a, _ := load.NewClient(clock.RealClock{}).Login(ctx, load.User{Phone: "1"}, []load.Endpoint{gone(t)})
	if a.Err == nil || !strings.Contains(a.Err.Error(), "no endpoint served it") {
		t.Errorf("got error %v", a.Err)
	}
}

func TestRegistrationIsSentOnce(t *testing.T) {
	t.Parallel()
	refusing, _ := gateway(t, "refusing", http.StatusServiceUnavailable)
	good, askedGood := gateway(t, "good", http.StatusCreated)
	c := load.NewClient(clock.RealClock{})
	if a := c.Register(t.Context(), load.User{Phone: "1"}, []load.Endpoint{refusing, good}, "en"); a.Status != http.StatusServiceUnavailable || askedGood.Load() != 0 {
		t.Errorf("an answer ends it: %+v, asked again %d times", a, askedGood.Load())
	}
	if a := c.Register(t.Context(), load.User{Phone: "1"}, []load.Endpoint{gone(t), good}, "en"); a.Status != http.StatusCreated || a.Attempts != 2 {
		t.Errorf("nothing was sent to an endpoint that cannot be reached: %+v", a)
	}
}

func TestPopulation(t *testing.T) {
	t.Parallel()
	weights := []ownership.WeightedRegion{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c"}}
	p := load.NewPopulation(weights, time.Unix(1, 0))
	seen := map[string]bool{}
	for range 200 {
		u := p.New()
		if seen[u.Phone] || len(u.Phone) != 11 || (u.Home != "a" && u.Home != "b") {
			t.Fatalf("user %+v", u)
		}
		seen[u.Phone] = true
	}
	if u := p.NewAt("b"); u.Home != "b" {
		t.Errorf("user %+v should be at home in b", u)
	}
	if again := load.NewPopulation(weights, time.Unix(2, 0)).New(); seen[again.Phone] {
		t.Errorf("%s was there before", again.Phone)
	}
}

func TestEachCountsManyErrors(t *testing.T) {
	t.Parallel()
	users := make([]load.User, 10)
	failed := errors.New("no")
	err := load.Each(t.Context(), users, func(_ context.Context, i int, _ load.User) error {
		if i%2 == 0 {
			return failed
		}
		return nil
	})
	if !errors.Is(err, failed) || !strings.Contains(err.Error(), "5 of 10 users") {
		t.Errorf("got %v", err)
	}
}

func TestOrderOfEndpoints(t *testing.T) {
	t.Parallel()
	all := []load.Endpoint{{Region: "a"}, {Region: "b"}, {Region: "c"}}
	if diff := cmp.Diff([]load.Endpoint{all[1], all[2], all[0]}, load.Order(all, 4)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]load.Endpoint{all[0], all[2]}, load.Without(all, "b")); diff != "" {
		t.Errorf("without b (-want +got):\n%s", diff)
	}
	if got := load.At(all, "c"); got != all[2] {
		t.Errorf("at c: %v", got)
	}
}

// TestLoadNeverUsesTheVictimForPinnedUsers runs the load for a moment with one region that is gone.
func TestLoadNeverUsesTheVictimForPinnedUsers(t *testing.T) {
	t.Parallel()
	good, _ := gateway(t, "good", http.StatusOK)
	endpoints := []load.Endpoint{gone(t), good}
	p := load.NewPopulation([]ownership.WeightedRegion{{Name: "gone", Weight: 1}, {Name: "good", Weight: 1}}, time.Unix(1, 0))
	users := []load.User{p.NewAt("gone"), p.NewAt("good")}
	c := clock.RealClock{}
	l := load.NewLoad(load.NewClient(c), c, p, users, endpoints, "gone")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	l.Run(ctx, 200)
	pinned := 0
	for _, r := range l.Records() {
		if r.Kind == load.KindPinned {
			pinned++
			if r.Attempts != 1 || r.Err != nil || r.Home != "good" {
				t.Errorf("a pinned login met the victim: %+v", r)
			}
		}
		if r.Kind == load.KindLogin && r.Err != nil {
			t.Errorf("a login failed: %v", r.Err)
		}
	}
	if pinned == 0 {
		t.Error("there was no pinned login")
	}
}
