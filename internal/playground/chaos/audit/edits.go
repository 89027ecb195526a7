package audit

import (
	"time"

	"multiactive.dev/operator/internal/playground/chaos/acts"
)

// seen is what a user met: the number of a password that was accepted, or refused, or of a profile that was read.
type seen struct {
	act     acts.Act
	refused bool
	// late: it may be older than what was acknowledged, within the objective.
	late bool
}

// passwordsSeen are the logins. Any region answers them, by what it has heard of.
func (j *judge) passwordsSeen(mine []acts.Act) (out []seen) {
	for _, a := range of(mine, acts.Login) {
		switch {
		case a.Acknowledged():
			j.verdict.Logins++
			out = append(out, seen{act: a, late: true})
		case a.Code == "unknown-or-wrong":
			out = append(out, seen{act: a, refused: true, late: true})
		}
	}
	return out
}

// profilesSeen are what was read of the profile; only what is marked as stale may be old.
func (j *judge) profilesSeen(mine []acts.Act) (out []seen) {
	for _, a := range of(mine, acts.Look) {
		if a.Acknowledged() {
			out = append(out, seen{act: a, late: a.Stale})
		}
	}
	return out
}

// edits holds what was seen of an account's password, or profile, against what was acknowledged. The user edits one after the
// other, so of what was acknowledged before something was seen nothing but the last may be seen, or what came after it.
func (j *judge) edits(phone string, edits []acts.Act, all []seen) {
	for _, e := range edits {
		if e.Acknowledged() {
			j.verdict.Edits++
		}
	}
	registered := j.registered(phone)
	for _, s := range all {
		least, since, most := bounds(edits, s.act)
		if since == 0 {
			since = registered
		}
		switch {
		case s.refused && s.act.N == least && least == most:
			j.late(phone, s, since, "number %d, which was the only one, was refused", s.act.N)
		case !s.refused && s.act.N < least:
			j.late(phone, s, j.superseded(edits, s), "number %d was seen, although number %d had been acknowledged", s.act.N, least)
		case !s.refused && s.act.N > most:
			j.violation(phone, "%s at %s met number %d, which nobody had sent", s.act.Kind, s.act.At, s.act.N)
		}
	}
}

// bounds are the last edit that was acknowledged before something was seen, with when that was, and the last that may have been made.
func bounds(edits []acts.Act, at acts.Act) (least int, since time.Duration, most int) {
	for _, e := range edits {
		if e.Acknowledged() && e.Return < at.Call {
			least, since = e.N, e.Return
		}
		if e.Call < at.Return && (e.Acknowledged() || e.Unknown()) {
			most = e.N
		}
	}
	return least, since, most
}

// registered is when the account was acknowledged; an account that never was may be refused anywhere.
func (j *judge) registered(phone string) time.Duration {
	for i := range j.h.Acts {
		if a := &j.h.Acts[i]; a.Phone == phone && a.Kind == acts.Register && a.Acknowledged() {
			return a.Return
		}
	}
	return 0
}

// superseded is when what was seen was acknowledged to be replaced.
func (j *judge) superseded(edits []acts.Act, s seen) time.Duration {
	for _, e := range edits {
		if e.Acknowledged() && e.N > s.act.N {
			return e.Return
		}
	}
	return s.act.Call
}

// late judges what was seen of something that had been replaced.
func (j *judge) late(phone string, s seen, since time.Duration, format string, args ...any) {
	age := s.act.Call - since
	switch {
	case since == 0 || age < 0:
		return // no registration was acknowledged yet
	case s.late && age <= j.h.Objective:
		j.verdict.Oldest = max(j.verdict.Oldest, age)
		return
	}
	j.violation(phone, "%s at %s, %s after that was acknowledged: "+format, append([]any{s.act.Kind, s.act.At, age.Round(time.Millisecond)}, args...)...)
}

// profileKept holds that every region has, in the end, the last edit that was acknowledged or one after it.
func (j *judge) profileKept(phone string, edits []acts.Act) {
	least, most := 0, 0
	for _, e := range edits {
		if e.Acknowledged() {
			least = e.N
		}
		if e.Acknowledged() || e.Unknown() {
			most = e.N
		}
	}
	for _, region := range j.regions() {
		if n := j.h.Tables[region].Profiles[phone]; n < least || n > most {
			j.violation(phone, "edit %d of its profile is the last that was acknowledged, %d the last that was sent, and %s has %d", least, most, region, n)
		}
	}
}
