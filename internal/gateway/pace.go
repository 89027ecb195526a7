package gateway

import (
	"os"
	"time"
)

// pace is how long a client may be waited for: idle at a time, and in all no longer than what it has sent or
// taken takes at the least rate, and idle besides. What the gateway waits for others does not count.
type pace struct {
	clock Clock
	// idle: 0 is for ever.
	idle time.Duration
	// rate in bytes per second; 0 or less: any.
	rate int64

	bytes  int64
	waited time.Duration
}

// left is how long the next wait may last. The error is that of a connection whose time is over.
func (p *pace) left() (time.Duration, error) {
	if p.idle <= 0 || p.rate <= 0 {
		return p.idle, nil
	}
	left := p.idle + time.Duration(float64(p.bytes)/float64(p.rate)*float64(time.Second)) - p.waited
	if left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return min(left, p.idle), nil
}

// begin starts a wait, and returns what ends it.
func (p *pace) begin() func(n int) {
	if p.idle <= 0 || p.rate <= 0 {
		return func(int) {}
	}
	since := p.clock.Now()
	return func(n int) {
		p.bytes += int64(n)
		p.waited += p.clock.Now().Sub(since)
	}
}
