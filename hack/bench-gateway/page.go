package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

	"multiactive.dev/operator/hack/internal/report"
)

// page is what was measured.
type page struct {
	options *options
	machine report.Machine
	missing []string
	figures []figures
	// rate and lightRate are those of the measurements of latency, in requests per second.
	rate, lightRate float64

	hops  []hopFigures
	views views
}

// Goals, as the design has them.
const (
	goalNginx   = 1.0
	goalHAProxy = 0.7
	goalP99     = time.Millisecond
	goalIdleMB  = 150
	// goalAllocations are those of a request that the local application answers.
	goalAllocations = 15
	goalViews       = 200 * time.Millisecond
	// lightName is lightShare in words.
	lightName = "eighth"
)

func (p *page) figureOf(name string) *figures {
	if i := slices.IndexFunc(p.figures, func(f figures) bool { return f.name == name }); i >= 0 {
		return &p.figures[i]
	}
	return nil
}

// save writes its section of a page.
func (p *page) save(name string) error {
	var text bytes.Buffer
	if _, err := p.WriteTo(&text); err != nil {
		return err
	}
	return report.Save(name, "bench-gateway", text.Bytes())
}

// WriteTo implements io.WriterTo.
func (p *page) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	p.head(&b)
	p.goals(&b)
	p.tables(&b)
	b.WriteString(tail)
	p.forwarded(&b)
	p.changes(&b)
	return b.WriteTo(w)
}

func (p *page) head(b *bytes.Buffer) {
	o := p.options
	fmt.Fprintf(b, `# How fast the gateway is

`+"`make bench`"+` has measured this and written the page: edit `+"`hack/bench-gateway`"+` instead.

%s
Rounds go through all contenders in turn, so ratios say more than absolute values. Load, upstreams and
contenders share the processors.

Users have %d connections that stay open and send GET requests with a phone number in a header; each answer has
%d bytes. Every contender hashes the phone number with XXH64 to one of 1024 slots, looks up the slot's region, and sends
the request to that region's upstream, with the same additional headers. It is checked for %d numbers that all send them to
the same upstream; those that are measured are at home here. For the gateway each request is a home write: it has its flow matched, its
key read and normalised, is admitted under the lease, and counted. Each value is the median of %d rounds of %s.

`, p.machine.Paragraph(), o.connections, bodyBytes, keysChecked, o.rounds, o.length)
	for _, f := range p.figures {
		if f.version != "" {
			fmt.Fprintf(b, "- %s: %s\n", f.name, f.version)
		}
	}
	for _, what := range p.missing {
		fmt.Fprintf(b, "- **not measured**: %s; on Debian or Ubuntu `%s`\n", what, install)
	}
	b.WriteString("\n")
}

// goals writes what was to be reached, and whether it was.
func (p *page) goals(b *bytes.Buffer) {
	b.WriteString("| goal | wanted | measured | |\n|---|---|---|---|\n")
	row := func(what, wanted, measured string, met bool) {
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", what, wanted, measured, verdict)
	}
	own, direct := p.figureOf(nameGateway), p.figureOf(nameDirect)
	for _, goal := range []struct {
		name  string
		least float64
	}{{nameNginx, goalNginx}, {nameHAProxy, goalHAProxy}} {
		what := "requests per second, of those of " + goal.name
		other := p.figureOf(goal.name)
		if other == nil {
			fmt.Fprintf(b, "| %s | at least %.1f | %s is not installed | not measured |\n", what, goal.least, goal.name)
			continue
		}
		ratio := own.perSecond() / other.perSecond()
		row(what, fmt.Sprintf("at least %.1f", goal.least), fmt.Sprintf("%.2f", ratio), ratio >= goal.least)
	}
	p.latencyGoal(b, row, fmt.Sprintf("p99 that it adds at %.0f requests per second, half of its own most", p.rate), own.half, direct.half)
	if nginx := p.figureOf(nameNginx); nginx != nil && nginx.p99() > direct.p99() {
		ratio := float64(own.p99()-direct.p99()) / float64(nginx.p99()-direct.p99())
		row("the same, of what nginx with Lua adds there", "at most 1.0", fmt.Sprintf("%.2f", ratio), ratio <= 1)
	}
	p.latencyGoal(b, row, fmt.Sprintf("p99 that it adds at %.0f requests per second, an %s of its own most", p.lightRate, lightName), own.light, direct.light)
	row("allocations of a request, of all that its process makes meanwhile", fmt.Sprintf("at most %d", goalAllocations),
		fmt.Sprintf("%.1f", own.allocations()), own.allocations() <= goalAllocations)
	row(fmt.Sprintf("memory with %d idle connections", p.options.idle), fmt.Sprintf("at most %d MB", goalIdleMB),
		fmt.Sprintf("%.0f MB", own.idleMB), own.idleMB <= goalIdleMB)
	row(fmt.Sprintf("from a change of the routing to the last of %d gateways that acts on it, p99", viewGateways),
		"at most "+goalViews.String(), round(p.views.share(.99)), p.views.share(.99) <= goalViews)
	b.WriteString("\n")
}

