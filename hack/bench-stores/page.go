package main

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"multiactive.dev/operator/hack/internal/report"
	"multiactive.dev/operator/internal/port/store/mysql/mysqltest"
)

// page is what was measured.
type page struct {
	options *options
	machine report.Machine
	soak    mysqltest.Result
	beat    struct{ took, here, there time.Duration }
	alone   []time.Duration
	busy    []time.Duration
	guarded atomic.Int64
	// closed is for how long nobody could write to a slot that was handed back.
	closed []time.Duration
	// watched is which part of a processor it takes to keep all stores.
	watched float64
	digest  struct {
		chosen, given time.Duration
		parts         int
	}
}

// Goals, as the design has them.
const (
	goalLag    = 2 * time.Second
	goalFence  = 100 * time.Millisecond
	goalDigest = 30 * time.Second
	goalClosed = 3 * time.Second
	goalWatch  = 0.01
)

func (p *page) write(b *bytes.Buffer) {
	o := p.options
	fmt.Fprintf(b, `# How fast stores are

`+"`make bench-stores`"+` has measured this and written the section: edit `+"`hack/bench-stores`"+` instead.

%s
Three servers of MariaDB in a mesh, the operator's side and the load share the processors. There is no network between them.

| goal | wanted | measured | |
|---|---|---|---|
`, p.machine.Paragraph())
	goal(b, "age of the newest canary that has arrived, p99", goalLag, mysqltest.Quantile(p.soak.Quiet, 0.99))
	goal(b, "the same, between the servers that run, while another is killed and comes back, p99", goalLag, mysqltest.Quantile(p.soak.Killing, 0.99))
	goal(b, "fence takes effect, nobody writes, p99", goalFence, mysqltest.Quantile(p.alone, 0.99))
	goal(b, fmt.Sprintf("digests of %d rows", o.rows), goalDigest, p.digest.chosen)
	if len(p.closed) > 0 {
		goal(b, fmt.Sprintf("nobody can write to a slot while it is handed back, links caught up, the longest of %d", len(p.closed)), goalClosed, mysqltest.Quantile(p.closed, 1))
	}
	fmt.Fprintf(b, "| %d stores in %d regions kept, of a processor | at most %.1f %% | %.2f %% | %s |\n", stores, len(regions), 100*goalWatch, 100*p.watched,
		verdict(p.watched <= goalWatch))
	fmt.Fprintf(b, `
%d rows a second are written in all regions together, for %s and then while %d servers are killed (SIGKILL), one at a time,
and started again 2 s later. %d rows were acknowledged, %d refused because their server was away. All servers had the same rows
%s after the last one, none of those that were acknowledged was missing, and links went on by themselves.

| | p50 | p99 | longest |
|---|---|---|---|
`, o.rate, o.quiet, o.kills, p.soak.Acknowledged, p.soak.Refused, round(p.soak.Settled))
	row(b, "age of the newest canary, one is written each second", p.soak.Quiet)
	row(b, "the same, from the first kill on", p.soak.Killing)
	row(b, "from a server's answering again until every link is within 2 s", p.soak.Recoveries)
	row(b, fmt.Sprintf("%d sets of slots taken away or given back, nobody writes", sets), p.alone)
	row(b, fmt.Sprintf("the same, while %d connections write in guarded transactions (%d were let)", writers, p.guarded.Load()), p.busy)
	if len(p.closed) > 0 {
		row(b, "nobody can write to a slot while it is handed back, in a world of three regions", p.closed)
	}
	fmt.Fprintf(b, `
A beat (write a canary, read those of others, now and then delete old ones) takes %s; %s of the operator's processor time and
%s of the server's. Stores are kept by canaries, looks, fences of a service and leases, in this process, for %s, each on three servers of its own.
Digests of %d rows in %d parts take %s where the parts are chosen, %s where they are given.
`, round(p.beat.took), round(p.beat.here), round(p.beat.there), o.watch, o.rows, p.digest.parts, round(p.digest.chosen), round(p.digest.given))
}

func goal(b *bytes.Buffer, what string, wanted, measured time.Duration) {
	fmt.Fprintf(b, "| %s | at most %s | %s | %s |\n", what, round(wanted), round(measured), verdict(measured <= wanted))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

func row(b *bytes.Buffer, what string, all []time.Duration) {
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", what, round(mysqltest.Quantile(all, 0.5)), round(mysqltest.Quantile(all, 0.99)),
		round(mysqltest.Quantile(all, 1)))
}

// round keeps three digits or so.
func round(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= 100*time.Millisecond:
		return d.Round(time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}
