// Package peertls is how the gateways of a service's regions know each other by certificates: the name
// that a certificate carries, and how one is judged.
//
// It is pure: certificates and times in, verdicts out. It must never put key material into an error,
// and never accept a certificate by anything but its name and the authorities of the region that it names.
package peertls
