package gateway

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/axiomhq/hyperloglog"
	"github.com/prometheus/client_golang/prometheus"
)

// affectedQuiet ends a period: what comes after so long without anybody affected is another outage.
const affectedQuiet = time.Hour

// affectedUsers counts whom an outage or a change of owners hits, by flow. How many users these were is an
// estimate with a standard error of 0.8 %, from a sketch of at most 16 KiB a flow: their keys are not kept,
// and what goes into the sketch is an HMAC of them.
type affectedUsers struct {
	mu    sync.Mutex
	last  time.Time
	flows map[string]*affectedFlow
}

// affectedUsersDesc is of the gauge that has the estimates.
var affectedUsersDesc = prometheus.NewDesc("multiactive_gateway_affected_users",
	"Estimated number of users whom the present or latest outage has refused or served worse, by flow.", []string{"flow"}, nil)

type affectedFlow struct {
	refused, degraded, keyless int64
	first, last                time.Time
	sketch                     *hyperloglog.Sketch
}

func newAffectedUsers() *affectedUsers {
	return &affectedUsers{flows: map[string]*affectedFlow{}}
}

// note counts one affected request. user is 0 when its key is not known.
func (a *affectedUsers) note(flow string, refused bool, user uint64, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.last) > affectedQuiet {
		clear(a.flows)
	}
	f := a.flows[flow]
	if f == nil {
		f = &affectedFlow{first: now, sketch: hyperloglog.New14()}
		a.flows[flow] = f
	}
	a.last, f.last = now, now
	if refused {
		f.refused++
	} else {
		f.degraded++
	}
	if user == 0 {
		f.keyless++
		return
	}
	f.sketch.InsertHash(user)
}

// keep forgets the flows that are gone.
func (a *affectedUsers) keep(flows map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for flow := range a.flows {
		if !flows[flow] {
			delete(a.flows, flow)
		}
	}
}

// Describe implements prometheus.Collector.
func (a *affectedUsers) Describe(c chan<- *prometheus.Desc) { c <- affectedUsersDesc }

// Collect implements prometheus.Collector.
func (a *affectedUsers) Collect(c chan<- prometheus.Metric) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for flow, f := range a.flows {
		c <- prometheus.MustNewConstMetric(affectedUsersDesc, prometheus.GaugeValue, float64(f.sketch.Estimate()), flow)
	}
}

// affectedUser stands for the user of an affected request in sketches: the same in all gateways of the
// service, so that sketches can be merged, and nothing to anybody without the service's key.
func (ex *exchange) affectedUser() uint64 {
	if ex.key == "" || !ex.snap.router.mayForward() {
		return 0
	}
	cfg := ex.snap.router.cfg
	return max(binary.BigEndian.Uint64(macOf(cfg.PeerKey, "multiactive affected v1", cfg.UID, ex.flow.key.name, ex.key)), 1)
}

// Affected is the answer of /.multiactive/affected: what the present or latest outage did to users here.
type Affected struct {
	Service string `json:"service"`
	Region  string `json:"region"`
	Epoch   int64  `json:"epoch"`
	// Flows by name; those that nobody was affected in are left out.
	Flows []AffectedFlow `json:"flows"`
}

// AffectedFlow is one flow of Affected. An outage ends here when nobody was affected for an hour.
type AffectedFlow struct {
	Flow string `json:"flow"`
	// RefusedRequests were refused, DegradedRequests answered from a copy or by another region.
	RefusedRequests  int64 `json:"refusedRequests"`
	DegradedRequests int64 `json:"degradedRequests"`
	// KeylessRequests of both have no partition key, so that nobody knows whose they were.
	KeylessRequests int64 `json:"keylessRequests"`
	// Users is an estimate with a standard error of 0.8 %.
	Users   uint64    `json:"users"`
	FirstAt time.Time `json:"firstAt"`
	LastAt  time.Time `json:"lastAt"`
	// Sketch of the users (HyperLogLog of github.com/axiomhq/hyperloglog, binary), to merge with those of
	// other gateways; only with the parameter sketch=true.
	Sketch []byte `json:"sketch,omitempty"`
}

// serveAffected tells whom an outage has hit.
func (g *Gateway) serveAffected(w http.ResponseWriter, r *http.Request) {
	snap := g.state.load()
	if snap == nil {
		http.Error(w, noRouting, http.StatusServiceUnavailable)
		return
	}
	cfg := snap.router.cfg
	doc := Affected{Service: cfg.Namespace + "/" + cfg.Name, Region: cfg.Region, Epoch: cfg.Epoch}
	var err error
	if doc.Flows, err = g.metrics.users.report(r.URL.Query().Get("sketch") == "true"); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, doc)
}

func (a *affectedUsers) report(sketches bool) ([]AffectedFlow, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]AffectedFlow, 0, len(a.flows))
	for name, f := range a.flows {
		flow := AffectedFlow{
			Flow: name, RefusedRequests: f.refused, DegradedRequests: f.degraded, KeylessRequests: f.keyless,
			Users: f.sketch.Estimate(), FirstAt: f.first.UTC(), LastAt: f.last.UTC(),
		}
		if sketches {
			var err error
			if flow.Sketch, err = f.sketch.MarshalBinary(); err != nil {
				return nil, err
			}
		}
		out = append(out, flow)
	}
	slices.SortFunc(out, func(x, y AffectedFlow) int { return strings.Compare(x.Flow, y.Flow) })
	return out, nil
}
