package world

import (
	"math"
	"time"
)

// Clock is one machine's clock, which also counts the time for which its processes are paused
// (CLOCK_BOOTTIME). It starts anywhere and runs at its own rate.
type Clock struct {
	w      *World
	offset time.Duration
	// rate of the clock against true time. The rates of a world's clocks are in [1, 1+maxDrift), so
	// that no two differ by more than maxDrift.
	rate float64
}

// NewClock returns a clock whose rate is within maxDrift of every other's.
func (w *World) NewClock(maxDrift float64) *Clock {
	share := w.Float64()
	if w.Extreme {
		share = math.Round(share) * almostAll
	}
	return &Clock{w: w, offset: w.Between(time.Hour, 1000*time.Hour), rate: 1 + maxDrift*share}
}

// Now returns what the clock shows.
func (c *Clock) Now() time.Duration {
	return c.offset + time.Duration(float64(c.w.now)*c.rate)
}

// TrueTime returns the true time at which the clock shows local.
func (c *Clock) TrueTime(local time.Duration) time.Duration {
	return time.Duration(float64(local-c.offset) / c.rate)
}

// almostAll of the drift is what the fastest clock has, which leaves room for rounding.
const almostAll = 0.9999

// Process is one process on a machine, from its start to its end. A restarted program is another
// Process.
type Process struct {
	// Name for the trace.
	Name string
	// Node is where it is in the network.
	Node int
	// Clock of its machine.
	Clock *Clock

	w      *World
	dead   bool
	pauses int
	// Work that came while the process was paused.
	timers, messages []func()
}

// Start starts a process.
func (w *World) Start(name string, node int, clock *Clock) *Process {
	return &Process{Name: name, Node: node, Clock: clock, w: w}
}

// Alive reports whether the process has not ended; it may be paused.
func (p *Process) Alive() bool { return !p.dead }

// Running reports whether the process is neither ended nor paused.
func (p *Process) Running() bool { return !p.dead && p.pauses == 0 }

// After does something after a duration on the process's clock, or as soon as the process runs
// again. A process that has ended does nothing.
func (p *Process) After(d time.Duration, do func()) {
	p.w.After(time.Duration(float64(d)/p.Clock.rate), func() {
		switch {
		case p.dead:
		case p.pauses > 0:
			p.timers = append(p.timers, do)
		default:
			do()
		}
	})
}

// Receive does something now, or as soon as the process runs again.
func (p *Process) Receive(do func()) {
	switch {
	case p.dead:
	case p.pauses > 0:
		p.messages = append(p.messages, do)
	default:
		do()
	}
}

// Pause stops the process until Resume is called as often as Pause was.
func (p *Process) Pause() { p.pauses++ }

// Resume lets the process go on. What has come meanwhile happens at once: timers in their order and
// messages in theirs, and the two mixed at random.
func (p *Process) Resume() {
	if p.pauses--; p.pauses > 0 {
		return
	}
	timers, messages := p.timers, p.messages
	p.timers, p.messages = nil, nil
	for len(timers)+len(messages) > 0 && !p.dead {
		from := &messages
		if len(messages) == 0 || len(timers) > 0 && p.w.Chance(0.5) {
			from = &timers
		}
		do := (*from)[0]
		*from = (*from)[1:]
		do()
	}
}

// Kill ends the process.
func (p *Process) Kill() { p.dead, p.timers, p.messages = true, nil, nil }
