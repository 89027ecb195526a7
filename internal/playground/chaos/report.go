package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
	"multiactive.dev/operator/internal/playground/chaos/audit"
	"multiactive.dev/operator/internal/playground/chaos/check"
	"multiactive.dev/operator/internal/playground/chaos/history"
	"multiactive.dev/operator/internal/playground/chaos/writers"
)

// shown is how many violations of a run are printed; all are in its file.
const shown = 12

// aftermath is how long after a fault its effects are still looked for.
const aftermath = 4 * time.Second

// total adds up the runs.
type total struct {
	runs, broken, acknowledged, accepted, handovers, unshipped int
	accounts, logins, edits, transfers, deferred               int
	gentle                                                     map[Kind]*refusals
	violations                                                 []string
	brokenRuns                                                 []int
}

// refusals counts the writes that were asked for during gentle faults, and those that were not acknowledged.
type refusals struct{ asked, refused, byService, unanswered int }

// report prints what a run came to, adds it up, and keeps the history of one that is broken.
func (c *chaos) report(s *storm, n int, h *history.History, v check.Verdict, lives *acts.History, happened []happening) error {
	if lives != nil {
		c.lives(lives, &v)
	}
	t := &c.total
	t.runs++
	t.acknowledged += v.Acknowledged
	t.accepted += v.Accepted
	t.handovers += v.Handovers
	t.unshipped += v.Unshipped
	if t.gentle == nil {
		t.gentle = map[Kind]*refusals{}
	}
	c.gentleRefusals(h, happened)
	c.console.Line("%d of %d writes acknowledged, to %d keys; %d changes of owners between writes; unshipped with a lost region: %d; not answered as accepted: %d too late, %d fenced, %d after a stall",
		v.Acknowledged, len(h.Ops), v.Keys, v.Handovers, v.Unshipped, v.TooLate, v.Fenced, v.Stalled)
	if len(v.Violations) == 0 {
		c.console.Verdict(true, fmt.Sprintf("run %d", n), "one owner at a time, nothing acknowledged is lost")
		return nil
	}
	t.broken++
	t.brokenRuns = append(t.brokenRuns, n)
	for _, text := range v.Violations {
		t.violations = append(t.violations, fmt.Sprintf("run %d: %s", n, text))
	}
	c.console.Verdict(false, fmt.Sprintf("run %d", n), fmt.Sprintf("%d violations", len(v.Violations)))
	for _, text := range v.Violations[:min(shown, len(v.Violations))] {
		c.console.Line("  %s", text)
	}
	file := filepath.Join(s.dir, fmt.Sprintf("history-%d.json", n))
	content, err := json.Marshal(struct {
		*history.History
		Users *acts.History `json:"users,omitempty"`
	}{h, lives})
	if err != nil {
		return err
	}
	c.console.Line("the whole history: %s", file)
	return os.WriteFile(file, content, 0o600)
}

// lives judges what users of the example did. What is broken is shown with what happened to the account.
func (c *chaos) lives(h *acts.History, v *check.Verdict) {
	judged := audit.Judge(h)
	t := &c.total
	t.accounts += judged.Accounts
	t.logins += judged.Logins
	t.edits += judged.Edits
	t.transfers += judged.Transfers
	t.deferred += judged.Deferred
	c.console.Line("users: %d accounts, %d logins, %d new passwords and profiles, %d transfers, %d deferred ones; the oldest that anybody was told was %.1fs old, and %d balances below zero",
		judged.Accounts, judged.Logins, judged.Edits, judged.Transfers, judged.Deferred, judged.Oldest.Seconds(), judged.Low)
	for _, one := range judged.Violations {
		v.Violations = append(v.Violations, one.String())
	}
	if len(judged.Violations) > 0 {
		first := judged.Violations[0]
		c.console.Line("%s; what happened, in true time from the first act:", first)
		for _, line := range first.History {
			c.console.Line("  %s", line)
		}
	}
}

// gentleRefusals looks at what writers were told while a gentle fault was the only thing that happened.
func (c *chaos) gentleRefusals(h *history.History, happened []happening) {
	for n, one := range happened {
		if !slices.Contains(gentle, one.Kind) || one.err != nil {
			continue
		}
		from, until := one.from, min(one.until, one.from+one.For)+aftermath
		alone := true
		for m, other := range happened {
			alone = alone && (n == m || other.from >= until || other.until+aftermath <= from)
		}
		if !alone {
			continue
		}
		r := c.total.gentle[one.Kind]
		if r == nil {
			r = &refusals{}
			c.total.gentle[one.Kind] = r
		}
		for i := range h.Ops {
			if op := &h.Ops[i]; op.Call >= from && op.Call <= until {
				c.count(r, one.Kind, op)
			}
		}
	}
}

// count adds one write that was asked for while a gentle fault was alone.
func (c *chaos) count(r *refusals, kind Kind, op *history.Op) {
	r.asked++
	switch {
	case op.Acknowledged():
	case op.Status == 0:
		r.unanswered++
		c.console.Line("        while alone: %s: write %s by %s had no answer for %.1fs (%s)", kind, op.ID, op.Asked, (op.Return - op.Call).Seconds(), op.Reason)
	case op.Reason == writers.ByService:
		r.byService++ // a machine that is short of processor time
	default:
		r.refused++
		c.console.Line("        while alone: %s: write %s by %s was refused: %d %s", kind, op.ID, op.Asked, op.Status, op.Reason)
	}
}

// verdict prints what all runs came to, and how to repeat the one that is broken.
func (c *chaos) verdict() {
	t, o := &c.total, c.options
	c.console.Section("Verdict")
	c.console.Line("seed %d, runs %d to %d in %d worlds: %d writes acknowledged, %d accepted, %d changes of owners between writes, %d unshipped ones lost with a region",
		o.Seed, o.First, o.First+t.runs-1, c.worlds, t.acknowledged, t.accepted, t.handovers, t.unshipped)
	if o.Users > 0 {
		c.console.Line("users: %d accounts, %d logins, %d new passwords and profiles, %d transfers, %d deferred ones done later", t.accounts, t.logins, t.edits, t.transfers, t.deferred)
	}
	for _, kind := range slices.Sorted(maps.Keys(t.gentle)) {
		r := t.gentle[kind]
		c.console.Line("alone: %s: %d home writes, %d refused, %d without an answer, %d too slow in the service",
			kind, r.asked, r.refused, r.unanswered, r.byService)
	}
	c.console.Verdict(t.broken == 0 && t.runs > 0, "one owner at a time, and nothing acknowledged is lost in planned changes",
		fmt.Sprintf("%d of %d runs", t.runs-t.broken, t.runs))
	for _, n := range t.brokenRuns {
		c.console.Line("run %d again: %s", n, o.again(n))
	}
	if len(t.brokenRuns) == 0 && t.runs > 0 {
		c.console.Line("a run again, such as the last: %s", o.again(o.First+t.runs-1))
	}
}

// again is how to repeat a run.
func (o *Options) again(n int) string {
	return fmt.Sprintf("%s --seed %d --first %d --runs 1", strings.TrimSpace(o.Again), o.Seed, n)
}
