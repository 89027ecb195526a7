// Package peercerts keeps a region's authority for the certificates that its gateways show those of other
// regions, and the certificates. The authority's key stands in one Secret of the operator's namespace and leaves
// the region's cluster never; the certificates stand in one Secret of each namespace with services that want
// them.
//
// It must never put key material into a log, an event or the coordination store, nor write a Secret that it
// did not make. When what is due is internal/ownca's to say.
package peercerts