// latencyGoal writes the goal of what is added to the rounds without any proxy.
func (*page) latencyGoal(b *bytes.Buffer, row func(what, wanted, measured string, met bool), what string, own, direct []result) {
	if least := p99(direct); least > goalP99 {
		fmt.Fprintf(b, "| %s | at most %s | not to be told: it is %s without any proxy, on this machine | not measured |\n", what, goalP99, round(least))
		return
	}
	added := p99(own) - p99(direct)
	row(what, "at most "+goalP99.String(), round(added), added <= goalP99)
}

func round(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// tables writes what all contenders did.
func (p *page) tables(b *bytes.Buffer) {
	own, direct := p.figureOf(nameGateway), p.figureOf(nameDirect)
	fmt.Fprintf(b, "| | requests per second (least to most) | the gateway to this | processor time of a request, at full speed | p50 and p99 at %.0f requests per second | added to no proxy | p50 and p99 at %.0f | added to no proxy | memory, %d idle connections |\n|---|---|---|---|---|---|---|---|---|\n",
		p.rate, p.lightRate, p.options.idle)
	for i := range p.figures {
		f := &p.figures[i]
		least := slices.MinFunc(f.full, func(x, y result) int { return int(x.perSecond - y.perSecond) })
		most := slices.MaxFunc(f.full, func(x, y result) int { return int(x.perSecond - y.perSecond) })
		added, addedLight, memory, cpu := "", "", "", ""
		if f != direct {
			added, addedLight = addedTo(direct.half, f.half), addedTo(direct.light, f.light)
			memory = fmt.Sprintf("%.0f MB", f.idleMB)
			cpu = fmt.Sprintf("%.1f µs", float64(f.cpu())/float64(time.Microsecond))
		}
		fmt.Fprintf(b, "| %s | %.0f (%.0f to %.0f) | %.2f | %s | %s, %s | %s | %s, %s | %s | %s |\n", f.name, f.perSecond(), least.perSecond, most.perSecond,
			own.perSecond()/f.perSecond(), cpu, round(f.p50()), round(f.p99()), added, round(p50(f.light)), round(p99(f.light)), addedLight, memory)
	}
	fmt.Fprintf(b, `
The processors were %.0f %% busy at %.0f requests per second through the gateway, %.0f %% at %.0f: with the gateway, the load, the
upstreams, and whatever else the machine did.
`, 100*busy(own.half), p.rate, 100*busy(own.light), p.lightRate)
}

// addedTo is what a contender's p50 and p99 are above those without any proxy.
func addedTo(direct, rounds []result) string {
	return round(p50(rounds)-p50(direct)) + ", " + round(p99(rounds)-p99(direct))
}

const tail = `
Latency is measured at a fixed rate that does not wait for answers, by a process of its own with one thread; a request that
could not be sent in time counts from when it was due. Memory is the proportional set size of all processes of a contender, after each connection has made one
request and was idle for 5 s. How the fast path works, and what it leaves to net/http, is in
[its decision](adr/0013-a-path-of-its-own-for-plain-requests.md).
`

// forwarded writes what it costs to be at home in another region.
func (p *page) forwarded(b *bytes.Buffer) {
	b.WriteString(`
## Requests that are forwarded

Users are at home in the other region: the gateway here forwards each request to the gateway there, and that to its upstream.
The latency is measured at half of what goes through each way at full speed, without the network that is between two regions.

| between the regions | requests per second | processor time of a request, of both gateways, at full speed | at | p50 and p99 | added to no proxy at that rate |
|---|---|---|---|---|---|
`)
	for i := range p.hops {
		f := &p.hops[i]
		of := func(get func(result) time.Duration) time.Duration { return median(f.direct, get) }
		p50, p99 := of(func(r result) time.Duration { return r.p50 }), of(func(r result) time.Duration { return r.p99 })
		fmt.Fprintf(b, "| %s | %.0f | %.1f µs | %.0f per second | %s, %s | %s, %s |\n", f.name, f.perSecond(),
			float64(f.cpu())/float64(time.Microsecond), f.rate, round(f.p50()), round(f.p99()), round(f.p50()-p50), round(f.p99()-p99))
	}
}

// changes writes how soon gateways act on another view.
func (p *page) changes(b *bytes.Buffer) {
	fmt.Fprintf(b, `
## Changes of owners

%d gateways, each a process, ask a region's agent, which runs on a coordination store of its own. Their routing is changed
%d times, one change %s after all act on the one before. From the change at the agent until the last gateway admits nothing
under the routing from before it takes %s (median), %s (p99) and %s (the longest).
`, viewGateways, len(p.views), viewPause, round(p.views.share(.5)), round(p.views.share(.99)), round(p.views.share(1)))
}
