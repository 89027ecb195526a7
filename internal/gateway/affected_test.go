package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/axiomhq/hyperloglog"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"multiactive.dev/operator/internal/ownership"
)

// affected asks a region's gateway whom an outage has hit.
func (w *world) affected(t *testing.T, region string) map[string]AffectedFlow {
	t.Helper()
	rec := httptest.NewRecorder()
	w.places[region].counted(t).AdminHandler().ServeHTTP(rec, httptest.NewRequest("GET", OwnPrefix+"affected?sketch=true", nil))
	doc := decode[Affected](t, rec.Body.String())
	if rec.Code != http.StatusOK || doc.Service != "accounts/user" || doc.Region != region {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	out := map[string]AffectedFlow{}
	for _, f := range doc.Flows {
		out[f.Flow] = f
	}
	return out
}

func TestAffectedUsers(t *testing.T) {
	w := newWorld(t, nil)
	w.setState("beijing", ownership.RegionLost)
	w.publish(t)
	lost := keyHomedIn(t, "beijing")
	call := func(region, method, path, key string) {
		w.call(t, region, method, path, map[string]string{"X-User-Phone": key}, nil)
	}
	for range 3 {
		call("shanghai", "POST", "/v1/accounts", lost)
	}
	call("shenzhen", "POST", "/v1/accounts", lost) // forwarded, and refused there
	call("shanghai", "POST", "/v1/accounts", keyHomedIn(t, "shanghai"))
	call("shanghai", "GET", "/v1/profile", lost)
	w.call(t, "shanghai", "POST", "/v1/accounts", nil, nil) // a fault of its own

	here := w.affected(t, "shanghai")
	if f := here["register"]; f.RefusedRequests != 4 || f.Users != 1 || f.KeylessRequests != 0 || f.FirstAt.IsZero() || f.LastAt.Before(f.FirstAt) {
		t.Errorf("register: %+v", f)
	}
	if f := here["profile"]; f.RefusedRequests != 0 || f.DegradedRequests != 1 || f.Users != 1 {
		t.Errorf("profile: %+v", f)
	}
	if len(here) != 2 || len(w.affected(t, "shenzhen")) != 0 {
		t.Errorf("flows %v; in shenzhen %v", here, w.affected(t, "shenzhen"))
	}
	want := `
# HELP multiactive_gateway_affected_users Estimated number of users whom the present or latest outage has refused or served worse, by flow.
# TYPE multiactive_gateway_affected_users gauge
multiactive_gateway_affected_users{flow="profile"} 1
multiactive_gateway_affected_users{flow="register"} 1
`
	if err := testutil.GatherAndCompare(w.places["shanghai"].counted(t).metrics.registry, strings.NewReader(want), "multiactive_gateway_affected_users"); err != nil {
		t.Error(err)
	}

	w.config.Flows = w.config.Flows[:2]
	w.publish(t)
	if f := w.affected(t, "shanghai"); len(f) != 1 || f["register"].RefusedRequests != 4 {
		t.Errorf("a flow that is gone: %v", f)
	}
}

func TestAffectedUsersAreEstimated(t *testing.T) {
	const users, seldom = 100_000, 40
	a := newAffectedUsers()
	now := time.Date(2026, 5, 1, 9, 30, 0, 0, time.UTC)
	ex := &exchange{snap: &snapshot{router: mustCompile(t, testConfig())}, flow: &flow{key: &key{name: "phone"}}}
	for i := range users {
		ex.key = fmt.Sprintf("138%08d", i)
		for range 2 {
			a.note("pay", true, ex.affectedUser(), now)
		}
		if i < seldom {
			a.note("login", false, ex.affectedUser(), now)
		}
	}
	ex.key = ""
	a.note("login", true, ex.affectedUser(), now)
	flows, err := a.report(true)
	if err != nil {
		t.Fatal(err)
	}
	login, pay := flows[0], flows[1]
	if login.Users != seldom || login.DegradedRequests != seldom || login.RefusedRequests != 1 || login.KeylessRequests != 1 {
		t.Errorf("login: %+v", login)
	}
	if off := float64(pay.Users)/users - 1; off < -.04 || off > .04 || pay.RefusedRequests != 2*users || len(pay.Sketch) > 20<<10 {
		t.Errorf("pay: %d users of %d, %d requests, a sketch of %d bytes", pay.Users, users, pay.RefusedRequests, len(pay.Sketch))
	}
	var elsewhere, here hyperloglog.Sketch
	if err := elsewhere.UnmarshalBinary(login.Sketch); err != nil {
		t.Fatal(err)
	}
	if err := here.UnmarshalBinary(pay.Sketch); err != nil {
		t.Fatal(err)
	}
	if err := here.Merge(&elsewhere); err != nil || here.Estimate() != pay.Users {
		t.Errorf("users that two gateways have refused count as %d, %v", here.Estimate(), err)
	}
	a.note("pay", true, 1, now.Add(affectedQuiet))
	if flows, _ = a.report(false); len(flows) != 2 || flows[1].RefusedRequests != 2*users+1 {
		t.Errorf("within an hour: %+v", flows)
	}
	a.note("pay", true, 1, now.Add(2*affectedQuiet+1))
	if flows, _ = a.report(false); len(flows) != 1 || flows[0].Users != 1 || flows[0].RefusedRequests != 1 || flows[0].Sketch != nil {
		t.Errorf("another outage: %+v", flows)
	}
}
