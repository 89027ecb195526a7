// Package ext stands in for a module of Traefik's repository that cannot be had as a module: it adds nothing to the
// configuration of a Traefik.
package ext

// HTTP adds nothing.
type HTTP struct{}

// Router adds nothing.
type Router struct{}
