package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"multiactive.dev/operator/internal/ownership"
	"multiactive.dev/operator/internal/routing"
)

// maxParameter bounds each parameter of a long poll; names in Kubernetes have at most 253 bytes.
const maxParameter = 253

// Handler returns the agent's HTTP interface: the long poll of the gateways (routing.Path),
// /healthz, and /v1/view for people. Serve it inside the region's cluster only: routing carries
// the services' peer keys.
func (a *Agent) Handler(source ConfigSource) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+routing.Path, func(w http.ResponseWriter, r *http.Request) { a.serveRouting(w, r, source) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /v1/view", a.serveView)
	return mux
}

// question is one long poll, parsed.
type question struct {
	namespace, name, version, gateway string
	// refused is a version that the gateway cannot use, for the reason.
	refused, reason string
	revision        int64
	busy            int
	// peers are the regions whose gateways this one takes requests from.
	peers []string
	// deferred is how many requests wait in the region, as FormatBacklogs has it.
	deferred string
	wait     time.Duration
}

func parseQuestion(q url.Values) (question, error) {
	if err := checkParameters(q); err != nil {
		return question{}, err
	}
	parsed := question{
		namespace: q.Get(routing.ParamNamespace), name: q.Get(routing.ParamName), version: q.Get(routing.ParamVersion),
		gateway: q.Get(routing.ParamGateway), refused: q.Get(routing.ParamRefused), reason: q.Get(routing.ParamReason), wait: routing.MaxWait,
		deferred: q.Get(routing.ParamDeferred),
	}
	if parsed.namespace == "" || parsed.name == "" {
		return question{}, fmt.Errorf("parameters namespace and name: both are required")
	}
	if s := q.Get(routing.ParamRevision); s != "" {
		revision, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return question{}, fmt.Errorf("parameter revision: %q is not a whole number", s)
		}
		parsed.revision = revision
	}
	if s := q.Get(routing.ParamBusy); s != "" {
		busy, err := strconv.Atoi(s)
		if err != nil || busy < 0 {
			return question{}, fmt.Errorf("parameter busy: %q is not a number of requests", s)
		}
		parsed.busy = busy
	}
	if s := q.Get(routing.ParamPeers); s != "" {
		parsed.peers = strings.Split(s, ",")
	}
	if s := q.Get(routing.ParamWait); s != "" {
		wait, err := time.ParseDuration(s)
		if err != nil || wait < 0 {
			return question{}, fmt.Errorf("parameter wait: %q is not a duration such as 1s", s)
		}
		parsed.wait = min(wait, routing.MaxWait)
	}
	return parsed, nil
}

// longer are the parameters that may have more than maxParameter bytes.
var longer = map[string]int{routing.ParamPeers: routing.MaxPeers, routing.ParamDeferred: routing.MaxBacklog}

// checkParameters bounds every parameter.
func checkParameters(q url.Values) error {
	for name, values := range q {
		if limit := max(longer[name], maxParameter); len(values) != 1 || len(values[0]) > limit {
			return fmt.Errorf("parameter %q: give it once, with at most %d bytes", name, limit)
		}
	}
	return nil
}

