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
	// cpu is the processor time of a request; only at full speed.
	cpu time.Duration
}

// load makes requests over all connections for some time. With a rate, requests are sent at times that do not
// depend on the answers; without, the next one is sent when an answer is there.
func load(ctx context.Context, o *options, c *contender, keys []string, rate float64) (result, error) {
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
	end := begin.Add(o.length)
	for i, conn := range conns {
		p := &pacer{end: end}
		if rate > 0 {
			p.every = time.Duration(float64(len(conns)) / rate * float64(time.Second))
			p.next = begin.Add(p.every * time.Duration(i) / time.Duration(len(conns)))
		}
		r := request(c.address, keys[i%len(keys)])
		wait.Go(func() { took[i], errs[i] = ask(conn, r, p) })
	}
	wait.Wait()
	elapsed := time.Since(begin)
	all := slices.Concat(took...)
	if err := errors.Join(errs...); err != nil {
		return result{}, err
	}
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[int(share*float64(len(all)-1))] }
	return result{requests: len(all), perSecond: float64(len(all)) / elapsed.Seconds(), p50: at(.5), p99: at(.99)}, nil
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

// pacer says when the next request is due.
type pacer struct {
	end, next time.Time
	// every is the time between two requests of one connection; 0: as soon as it can.
	every time.Duration
}

// turn waits for the next request's time. It returns when that began, or false at the end. A request that
// could not be sent in time, because the one before was not answered, began when it was due.
func (p *pacer) turn() (time.Time, bool) {
	now := time.Now()
	if p.every == 0 {
		return now, now.Before(p.end)
	}
	due := p.next
	p.next = due.Add(p.every)
	if due.After(p.end) {
		return due, false
	}
	if wait := due.Sub(now); wait > 0 {
		time.Sleep(wait)
		return time.Now(), true
	}
	return due, true
}

// ask sends requests over one connection until the end.
func ask(conn net.Conn, request []byte, p *pacer) ([]time.Duration, error) {
	took := make([]time.Duration, 0, 1<<14)
	buf := make([]byte, 8<<10)
	for {
		began, more := p.turn()
		if !more {
			return took, nil
		}
		if _, err := conn.Write(request); err != nil {
			return took, err
		}
		if _, err := readAnswer(conn, buf); err != nil {
			return took, err
		}
		took = append(took, time.Since(began))
	}
}
