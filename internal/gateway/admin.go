package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"multiactive.dev/operator/internal/ownership"
)

// Explanation is the answer of /.multiactive/routing: who owns a key and why, for on-call.
type Explanation struct {
	Service string `json:"service"`
	Region  string `json:"region"`
	Version string `json:"version"`
	// Revision of the coordination store, and the epoch of its view.
	Revision int64 `json:"revision"`
	Epoch    int64 `json:"epoch"`
	// LeaseRemainingSeconds is how long this gateway may still accept home writes.
	LeaseRemainingSeconds float64 `json:"leaseRemainingSeconds"`
	// Slot of the normalised key, and the regions that may own it, most preferred first.
	Slot int      `json:"slot"`
	Rank []string `json:"rank"`
	Home string   `json:"home,omitempty"`
	// Owner is empty when nobody accepts home writes for the key now.
	Owner string `json:"owner,omitempty"`
	// Incomplete: the owner may lack what a lost region had accepted, and serves flows with
	// onHomeLoss Takeover alone.
	Incomplete bool `json:"incomplete,omitempty"`
	// Why there is no owner, or why it does not serve every flow.
	Reason Reason `json:"reason,omitempty"`
	// Summary says it all in one sentence.
	Summary string `json:"summary"`
	// Flaws of the configuration.
	Flaws []string `json:"flaws,omitempty"`
}

// AdminHandler serves /readyz, /healthz, /metrics, /.multiactive/routing, /.multiactive/affected and
// /.multiactive/affected/users. It is for the
// cluster's own network: it names regions and versions and asks for no credentials. /healthz is for
// liveness, and always good; /readyz needs the routing. Neither looks at the application: a gateway
// without it still refuses, explains, and sends any-region requests elsewhere.
func (g *Gateway) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", g.metrics.handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok") // the caller has gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if ready, why := g.Ready(); !ready {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok") // the caller has gone
	})
	mux.HandleFunc("GET "+OwnPrefix+"routing", g.serveRouting)
	mux.HandleFunc("GET "+OwnPrefix+"affected", g.serveAffected)
	mux.HandleFunc("GET "+OwnPrefix+"affected/users", g.serveCompensation)
	return mux
}

// serveRouting explains ?key=, normalised as the key named ?name= (by default the only one).
func (g *Gateway) serveRouting(w http.ResponseWriter, r *http.Request) {
	snap := g.state.load()
	if snap == nil {
		http.Error(w, noRouting, http.StatusServiceUnavailable)
		return
	}
	e, err := snap.router.Explain(r.URL.Query().Get("name"), r.URL.Query().Get("key"), g.leaseRemaining() > 0)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.Version, e.Revision, e.LeaseRemainingSeconds = snap.version, snap.revision, g.leaseRemaining().Seconds()
	writeJSON(w, http.StatusOK, e)
}

// Explain tells who owns a key and why. The key is normalised as the key of that name, without a name as the only one
// of the service; leased: the gateway's region holds its lease. An error says what is wrong with the key, which it does
// not repeat.
func (r *Router) Explain(name, value string, leased bool) (Explanation, error) {
	k, err := r.keyNamed(name)
	if err != nil {
		return Explanation{}, err
	}
	normalised, p := k.check(value, "query parameter key")
	if p != nil {
		return Explanation{}, errors.New(p.detail)
	}
	return r.explain(ownership.Slot(normalised), leased), nil
}

// keyNamed returns a declared key, and without a name the only one.
func (r *Router) keyNamed(name string) (*key, error) {
	if name == "" && len(r.cfg.Keys) == 1 {
		name = r.cfg.Keys[0].Name
	}
	if k := r.keys[name]; k != nil {
		return k, nil
	}
	names := make([]string, len(r.cfg.Keys))
	for i, k := range r.cfg.Keys {
		names[i] = k.Name
	}
	return nil, fmt.Errorf("name: %q is not a key of this service; its keys are %q", name, names)
}

// explain tells who owns a slot and why.
func (r *Router) explain(slot int, leased bool) Explanation {
	e := Explanation{
		Service: r.cfg.Namespace + "/" + r.cfg.Name, Region: r.cfg.Region, Epoch: r.cfg.Epoch,
		Slot: slot, Rank: r.orders.Order(slot), Flaws: r.warnings,
	}
	h := &r.holders[slot]
	if h.home != noRegion {
		e.Home = r.regions[h.home].Name
	}
	if why := r.unowned(h); why != "" {
		e.Reason = why
		e.Summary = "nobody accepts home writes for this key: " + r.describe(decision{reason: why}, r.about(why, h))
		return e
	}
	e.Owner = r.regions[h.owner].Name
	owner := r.title(int(h.owner))
	switch {
	case int(h.owner) != r.self:
		e.Summary = fmt.Sprintf("home requests go to region %s, which owns slot %d", owner, slot)
	case leased:
		e.Summary = fmt.Sprintf("home requests are served here: region %s owns slot %d and holds its lease", owner, slot)
	default:
		e.Reason = ReasonFenced
		e.Summary = fmt.Sprintf("home requests are refused: region %s owns slot %d, and this gateway holds no lease", owner, slot)
	}
	if !h.complete {
		why, lost := r.whyHome(h)
		e.Incomplete = true
		e.Reason = cmp.Or(e.Reason, why)
		e.Summary += "; only flows with onHomeLoss Takeover are served: " + r.describe(decision{reason: why}, lost)
	}
	return e
}

// unowned says why nobody accepts home writes for a slot, "" if somebody does.
func (r *Router) unowned(h *holder) Reason {
	switch {
	case r.cfg.Closed:
		return ReasonClosed
	case h.closing:
		return ReasonClosing
	case h.owner == noRegion:
		why, _ := r.whyHome(h)
		return why
	}
	return ""
}
