// Package agent is one region's part in the agreement about regions: it beats and holds the
// region's lease (R3), probes the other regions and reports what it sees (R13), leads when it is
// elected, and hands the region's gateways their routing with the lease time that remains (R11).
//
// It decides nothing itself: internal/health decides, internal/coordination writes under guard. It
// must never extend a lease on anything but its own committed beat, and never take a wall clock
// for a duration.
package agent
