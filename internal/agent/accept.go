package agent

import (
	"crypto/rand"
	"slices"

	"multiactive.dev/operator/internal/ownership"
)

const (
	// peerKeyBytes is the length of a service's peer key.
	peerKeyBytes = 32
	// acceptAtOnce bounds the service records written in one pass, in one transaction: etcd takes 128 comparisons of
	// one, and a record costs three. A thousand new services must not hold up a decision about a region either.
	acceptAtOnce = 40
	// keptIncidents is how many closed incidents are kept for each region.
	keptIncidents = 10
)

func newPeerKey() []byte {
	key := make([]byte, peerKeyBytes)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return key
}

// acceptedServices returns the service records that follow from the intents: new services with a
// fresh peer key, while no change is under way, and deleted ones marked. A record keeps its ownership
// spec whatever the intent says now: to change owners takes two phases (R6).
func acceptedServices(c ownership.Configuration, peerKey func() []byte) []ownership.ServiceRecord {
	var out []ownership.ServiceRecord
	for _, uid := range sortedWhere(c.ServiceIntents, func(uid string, i ownership.ServiceIntent) bool {
		record, known := c.Services[uid]
		return !known || i.Deleted && !record.Deleted
	}) {
		intent := c.ServiceIntents[uid]
		record, known := c.Services[uid]
		switch {
		case !known && !intent.Deleted && c.View.Phase == ownership.PhaseOpen:
			out = append(out, ownership.ServiceRecord{
				UID: uid, Namespace: intent.Namespace, Name: intent.Name, Handback: intent.Handback, PeerKey: peerKey(),
				ServiceState: ownership.ServiceState{SpecHash: intent.SpecHash, Regions: intent.Regions, Manual: intent.Manual},
			})
		case known && intent.Deleted && !record.Deleted:
			record.Deleted = true
			out = append(out, record)
		}
		if len(out) == acceptAtOnce {
			break
		}
	}
	return out
}

// finishedServices returns the deleted services whose intent the hub has withdrawn, which it does
// when every region has let go of the service.
func finishedServices(c ownership.Configuration) []string {
	var out []string
	for _, uid := range sortedWhere(c.Services, func(_ string, r ownership.ServiceRecord) bool { return r.Deleted }) {
		if _, wanted := c.ServiceIntents[uid]; !wanted && len(out) < acceptAtOnce {
			out = append(out, uid)
		}
	}
	return out
}

// sortedWhere returns the keys of those that are wanted, in order: to sort all of thousands with every configuration
// would be most of a pass.
func sortedWhere[V any](all map[string]V, wanted func(string, V) bool) []string {
	var out []string
	for key, value := range all {
		if wanted(key, value) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// surplusIncidents returns the closed incidents beyond the newest keptIncidents of each region.
func surplusIncidents(c ownership.Configuration) []string {
	closed := map[string][]ownership.Incident{}
	for _, i := range c.Incidents {
		if i.Closed && len(i.Timeline) > 0 {
			closed[i.Region] = append(closed[i.Region], i)
		}
	}
	var out []string
	for _, incidents := range closed {
		slices.SortFunc(incidents, func(a, b ownership.Incident) int {
			return b.Timeline[0].At.Compare(a.Timeline[0].At)
		})
		for _, i := range incidents[min(keptIncidents, len(incidents)):] {
			out = append(out, i.Name)
		}
	}
	slices.Sort(out)
	return out
}
