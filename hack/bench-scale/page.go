package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/hack/internal/report"
)

// Goals, for a thousand services.
const (
	goalServices = 1000
	goalReady    = 90 * time.Second
	goalMB       = 400.0
	goalLater    = time.Second // than with the fewest services
)

// page is what was measured.
type page struct {
	options *options
	machine report.Machine
	figures []figures
	// ended is why there are no figures of more services, if there should be.
	ended error
}

const head = `# What many services cost

%[1]smake bench-scale%[1]s has measured this and written the section: edit %[1]shack/bench-scale%[1]s instead.

%[2]s

Each number of services has a world of the playground of its own: three regions with an API server and a manager each, and a hub.
A service has a key, a flow whose owner is taken over, and one gateway in every region; it refers to an application that others deploy.
Gateways are long polls in this command, and the Pods of their Deployments are ready once they have routing, which costs three
writes for each. Services are declared %[3]d at a time. Everything shares the processors with four API servers and seven etcds, which
do most of the work; the API servers' GOGC is %[4]d. Steady state was measured for %[5]s, once the operator had written nothing for %[6]s.

`

func (p *page) write(b *bytes.Buffer) {
	fmt.Fprintf(b, head, "`", p.machine.Paragraph(), creators, gcPercent, p.options.length, calm)
	fewest, most := &p.figures[0], &p.figures[len(p.figures)-1]
	p.goals(b, fewest, most)
	p.table(b)
	if p.ended != nil {
		fmt.Fprintf(b, "\n**Not all was measured:** %v\n", p.ended)
	}
	p.writes(b)
}

// writes has a column for each number of services, and a row for what was written for one.
func (p *page) writes(b *bytes.Buffer) {
	b.WriteString("\nThe operator's writes for a service, until it is Ready in three regions and everything is calm:\n\n| services |")
	kinds := map[string]bool{}
	for i := range p.figures {
		fmt.Fprintf(b, " %d |", p.figures[i].services)
		for what, n := range p.figures[i].writes {
			if float64(n)/float64(p.figures[i].services) >= 0.005 {
				kinds[what] = true
			}
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(p.figures)) + "\n")
	for _, what := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(b, "| %s |", short(what))
		for i := range p.figures {
			fmt.Fprintf(b, " %s |", told(p.figures[i].calmed(), "%.2f", float64(p.figures[i].writes[what])/float64(p.figures[i].services)))
		}
		b.WriteString("\n")
	}
}

// told is a figure, unless it was not measured.
func told(measured bool, format string, value any) string {
	if !measured {
		return "not measured"
	}
	return fmt.Sprintf(format, value)
}

// goals are judged by the most services, as far as there are enough.
func (p *page) goals(b *bytes.Buffer, fewest, most *figures) {
	b.WriteString("| goal | wanted | measured | |\n|---|---|---|---|\n")
	what := func(text string) string { return fmt.Sprintf("%s, with %d services", text, most.services) }
	if most.services >= goalServices {
		row(b, what("from the first declaration until all are Ready"), "at most "+goalReady.String(), seconds(most.ready), most.ready <= goalReady)
	}
	if !most.steadied() {
		return
	}
	others := 0
	for w, n := range most.steadyWrites {
		if !strings.Contains(w, " leases.") {
			others += n
		}
	}
	row(b, what("writes in steady state but of leases"), "0", fmt.Sprint(others), others == 0)
	row(b, what("resident memory of a manager"), fmt.Sprintf("at most %.0f MB", goalMB), fmt.Sprintf("%.0f MB", max(most.hubMB, most.memberMB)), max(most.hubMB, most.memberMB) <= goalMB)
	if fewest != most && most.routed > 0 {
		later := most.routed - fewest.routed
		row(b, what(fmt.Sprintf("the loss of a region is routed later than with %d", fewest.services)), "by at most "+goalLater.String(), seconds(later), later <= goalLater)
	}
}

// table has a column for each number of services.
func (p *page) table(b *bytes.Buffer) {
	b.WriteString("\n| services |")
	for i := range p.figures {
		fmt.Fprintf(b, " %d |", p.figures[i].services)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(p.figures)) + "\n")
	line := func(what string, value func(f *figures) string) {
		fmt.Fprintf(b, "| %s |", what)
		for i := range p.figures {
			fmt.Fprintf(b, " %s |", value(&p.figures[i]))
		}
		b.WriteString("\n")
	}
	line("all are Ready after", func(f *figures) string { return seconds(f.ready) })
	line("processor time of a service until then", func(f *figures) string { return f.each(f.total()) })
	for _, kind := range kinds {
		line("… of the "+kind, func(f *figures) string { return f.each(f.work[kind]) })
	}
	line("the operator's writes for a service", func(f *figures) string {
		return told(f.calmed(), "%.1f", float64(sum(f.writes))/float64(f.services))
	})
	line("passes of controllers for a service", func(f *figures) string {
		total := 0.0
		for _, n := range f.passes {
			total += n
		}
		return told(f.calmed(), "%.1f", total/float64(f.services))
	})
	minute := float64(time.Minute) / float64(p.options.length)
	line("steady state: writes in a minute, of leases", func(f *figures) string {
		return told(f.steadied(), "%.0f", float64(sum(f.steadyWrites))*minute)
	})
	line("… processor time in a minute, of the hub", func(f *figures) string { return told(f.steadied(), "%.1f s", f.steady[kindHub].Seconds()*minute) })
	line("… of a member", func(f *figures) string {
		return told(f.steadied(), "%.1f s", f.steady[kindMembers].Seconds()/3*minute)
	})
	line("… resident memory of the hub", func(f *figures) string { return told(f.steadied(), "%.0f MB", f.hubMB) })
	line("… of a member", func(f *figures) string { return told(f.steadied(), "%.0f MB", f.memberMB) })
	if !p.options.lose {
		return
	}
	line("a region is killed: the last gateway acts on it after", func(f *figures) string { return told(f.routed > 0, "%.1f s", f.routed.Seconds()) })
	line("it is back: it owns its users again, and every gateway acts on it, after", func(f *figures) string {
		return told(f.back > 0, "%.1f s", f.back.Seconds())
	})
}

// total is the processor time of all that is no simulation.
func (f *figures) total() (total time.Duration) {
	for kind, took := range f.work {
		if kind != kindSimulation {
			total += took
		}
	}
	return total
}

func (f *figures) each(d time.Duration) string {
	return fmt.Sprintf("%.0f ms", float64(d.Milliseconds())/float64(f.services))
}

// short leaves out what is the same for all accounts, and the status of an answer that is as it should be.
func short(what string) string {
	what = strings.ReplaceAll(what, "system:serviceaccount:multiactive-system:", "")
	return strings.TrimSuffix(strings.TrimSuffix(what, " 200"), " 201")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func row(b *bytes.Buffer, what, wanted, measured string, met bool) {
	verdict := "met"
	if !met {
		verdict = "**missed**"
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |\n", what, wanted, measured, verdict)
}
