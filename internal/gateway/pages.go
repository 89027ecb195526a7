package gateway

import (
	"encoding/json"
	"net/http"
	"strings"

	"multiactive.dev/operator/internal/ownership"
)

// Endpoints is the answer of /.multiactive/endpoints: for clients that choose a region themselves.
type Endpoints struct {
	// Service is namespace/name.
	Service string `json:"service"`
	// Region that answers.
	Region string `json:"region"`
	Epoch  int64  `json:"epoch"`
	// Regions in declared order.
	Regions []RegionEndpoint `json:"regions"`
}

// RegionEndpoint is one region of Endpoints.
type RegionEndpoint struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	Endpoint    string `json:"endpoint"`
	// Serves any-region flows now.
	Serves bool                  `json:"serves"`
	State  ownership.RegionState `json:"state"`
}

// Health is the answer of /.multiactive/healthz: 200 when this region serves this service, for
// whoever sends users there. It follows the agreed view, so it is no probe of a Region: a region that
// is lost would stay so.
type Health struct {
	Serves bool   `json:"serves"`
	Region string `json:"region,omitempty"`
	// Why is empty when it serves.
	Why string `json:"why,omitempty"`
}

// AppHealth is the answer of /.multiactive/healthz/app: 200 when this gateway has its routing and the
// local application takes connections, whatever the agreed view says of the region. It is for the
// probes of a Region.
type AppHealth struct {
	Reachable bool   `json:"reachable"`
	Region    string `json:"region,omitempty"`
	// Why is empty when it is reachable.
	Why string `json:"why,omitempty"`
}

// serveOwn answers the public pages of the gateway's own.
func (ex *exchange) serveOwn() {
	ex.snap = ex.g.state.load()
	if ex.r.Method != http.MethodGet && ex.r.Method != http.MethodHead {
		ex.w.Header().Set("Allow", "GET, HEAD")
		ex.refuse(problemOf(ReasonMethodNotAllowed, "use GET"))
		return
	}
	if id, is := strings.CutPrefix(ex.r.URL.Path, DeferredPrefix); is {
		ex.serveDeferred(id)
		return
	}
	switch ex.r.URL.Path {
	case OwnPrefix + "endpoints":
		if ex.snap == nil {
			ex.refuse(problemOf(ReasonNotConfigured, "this gateway has not had its routing from the region's agent yet; try again"))
			return
		}
		writeJSON(ex.w, http.StatusOK, ex.snap.router.endpoints())
	case OwnPrefix + "healthz":
		h := ex.g.health()
		writeJSON(ex.w, healthStatus(h.Serves), h)
	case OwnPrefix + "healthz/app":
		h := ex.appHealth()
		writeJSON(ex.w, healthStatus(h.Reachable), h)
	case originPage:
		if ex.snap == nil {
			ex.refuse(problemOf(ReasonNotConfigured, "this gateway has not had its routing from the region's agent yet; try again"))
			return
		}
		ex.serveSession()
	default:
		ex.refuse(unknownPage())
	}
}

// enter counts a request for a page that costs another region or the application something. It reports false
// when that was refused; leave in any case.
func (ex *exchange) enter() (leave func(), ok bool) {
	leave = func() { ex.g.inFlight.Add(-1) }
	if ex.g.inFlight.Add(1) <= ex.g.options.MaxInFlight {
		return leave, true
	}
	ex.refuse(problemOf(ReasonOverloaded, "this gateway has as many requests under way as it may; try again"))
	return leave, false
}

func unknownPage() *problem {
	return problemOf(ReasonNotFound, "the gateway has the pages %[1]sendpoints, %[1]shealthz, %[1]shealthz/app and %[1]sdeferred/ID", OwnPrefix)
}

func healthStatus(good bool) int {
	if good {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func (r *Router) endpoints() Endpoints {
	e := Endpoints{Service: r.cfg.Namespace + "/" + r.cfg.Name, Region: r.cfg.Region, Epoch: r.cfg.Epoch}
	for i := range r.regions {
		x := &r.regions[i]
		e.Regions = append(e.Regions, RegionEndpoint{x.Name, x.DisplayName, x.Endpoint, r.serves(i), x.State})
	}
	return e
}

// health tells whether users should be sent to this region.
func (g *Gateway) health() Health {
	ready, why := g.Ready()
	snap := g.state.load()
	if snap == nil {
		return Health{Why: why}
	}
	r := snap.router
	if ready && !r.serves(r.self) {
		why = "the agreed view has this region as " + string(r.regions[r.self].State)
	}
	return Health{Serves: why == "", Region: r.cfg.Region, Why: why}
}

// appHealth tells whether users who come here reach the application.
func (ex *exchange) appHealth() AppHealth {
	if ex.snap == nil {
		return AppHealth{Why: noRouting}
	}
	h := AppHealth{Region: ex.snap.router.cfg.Region}
	if h.Reachable = ex.g.app.look(ex.r.Context(), ex.snap.router.upstream); !h.Reachable {
		h.Why = "the local application takes no connections"
	}
	return h
}

// writeJSON answers with a document that must not be kept.
func writeJSON(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(doc) // the caller may have gone
}
