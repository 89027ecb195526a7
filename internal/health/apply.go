package health

import (
	"maps"
	"time"

	"multiactive.dev/operator/internal/ownership"
)

// ChangesView reports whether the intent is a change of the view that Apply makes.
func (i Intent) ChangesView() bool {
	switch i.Kind {
	case Suspect, ClearSuspect, DeclareLost, Admit, OpenGateReturning, Serve:
		return true
	case OpenIncident, CloseGate, OpenGate:
		return false
	default:
		return false
	}
}

// Apply returns the view after the intents, one epoch later, and whether it differs. It does not
// change the configuration. at is the leader's wall clock.
func Apply(c ownership.Configuration, intents []Intent, t ownership.Timings, at time.Time) (ownership.View, bool) {
	next := ownership.View{Epoch: c.View.Epoch + 1, Phase: ownership.PhaseOpen}
	next.Regions = maps.Clone(c.View.Regions)
	if next.Regions == nil {
		next.Regions = map[string]ownership.RegionRecord{}
	}
	changed := false
	for _, i := range intents {
		if !i.ChangesView() {
			continue
		}
		changed = true
		rec := next.Regions[i.Region]
		rec.Since = at.UTC()
		applyTo(&rec, i, c, t, at.UTC())
		next.Regions[i.Region] = rec
	}
	return next, changed
}

func applyTo(rec *ownership.RegionRecord, i Intent, c ownership.Configuration, t ownership.Timings, at time.Time) {
	//nolint:exhaustive // the other kinds change no view; Apply has left them out
	switch i.Kind {
	case Suspect:
		rec.Suspect = true
	case ClearSuspect:
		rec.Suspect = false
	case DeclareLost:
		rec.Flaps = flapsAt(t, *rec, at)
		rec.LostAt = &at
		rec.State, rec.Suspect = ownership.RegionLost, false
		rec.Incident = incidentName(c, i.Region)
	case OpenGateReturning:
		rec.State = ownership.RegionReturning
	case Admit:
		rec.State = ownership.RegionServing
		rec.Role = c.RegionIntents[i.Region].Role
	case Serve:
		rec.State, rec.Incident = ownership.RegionServing, ""
	}
}
