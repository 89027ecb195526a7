package lint

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
)

const (
	// writeGap is the shortest time that is expected between two writes of one record.
	writeGap = time.Second
	// shortestLag is what copying between regions takes at the very least, by any method.
	shortestLag = time.Second
	clicks      = "  flows:\n  - {name: browse, tier: Core, match: [{path: /items/}], writes: [clicks]}\n"
)

// copyRules are about copies that do more harm than good, and conflicts between them.
func copyRules() []Rule {
	return []Rule{
		{
			Code: "MA102", Severity: SeverityWarning,
			Title: "a class that is read from its origin by its token, such as a session, is replicated as well",
			Why:   "bulk is copied for nothing, and delays what the survivors need",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - name: session\n    recreatable: \"Yes\"\n    sync:\n    - " + originRead + "    - {method: Regenerate}\n" +
					"    - {method: StorageReplication, storageReplication: {store: users, tables: [users.session]}}\n",
				After: "spec:\n  dataClasses:\n  - name: session\n    recreatable: \"Yes\"\n    sync:\n    - " + originRead + "    - {method: Regenerate}\n",
			},
			check: (*pass).copiedSessions,
		},
		{
			Code: "MA104", Severity: SeverityWarning,
			Title: "LastWriterWins with a `maxClockSkew` above 1s, the shortest time that is expected between two writes of a record",
			Why:   "the earlier of two changes wins, when the clock of its region runs ahead",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: profile, conflict: {policy: LastWriterWins, lastWriterWins: {timestampColumn: updated_at, maxClockSkew: 5s}}}\n",
				After:  "spec:\n  dataClasses:\n  - {name: profile, conflict: {policy: OwnerWins}}\n",
			},
			check: (*pass).clockSkew,
		},
		{
			Code: "MA107", Severity: SeverityWarning,
			Title: "a staleness objective below 1s for a class that is replicated",
			Why:   "it cannot be kept: the class is late on every quiet day, and nobody looks when it is late in an outage",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: profile, staleness: {normal: 200ms}, sync: [{method: StorageReplication, storageReplication: {store: users}}]}\n",
				After:  "spec:\n  dataClasses:\n  - {name: profile, staleness: {normal: 10s}, sync: [{method: StorageReplication, storageReplication: {store: users}}]}\n",
			},
			check: (*pass).objectives,
		},
		{
			Code: "MA110", Severity: SeverityWarning,
			Title: "`failover.handback: Automatic` with a class whose conflict policy is OwnerWins or Quarantine",
			Why:   "after an outage, versions of records are set aside and nobody has looked at them",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: profile, conflict: {policy: OwnerWins}}\n  failover: {handback: Automatic}\n",
				After:  "spec:\n  dataClasses:\n  - {name: profile, conflict: {policy: OwnerWins}}\n  failover: {handback: Manual}\n",
			},
			check: (*pass).handback,
		},
		{
			Code: "MA111", Severity: SeverityWarning,
			Title: "a class is replicated that no flow reads, nor writes in its home region",
			Why:   "synchronise only what is needed: in an outage it competes with what is",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: clicks, mutability: CreateOnly, sync: [{method: MessageQueue, messageQueue: {topic: clicks}}]}\n" + clicks,
				After:  "spec:\n  dataClasses:\n  - {name: clicks, mutability: CreateOnly}\n" + clicks,
			},
			check: (*pass).unread,
		},
	}
}

func (p *pass) clockSkew() {
	p.conflicts(v1alpha1.ConflictLastWriterWins, func(path string, c v1alpha1.DataClass, last v1alpha1.LastWriterWins) {
		if last.MaxClockSkew != nil && last.MaxClockSkew.Duration > writeGap {
			p.tell(path+".lastWriterWins.maxClockSkew", "keep the servers' clocks within 1s of each other and declare that, or use policy OwnerWins",
				"the last writer of class %s is to win, and clocks may differ by %s", c.Name, last.MaxClockSkew.Duration)
		}
	})
}

func (p *pass) copiedSessions() {
	if p.alone() {
		return
	}
	p.methods(v1alpha1.SyncOriginRead, func(path string, c v1alpha1.DataClass, _ v1alpha1.SyncPolicy) {
		if replicated(c) {
			p.tell(path, fmt.Sprintf("remove %s from sync of class %s, and add Regenerate if it is not there", copiers(c), c.Name),
				"class %s is read from its origin, and copied to all regions by %s too", c.Name, copiers(c))
		}
	})
}

func (p *pass) objectives() {
	for i, c := range p.spec.DataClasses {
		if normal, _ := desired.Objectives(c); replicated(c) && normal < shortestLag {
			p.tell(classPath(i)+".staleness.normal", "declare what readers in other regions can live with; where that is nothing, let the flow be served in its home region",
				"class %s may be %s behind in other regions", c.Name, normal)
		}
	}
}

func (p *pass) handback() {
	if p.spec.Failover == nil || p.spec.Failover.Handback != "Automatic" {
		return
	}
	var names []string
	for _, c := range p.spec.DataClasses {
		if c.Conflict != nil && (c.Conflict.Policy == v1alpha1.ConflictOwnerWins || c.Conflict.Policy == v1alpha1.ConflictQuarantine) {
			names = append(names, c.Name)
		}
	}
	if len(names) > 0 {
		p.tell("spec.failover.handback", "set handback: Manual, and look at what was set aside before keys return",
			"keys return by themselves, and versions that lose a conflict are set aside in classes: %s", strings.Join(names, ", "))
	}
}

func (p *pass) unread() {
	if p.alone() || len(p.spec.Flows) == 0 {
		return
	}
	for i, c := range p.spec.DataClasses {
		// The next owner of a key goes on with what the last one wrote.
		needed := func(f v1alpha1.Flow) bool {
			return slices.Contains(f.Reads, c.Name) || !anyRegion(f) && slices.Contains(f.Writes, c.Name)
		}
		if replicated(c) && !slices.ContainsFunc(p.spec.Flows, needed) {
			p.tell(classPath(i)+".sync", fmt.Sprintf("remove %s from sync of class %s, or name it in reads of the flows that need it", copiers(c), c.Name),
				"class %s is copied to all regions by %s, and no flow needs it there", c.Name, copiers(c))
		}
	}
}
