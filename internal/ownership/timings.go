package ownership

import "time"

// Timings are the protocol's durations. The defaults are DefaultTimings.
type Timings struct {
	ProbeInterval, ProbeTimeout time.Duration
	// DownAfter is how long probes must fail before a region counts as unreachable (R13).
	DownAfter time.Duration
	// UpAfter is how long a returning region must be reachable before it serves (R14).
	UpAfter time.Duration
	// BeatInterval is the time between beats (R3).
	BeatInterval time.Duration
	// RegionLease is how long one beat lets a region accept home writes (R3).
	RegionLease time.Duration
	// LeaderSession is the time to live of the leader's election session.
	LeaderSession time.Duration
	// PlannedLimit is how long a planned change may stay Closing before it is given up (R9), and
	// LossLimit how long a loss may before what has caught up is opened without the rest (R10).
	PlannedLimit, LossLimit time.Duration
}

// MaxDrift bounds how much two clocks' rates may differ: 1 %.
const MaxDrift = 0.01

// DefaultTimings suit regions whose round trips stay below 100 ms.
func DefaultTimings() Timings {
	return Timings{
		ProbeInterval: time.Second, ProbeTimeout: time.Second,
		DownAfter: 3 * time.Second, UpAfter: 10 * time.Second,
		BeatInterval: time.Second, RegionLease: 6 * time.Second,
		LeaderSession: 5 * time.Second,
		PlannedLimit:  10 * time.Second, LossLimit: 5 * time.Second,
	}
}

// FastTimings suit regions whose round trips stay below 30 ms.
func FastTimings() Timings {
	return Timings{
		ProbeInterval: 300 * time.Millisecond, ProbeTimeout: 300 * time.Millisecond,
		DownAfter: time.Second, UpAfter: 3 * time.Second,
		BeatInterval: 300 * time.Millisecond, RegionLease: 2500 * time.Millisecond,
		LeaderSession: 2 * time.Second,
		PlannedLimit:  5 * time.Second, LossLimit: 2500 * time.Millisecond,
	}
}
