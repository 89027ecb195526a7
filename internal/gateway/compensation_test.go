package gateway

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// owed asks a region's gateway for its records.
func (w *world) owed(t *testing.T, region, query string) (CompensationHeader, []CompensationRecord) {
	t.Helper()
	rec := httptest.NewRecorder()
	w.places[region].counted(t).AdminHandler().ServeHTTP(rec, httptest.NewRequest("GET", OwnPrefix+"affected/users"+query, nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	lines := bufio.NewScanner(rec.Body)
	lines.Scan()
	header := decode[CompensationHeader](t, lines.Text())
	var out []CompensationRecord
	for lines.Scan() {
		out = append(out, decode[CompensationRecord](t, lines.Text()))
	}
	return header, out
}

// Who is affected is recorded as the owner of the service alone can tell, and nobody else.
func TestCompensationRecords(t *testing.T) {
	secret := []byte("a secret of the service's owner")
	var known atomic.Bool
	w := newWorld(t, func(o *Options) {
		o.CompensationSecret = func() []byte {
			if known.Load() {
				return secret
			}
			return nil
		}
	})
	w.setState("beijing", ownership.RegionLost)
	w.publish(t)
	lost := keyHomedIn(t, "beijing")
	call := func(method, path, key string) {
		w.call(t, "shanghai", method, path, map[string]string{"X-User-Phone": key}, nil)
	}
	call("POST", "/v1/accounts", lost)
	if header, records := w.owed(t, "shanghai", ""); header.Recording || header.UnrecordedRequests != 1 || len(records) != 0 {
		t.Errorf("without a secret: %+v %+v", header, records)
	}

	known.Store(true)
	call("POST", "/v1/accounts", lost)
	call("POST", "/v1/accounts", lost)
	call("GET", "/v1/profile", lost)
	call("POST", "/v1/accounts", keyHomedIn(t, "shanghai"))
	w.call(t, "shanghai", "POST", "/v1/accounts", nil, nil) // a fault of its own
	header, records := w.owed(t, "shanghai", "")
	if !header.Recording || header.Records != 2 || header.UnrecordedRequests != 1 || header.Service != "accounts/user" || header.Region != "shanghai" {
		t.Errorf("header %+v", header)
	}
	user := CompensationUser(secret, "phone", lost)
	for i, want := range []CompensationRecord{{Flow: "profile", DegradedRequests: 1}, {Flow: "register", RefusedRequests: 2}} {
		r := records[i]
		if r.Flow != want.Flow || r.Key != "phone" || r.User != hex.EncodeToString(user[:]) || r.RefusedRequests != want.RefusedRequests ||
			r.DegradedRequests != want.DegradedRequests || r.FirstAt.IsZero() || r.LastAt.Before(r.FirstAt) {
			t.Errorf("record %d: %+v, want %+v", i, r, want)
		}
	}
	if whole, _ := json.Marshal(records); bytes.Contains(whole, []byte(lost)) {
		t.Errorf("the key itself is in the records: %s", whole)
	}
	if _, later := w.owed(t, "shanghai", "?since="+records[1].LastAt.Add(time.Hour).Format(time.RFC3339)); len(later) != 0 {
		t.Errorf("an hour later: %+v", later)
	}
	rec := httptest.NewRecorder()
	w.places["shanghai"].gateway.AdminHandler().ServeHTTP(rec, httptest.NewRequest("GET", OwnPrefix+"affected/users?since=yesterday", nil))
	if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "yesterday") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A signature that others can repeat: openssl dgst -sha256 -hmac.
func TestCompensationUser(t *testing.T) {
	got := CompensationUser([]byte("0123456789abcdef"), "phone", "13800000001")
	const want = "0a073d9260fd3058638278ab39202551b8e44bbe991ffbe5bb09230db192952d"
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("%x, want %s", got, want)
	}
}

// Memory is bounded: what finds no room is counted, and what is old makes room.
func TestCompensationIsBounded(t *testing.T) {
	c := newCompensation(&Options{CompensationSecret: func() []byte { return []byte("s") }, CompensationRecords: 10})
	now := time.Unix(1_700_000_000, 0)
	for i := range 25 {
		c.note("pay", "phone", strconv.Itoa(i), true, now)
	}
	c.note("pay", "phone", "3", true, now)
	if records, left := c.since(time.Time{}); len(records) != 10 || left != 15 {
		t.Errorf("%d records, %d left", len(records), left)
	}
	later := now.Add(compensationKept + time.Hour)
	c.note("pay", "phone", "24", true, later)
	if records, left := c.since(time.Time{}); len(records) != 1 || left != 15 || !records[0].FirstAt.Equal(later) {
		t.Errorf("%+v, %d left", records, left)
	}
}
