// Package peerca is a region's own authority for the certificates that its gateways show other regions'
// gateways: it makes authorities and certificates, and decides when the next ones are due.
//
// It reads no clock and no cluster. It must never put a private key into anything but Encode's result, and
// never let an authority sign before every other region has said that it trusts it, unless the one before
// is about to expire.
package peerca
