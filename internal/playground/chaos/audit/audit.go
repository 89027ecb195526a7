// Package audit judges what users of the example did, were told, and find in the end: whether anything that was promised to them
// was not kept. It knows the example's rules (one account for a phone number, money is neither made nor lost) and nothing of the
// operator.
package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
)

// told is how many acts of an account a violation shows at most: the last ones.
const told = 40

// Violation is something that must never be.
type Violation struct {
	// Phone is the account that it is about; empty: all of them.
	Phone string
	What  string
	// History is what happened to the account, and what regions have of it, for a person to read.
	History []string
}

// String is the violation in one line.
func (v Violation) String() string {
	if v.Phone == "" {
		return v.What
	}
	return "account " + v.Phone + ": " + v.What
}

// Verdict is what a history came to.
type Verdict struct {
	Violations []Violation
	// Accounts that were made; Logins, Edits (of profiles and passwords) and Transfers that were acknowledged, and Deferred
	// transfers that were carried out or refused later.
	Accounts, Logins, Edits, Transfers, Deferred int
	// Oldest is how old the oldest was that anybody was told by a region that had not heard of the newest.
	Oldest time.Duration
	// Low counts balances below zero that were told: of a region that has a payer's debits and not yet a credit from a third one.
	Low int
}

// judge collects a verdict.
type judge struct {
	h       *acts.History
	verdict Verdict
	began   time.Duration
}

// Judge returns the verdict on a history.
func Judge(h *acts.History) Verdict {
	j := &judge{h: h}
	users := map[string][]acts.Act{}
	for i := range h.Acts {
		a := &h.Acts[i]
		if j.began == 0 || a.Call < j.began {
			j.began = a.Call
		}
		users[a.Phone] = append(users[a.Phone], *a)
	}
	for _, phone := range slices.Sorted(maps.Keys(users)) {
		mine := users[phone]
		slices.SortStableFunc(mine, func(a, b acts.Act) int { return int(a.Call - b.Call) })
		j.account(phone, mine)
		j.edits(phone, of(mine, acts.Password), j.passwordsSeen(mine))
		j.edits(phone, of(mine, acts.Save), j.profilesSeen(mine))
		j.profileKept(phone, of(mine, acts.Save))
		j.transfers(phone, mine)
	}
	j.ledgers()
	j.copies()
	for i := range j.verdict.Violations {
		v := &j.verdict.Violations[i]
		v.History = j.history(v.Phone)
	}
	return j.verdict
}

func (j *judge) violation(phone, format string, args ...any) {
	j.verdict.Violations = append(j.verdict.Violations, Violation{Phone: phone, What: fmt.Sprintf(format, args...)})
}

// of returns the acts of a kind.
func of(all []acts.Act, kind acts.Kind) []acts.Act {
	return slices.DeleteFunc(slices.Clone(all), func(a acts.Act) bool { return a.Kind != kind })
}

// regions are the names in order.
func (j *judge) regions() []string { return slices.Sorted(maps.Keys(j.h.Tables)) }

// account holds that a number has one account, which is the one that was acknowledged, in every region.
func (j *judge) account(phone string, mine []acts.Act) {
	ids, has := j.accountsOf(phone)
	if len(ids) > 1 {
		j.violation(phone, "it exists %d times: %s", len(ids), strings.Join(ids, ", "))
	}
	var promised string
	for _, a := range of(mine, acts.Register) {
		switch {
		case a.Acknowledged() && promised != "" && promised != a.Account:
			j.violation(phone, "two registrations were acknowledged, as %s and %s", promised, a.Account)
		case a.Acknowledged():
			promised = a.Account
		case a.Code == "phone-taken" && len(ids) == 0:
			j.violation(phone, "%s said that the number is taken, and no region has its account", a.At)
		}
	}
	for _, region := range j.regions() {
		if promised != "" && has[region] != promised {
			j.violation(phone, "its registration was acknowledged as %s, and %s has %q", promised, region, has[region])
		}
	}
}

// accountsOf are the IDs of a number's accounts, and the ID in each region.
func (j *judge) accountsOf(phone string) (ids []string, has map[string]string) {
	found, has := map[string]bool{}, map[string]string{}
	for region, t := range j.h.Tables {
		for _, a := range t.Accounts {
			if a.Phone == phone {
				found[a.ID], has[region] = true, a.ID
			}
		}
	}
	if len(found) > 0 {
		j.verdict.Accounts++
	}
	return slices.Sorted(maps.Keys(found)), has
}

// copies holds that regions have the same in the end, and that nothing contradicts.
func (j *judge) copies() {
	regions := j.regions()
	for i, region := range regions {
		t := j.h.Tables[region]
		if t.Aside > 0 {
			j.violation("", "%s has kept %d records aside, which contradict what it has", region, t.Aside)
		}
		if t.Unsent > 0 {
			j.violation("", "%s has %d records that it has told nobody of", region, t.Unsent)
		}
		if i > 0 {
			if err := acts.Difference(j.h.Tables[regions[0]], t); err != nil {
				j.violation("", "%s and %s have different data: %v", regions[0], region, err)
			}
		}
	}
}

// history is what happened to an account, as a person reads it.
func (j *judge) history(phone string) []string {
	if phone == "" {
		return nil
	}
	var out []string
	all := slices.Clone(j.h.Acts)
	slices.SortStableFunc(all, func(a, b acts.Act) int { return int(a.Call - b.Call) })
	for i := range all {
		if all[i].Concerns(phone) {
			out = append(out, all[i].Told(j.began))
		}
	}
	if left := len(out) - told; left > 0 {
		out = append([]string{fmt.Sprintf("(%d acts before these)", left)}, out[left:]...)
	}
	for _, region := range j.regions() {
		t := j.h.Tables[region]
		line := fmt.Sprintf("%s has profile edit %d, entries", region, t.Profiles[phone])
		for _, a := range t.Accounts {
			if a.Phone == phone {
				line = fmt.Sprintf("%s has account %s, profile edit %d, entries", region, a.ID, t.Profiles[phone])
			}
		}
		for _, e := range t.Entries {
			if e.Phone == phone {
				line += fmt.Sprintf(" %+d(%s)", e.Amount, e.Transfer)
			}
		}
		out = append(out, line)
	}
	return out
}
