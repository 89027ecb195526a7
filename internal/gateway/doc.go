// Package gateway is the request path of one service in one region: it finds the flow and the
// partition key of a request, and sends it to the local application, once to the gateway of the
// region that owns the key's slot, or refuses it with a problem document that says why.
//
// Every refusal is application/problem+json, with a reason of this package. net/http itself answers,
// in plain text and before the gateway sees anything, what is no HTTP request, and headers of several
// times the size that the gateway takes.
//
// Who asks how it is gets an answer of their own: the kubelet /healthz (the process lives) and /readyz
// (it has its routing) of AdminHandler; who sends users to a region /.multiactive/healthz (the agreed
// view lets the region serve); the other regions' agents /.multiactive/healthz/app (the application
// takes connections). Only the last looks at the application, and restarts nothing.
//
// It must never accept a home write without the region's lease (R11), act on a configuration
// older than one it has had (R2), forward a request twice, trust a Multiactive-* header that
// comes from outside, dial an address that its configuration does not name, or log a key.
//
// It imports neither Kubernetes nor etcd, and logs through log/slog instead of logr, to stay
// small: one runs beside every service in every region.
package gateway
