package audit

import (
	"maps"
	"slices"

	"multiactive.dev/operator/internal/playground/chaos/acts"
)

// transfers holds that what a user asked for is booked as told, and once.
func (j *judge) transfers(phone string, mine []acts.Act) {
	byKey := map[string][]acts.Act{}
	for _, a := range of(mine, acts.Transfer) {
		byKey[a.Once] = append(byKey[a.Once], a)
	}
	for _, once := range slices.Sorted(maps.Keys(byKey)) {
		j.once(phone, once, byKey[once])
	}
	for _, a := range of(mine, acts.Balance) {
		if a.Acknowledged() && a.Balance < 0 {
			j.verdict.Low++
		}
	}
	states := map[string]string{}
	for _, a := range of(mine, acts.Follow) {
		if a.State != "" {
			states[a.Deferred] = a.State
		}
	}
	for _, a := range of(mine, acts.Transfer) {
		if a.Deferred == "" {
			continue
		}
		switch state := states[a.Deferred]; state {
		case "Executed", "Refused":
			j.verdict.Deferred++
			if state == "Executed" && len(j.booked(phone, a.Once)) == 0 {
				j.violation(phone, "transfer %s is said to have been carried out, and no region has booked it", a.Once)
			}
		default:
			j.violation(phone, "transfer %s was accepted for later by %s, and is %q", a.Once, a.At, state)
		}
	}
}

// booked are the IDs under which regions have booked a key.
func (j *judge) booked(payer, once string) []string {
	ids := map[string]bool{}
	for _, t := range j.h.Tables {
		for _, b := range t.Bookings {
			if b.Payer == payer && b.Once == once {
				ids[b.ID] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// once judges the answers to one transfer.
func (j *judge) once(phone, once string, asked []acts.Act) {
	booked := j.booked(phone, once)
	if len(booked) > 1 {
		j.violation(phone, "transfer %s is booked %d times: %v", once, len(booked), booked)
	}
	var id string
	for _, a := range asked {
		switch {
		case !a.Acknowledged():
			continue
		case id != "" && id != a.Booked:
			j.violation(phone, "transfer %s was acknowledged as %s and as %s", once, id, a.Booked)
		}
		if id == "" {
			j.verdict.Transfers++
		}
		id = a.Booked
		for _, region := range j.regions() {
			if !has(j.h.Tables[region].Entries, a) {
				j.violation(phone, "transfer %s of %d to %s was acknowledged as %s, and %s does not have its two entries", once, a.Amount, a.Payee, id, region)
			}
		}
	}
}

// has reports whether a ledger has the two entries of a transfer.
func has(entries []acts.Entry, a acts.Act) bool {
	var debit, credit bool
	for _, e := range entries {
		if e.Transfer != a.Booked {
			continue
		}
		debit = debit || e.Phone == a.Phone && e.Amount == -a.Amount
		credit = credit || e.Phone == a.Payee && e.Amount == a.Amount
	}
	return debit && credit
}

// ledgers holds every region's ledger to its rules: each transfer has two entries whose sum is zero, no balance is negative, and
// the sum of all is what accounts began with.
func (j *judge) ledgers() {
	for _, region := range j.regions() {
		t := j.h.Tables[region]
		balances, lines, sums, whose := map[string]int64{}, map[string]int{}, map[string]int64{}, map[string]string{}
		var all int64
		for _, e := range t.Entries {
			balances[e.Phone] += e.Amount
			all += e.Amount
			if e.Transfer != "" {
				lines[e.Transfer]++
				sums[e.Transfer] += e.Amount
				whose[e.Transfer] = e.Phone
			}
		}
		for _, id := range slices.Sorted(maps.Keys(lines)) {
			if lines[id] != 2 || sums[id] != 0 {
				j.violation(whose[id], "transfer %s has %d entries in %s, whose sum is %d", id, lines[id], region, sums[id])
			}
		}
		for _, phone := range slices.Sorted(maps.Keys(balances)) {
			if balances[phone] < 0 {
				j.violation(phone, "its balance in %s is %d", region, balances[phone])
			}
		}
		if want := j.h.Opening * int64(len(t.Accounts)); all != want {
			j.violation("", "%d accounts of %s have %d together, want %d", len(t.Accounts), region, all, want)
		}
	}
}
