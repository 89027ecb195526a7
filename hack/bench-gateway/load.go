package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// result is one measurement.
type result struct {
	perSecond float64
	p50, p99  time.Duration
	requests  int
	// cpu is the processor time of a request, allocations is how many a gateway makes for it; only at full speed.
	cpu         time.Duration
	allocations float64
	// busy is the share of the machine's processor time that was used meanwhile, by whomever.
	busy float64
}

// load makes requests over all connections for some time. With a rate, requests are sent at times that do not
// depend on the answers; without, the next one is sent when an answer is there.
func load(ctx context.Context, o *options, c *contender, keys []string, rate float64) (result, error) {
	if rate > 0 {
		before, err := machineTime()
		if err != nil {
			return result{}, err
		}
		took, err := paced(ctx, &pacing{Address: c.address, Connections: o.connections, Keys: keys, Rate: rate, Length: o.length})
		if err == nil && len(took) == 0 {
			err = errors.New("no request was answered")
		}
		if err != nil {
			return result{}, err
		}
		after, err := machineTime()
		r := summed(took, o.length)
		r.busy = after.busyShare(before)
		return r, err
	}
	conns, err := connect(ctx, c, o.connections)
	if err != nil {
		return result{}, err
	}
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	var wait sync.WaitGroup
	took := make([][]time.Duration, len(conns))
	errs := make([]error, len(conns))
	begin := time.Now()
	for i, conn := range conns {
		r := request(c.address, keys[i%len(keys)])
		wait.Go(func() { took[i], errs[i] = ask(conn, r, begin.Add(o.length)) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return result{}, err
	}
	return summed(slices.Concat(took...), time.Since(begin)), nil
}

// summed is what latencies come to.
func summed(all []time.Duration, elapsed time.Duration) result {
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[int(share*float64(len(all)-1))] }
	return result{requests: len(all), perSecond: float64(len(all)) / elapsed.Seconds(), p50: at(.5), p99: at(.99)}
}

// connect opens connections and makes one request over each, so that what comes first is not measured.
func connect(ctx context.Context, c *contender, n int) ([]net.Conn, error) {
	conns := make([]net.Conn, 0, n)
	buf := make([]byte, 8<<10)
	for range n {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	r := request(c.address, c.key)
	for _, conn := range conns {
		if _, err := conn.Write(r); err != nil {
			return conns, err
		}
		if _, err := readAnswer(conn, buf); err != nil {
			return conns, err
		}
	}
	return conns, nil
}

// ask sends requests over one connection until the end.
func ask(conn net.Conn, request []byte, end time.Time) ([]time.Duration, error) {
	took := make([]time.Duration, 0, 1<<14)
	buf := make([]byte, 8<<10)
	for began := time.Now(); began.Before(end); {
		if _, err := conn.Write(request); err != nil {
			return took, err
		}
		if _, err := readAnswer(conn, buf); err != nil {
			return took, err
		}
		now := time.Now()
		took, began = append(took, now.Sub(began)), now
	}
	return took, nil
}