// serveRouting answers at once when there is a version that the gateway does not have, and with
// the lease alone otherwise: when it is extended after running short, or after the wait.
func (a *Agent) serveRouting(w http.ResponseWriter, r *http.Request, source ConfigSource) {
	arrived := a.config.Clock.Boottime()
	q, err := parseQuestion(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	renewed := a.leaseRenewed()
	current := source.Config(q.namespace, q.name)
	known := current.Found && a.noteAck(q, current)
	if q.wait > 0 && (current.Version == q.version || !current.Found) {
		timer := a.config.Clock.NewTimer(q.wait)
		defer timer.Stop()
		select {
		case <-current.Changed:
		case <-renewed:
		case <-timer.C():
		case <-r.Context().Done():
			return
		}
		current = source.Config(q.namespace, q.name)
		// The first to ask for a service gets the lease with the first routing, not an answer later.
		known = known || current.Found && a.noteAck(q, current)
	}
	if !current.Found {
		http.Error(w, fmt.Sprintf("service %s/%s has no routing in region %s; is its RegionalService there, "+
			"and does the coordination store answer?", q.namespace, q.name, a.config.Region), http.StatusNotFound)
		return
	}
	writeJSON(w, a.answer(q, &current, arrived, known))
}

// answer returns what a gateway is told now. The lease goes out only with routing made under the
// gate that granted it, and under the present view: when the publisher is late, gateways of a region
// that has returned must not combine the new lease with routing from before the loss, and those of a
// region that acknowledges a change of owners must not combine it with routing from before the change.
// It is noted before it goes out, and goes out only to gateways that are known, since the region
// acknowledges for all that may hold one (R8). Who cannot use the routing would not take the lease, and
// must not be waited for as long as it asks.
func (a *Agent) answer(q question, current *Published, arrived time.Duration, known bool) routing.Answer {
	answer := routing.Answer{Version: current.Version, Revision: a.config.RevisionBase + current.Revision}
	if current.Version != q.version {
		answer.Config = &current.Config
	}
	now := a.config.Clock.Boottime()
	answer.Held = now - arrived
	a.mu.Lock()
	defer a.mu.Unlock()
	gate := a.conf.Gates[a.config.Region]
	answer.LeaseEnded = a.refused != nil || !gate.Open
	present := current.Gates[a.config.Region] == gate && current.Config.Epoch == a.conf.View.Epoch
	if known && present && q.refused != current.Version && a.leaseUntil > now {
		answer.LeaseRemaining = a.leaseUntil - now
		a.acks.lease(serviceName{q.namespace, q.name}, q.gateway, answer.LeaseRemaining)
	}
	return answer
}

// noteAck books what a gateway acts on, and reports whether it did. Only a gateway that is booked is given
// a lease: the region could not tell otherwise when it holds none any more (R8).
func (a *Agent) noteAck(q question, current Published) bool {
	if q.gateway == "" {
		return false
	}
	ack := Ack{Namespace: q.namespace, Name: q.name, Gateway: q.gateway, Version: q.version, Revision: q.revision, Busy: q.busy, Peers: q.peers, Deferred: q.deferred}
	if q.version == current.Version {
		ack.Epoch = current.Config.Epoch
	}
	if q.refused == current.Version {
		ack.Refused = cmp.Or(routing.Refusal(q.reason), "it does not say why")
	}
	if !a.acks.note(ack) {
		a.config.Log.Info("Too many gateways; one gets no lease.", "namespace", q.namespace, "name", q.name, "gateway", q.gateway)
		return false
	}
	return true
}

// debugView is the answer of /v1/view.
type debugView struct {
	Region         string                  `json:"region"`
	Identity       string                  `json:"identity"`
	IsLeader       bool                    `json:"isLeader"`
	LeaseRemaining string                  `json:"leaseRemaining"`
	StoreReachable bool                    `json:"storeReachable"`
	StoreRefused   string                  `json:"storeRefused,omitempty"`
	Configuration  ownership.Configuration `json:"configuration"`
	Acks           []Ack                   `json:"acks"`
}

func (a *Agent) serveView(w http.ResponseWriter, _ *http.Request) {
	c, _ := a.Snapshot()
	reachable, refused := a.StoreReachable()
	writeJSON(w, debugView{
		Region: a.config.Region, Identity: a.Identity(), IsLeader: a.IsLeader(),
		LeaseRemaining: a.Lease().String(), StoreReachable: reachable, StoreRefused: errorText(refused),
		Configuration: withoutSecrets(c), Acks: a.Acks(),
	})
}

// withoutSecrets returns the configuration without the services' peer keys.
func withoutSecrets(c ownership.Configuration) ownership.Configuration {
	c.Services = maps.Clone(c.Services)
	for uid, s := range c.Services {
		s.PeerKey = nil
		c.Services[uid] = s
	}
	return c
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// An error here is the caller's connection: there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(value)
}
