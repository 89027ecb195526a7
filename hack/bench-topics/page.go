package main

import (
	"bytes"
	"fmt"
	"time"

	"multiactive.dev/operator/hack/internal/report"
)

// Goals, as the design has them.
const (
	goalFirst  = time.Minute
	goalSteady = 5 * time.Second // of a processor, in an hour
)

// page is what was measured.
type page struct {
	options *options
	machine report.Machine
	figures figures
}

const head = `# What many topics cost

%[1]smake bench-topics%[1]s has measured this and written the section: edit %[1]shack/bench-topics%[1]s instead.

%[2]s

%[3]d topics of %[4]d partitions are declared, %[5]d in each of %[6]d services, the first before the others, in a world of the playground: three regions
with an API server and a manager each, a hub, and the built-in mirrors between all regions. Each Kafka is the embedded
one: three of Apache's with %[7]d topics each, their own and the copies, do not fit beside the rest. Steady state was
measured for %[8]s, with one topic and, %[9]s after everything was there, with all, and is extrapolated to an hour.

`

func (p *page) write(b *bytes.Buffer) {
	o, f := p.options, &p.figures
	fmt.Fprintf(b, head, "`", p.machine.Paragraph(), o.topics, o.partitions, o.classes, f.services, o.topics*len(regions), o.length, settleTime)
	b.WriteString("| goal | wanted | measured | |\n|---|---|---|---|\n")
	row(b, "from the declaration until every region has its topics", "at most "+goalFirst.String(), seconds(f.ready), f.ready <= goalFirst)
	row(b, "from the declaration until every link of them is configured as well", "at most "+goalFirst.String(), seconds(f.linked), f.linked <= goalFirst)
	added := p.hourly(f.all.member - f.one.member)
	row(b, "processor time in an hour that the other topics add to a member with one, in steady state", "at most "+goalSteady.String(), seconds(added), added <= goalSteady)
	fmt.Fprintf(b, "\n| from the declaration | |\n|---|---|\n| every copy is there | %s |\n| processor time of all processes until then | %s |\n",
		seconds(f.copied), seconds(f.work))
	for _, kind := range []string{kindHub, kindMembers, kindMirrors, kindAPI, kindCoordination, kindKafka} {
		fmt.Fprintf(b, "| … of %s | %s |\n", kind, seconds(f.kinds[kind]))
	}
	fmt.Fprintf(b, "\n| processor time in an hour | with one topic | with %d |\n|---|---|---|\n", o.topics)
	for _, r := range []struct {
		name     string
		one, all time.Duration
	}{
		{"a member", f.one.member, f.all.member}, {"the hub", f.one.hub, f.all.hub},
		{"the mirrors of a region, both", f.one.mirrors, f.all.mirrors},
	} {
		fmt.Fprintf(b, "| %s | %s | %s |\n", r.name, seconds(p.hourly(r.one)), seconds(p.hourly(r.all)))
	}
	fmt.Fprintf(b, "\nWith all topics a member has %.0f MB resident, with one %.0f; the mirrors of a region have %.0f MB.\n", f.all.memberMB, f.one.memberMB, f.all.mirrorsMB)
	b.WriteString(tail)
}

const tail = `
Of three regions each figure is that of the one that took most. A member's processor time has the region's agent in it.
`

func (p *page) hourly(d time.Duration) time.Duration {
	return time.Duration(float64(d) * float64(time.Hour) / float64(p.options.length))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func row(b *bytes.Buffer, what, wanted, measured string, met bool) {
	verdict := "met"
	if !met {
		verdict = "**missed**"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", what, wanted, measured, verdict)
}
