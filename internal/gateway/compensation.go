package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// compensationKept is for how long it is remembered that somebody was affected.
const compensationKept = 7 * 24 * time.Hour

// CompensationUser is what stands for a user in records for compensation: HMAC-SHA256, by a secret that the
// owner of the service holds, of the key's name, a line break, and the normalised key. Whoever has the secret
// and a list of users can tell who is in the records; nobody can read a user from them.
func CompensationUser(secret []byte, keyName, key string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(keyName))
	mac.Write([]byte{'\n'})
	mac.Write([]byte(key))
	var out [sha256.Size]byte
	mac.Sum(out[:0])
	return out
}

// compensation records whom outages and changes of owners have hit, in bounded memory.
type compensation struct {
	secret func() []byte
	limit  int

	mu      sync.Mutex
	records map[compensated]hits
	// left are the affected requests with a key that are in no record: there was no secret, or no room.
	left int64
}

// compensated is whom and what a record is about.
type compensated struct {
	user      [sha256.Size]byte
	flow, key string
}

// hits is what happened; times are Unix milliseconds.
type hits struct {
	refused, degraded uint32
	first, last       int64
}

func newCompensation(o *Options) *compensation {
	return &compensation{secret: o.CompensationSecret, limit: o.CompensationRecords, records: map[compensated]hits{}}
}

// recording reports whether there is a secret to record with.
func (c *compensation) recording() []byte {
	if c.secret == nil {
		return nil
	}
	return c.secret()
}

// note records an affected request of the user with the key.
func (c *compensation) note(flow, keyName, key string, refused bool, now time.Time) {
	secret := c.recording()
	of := compensated{flow: flow, key: keyName}
	if len(secret) > 0 {
		of.user = CompensationUser(secret, keyName, key)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h, known := c.records[of]
	if len(secret) == 0 || !known && !c.room(now) {
		c.left++
		return
	}
	if !known {
		h.first = now.UnixMilli()
	}
	h.last = now.UnixMilli()
	if refused {
		h.refused = inc(h.refused)
	} else {
		h.degraded = inc(h.degraded)
	}
	c.records[of] = h
}

func inc(n uint32) uint32 {
	if n == math.MaxUint32 {
		return n
	}
	return n + 1
}

// room makes room for one more record, if there is none, by dropping those that are old.
func (c *compensation) room(now time.Time) bool {
	if len(c.records) < c.limit {
		return true
	}
	for of, h := range c.records {
		if h.last < now.Add(-compensationKept).UnixMilli() {
			delete(c.records, of)
		}
	}
	return len(c.records) < c.limit
}

// CompensationHeader is the first line of the answer of /.multiactive/affected/users.
type CompensationHeader struct {
	Service string `json:"service"`
	Region  string `json:"region"`
	Gateway string `json:"gateway"`
	// Recording: there is a secret to record with.
	Recording bool `json:"recording"`
	// Records that follow, one a line.
	Records int `json:"records"`
	// UnrecordedRequests were affected and are in no record: there was no secret, or no room.
	UnrecordedRequests int64 `json:"unrecordedRequests"`
}

// CompensationRecord is what an outage did to one user of a flow, at one gateway.
type CompensationRecord struct {
	Flow string `json:"flow"`
	// Key is the name of the partition key, User the hexadecimal CompensationUser of it.
	Key              string    `json:"key"`
	User             string    `json:"user"`
	RefusedRequests  int64     `json:"refusedRequests"`
	DegradedRequests int64     `json:"degradedRequests"`
	FirstAt          time.Time `json:"firstAt"`
	LastAt           time.Time `json:"lastAt"`
}

// since returns the records of those who were affected at that time or later, in an order that stays the same.
func (c *compensation) since(at time.Time) (out []CompensationRecord, left int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for of, h := range c.records {
		if h.last < at.UnixMilli() {
			continue
		}
		out = append(out, CompensationRecord{
			Flow: of.flow, Key: of.key, User: hex.EncodeToString(of.user[:]), RefusedRequests: int64(h.refused), DegradedRequests: int64(h.degraded),
			FirstAt: time.UnixMilli(h.first).UTC(), LastAt: time.UnixMilli(h.last).UTC(),
		})
	}
	slices.SortFunc(out, func(x, y CompensationRecord) int { return strings.Compare(x.Flow+" "+x.User, y.Flow+" "+y.User) })
	return out, c.left
}

// serveCompensation lists, as newline-delimited JSON, who was affected at ?since= (RFC 3339) or later.
func (g *Gateway) serveCompensation(w http.ResponseWriter, r *http.Request) {
	snap := g.state.load()
	if snap == nil {
		http.Error(w, noRouting, http.StatusServiceUnavailable)
		return
	}
	var since time.Time
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			http.Error(w, fmt.Sprintf("since: %q is no time such as 2026-01-02T15:04:05Z", text), http.StatusBadRequest)
			return
		}
	}
	c, cfg := g.metrics.compensation, snap.router.cfg
	records, left := c.since(since)
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	_ = lines.Encode(CompensationHeader{
		Service: cfg.Namespace + "/" + cfg.Name, Region: cfg.Region, Gateway: g.options.Gateway,
		Recording: len(c.recording()) > 0, Records: len(records), UnrecordedRequests: left,
	})
	for i := range records {
		if lines.Encode(&records[i]) != nil {
			return // the caller has gone
		}
	}
}
