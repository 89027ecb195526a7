// Package ownca is an authority of the operator's own for certificates: those that a region's gateways show other
// regions' gateways, and that of the hub's webhook. It makes authorities and certificates, and decides when the next
// ones are due.
//
// It reads no clock and no cluster. It must never put a private key into anything but what is kept in a Secret, and
// never let an authority sign before everybody has said that they trust it, unless the one before is about to expire.
package ownca
