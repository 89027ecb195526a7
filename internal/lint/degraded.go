package lint

import (
	"fmt"
	"slices"

	"multiactive.dev/operator/api/v1alpha1"
)

const nonCore = "  flows:\n  - {name: register, tier: NonCore, match: [{method: POST, path: /accounts}], servedBy: HomeRegion}\n"

// degradedRules are about what users meet while a flow is degraded.
func degradedRules() []Rule {
	return []Rule{
		{
			Code: "MA101", Severity: SeverityWarning,
			Title: "every flow is core",
			Why:   "nothing may fail, so nothing makes room: the survivors carry all of the load, and the flows that matter fail with the rest",
			Example: Example{
				Before: "spec:\n  flows:\n  - {name: login, tier: Core, match: [{path: /login}]}\n  - {name: news, tier: Core, match: [{path: /news}]}\n",
				After:  "spec:\n  flows:\n  - {name: login, tier: Core, match: [{path: /login}]}\n  - {name: news, tier: NonCore, match: [{path: /news}]}\n",
			},
			check: (*pass).ranking,
		},
		{
			Code: "MA103", Severity: SeverityWarning,
			Title: "a core flow with `servedBy: AnyRegion` reads a class that comes through the queue alone, without SecondRead",
			Why:   "a user who registers in one region and logs in at another fails while the queue lags, also after a failover",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: password, mutability: CreateOnly, sync: [{method: MessageQueue, messageQueue: {topic: password}}]}\n" + login,
				After: "spec:\n  dataClasses:\n  - {name: password, mutability: CreateOnly, sync: [{method: MessageQueue, messageQueue: {topic: password}}, " +
					"{method: SecondRead}]}\n" + login,
			},
			check: (*pass).queueOnly,
		},
		{
			Code: "MA105", Severity: SeverityWarning,
			Title: "a core flow writes a class with `consistency: Strong`, and `onHomeLoss.action` is Reject",
			Why:   "users of the lost region are turned away from a core flow for as long as it is away; Defer would keep their requests",
			Example: Example{
				Before: strongBalance + "  flows:\n  - {name: transfer, tier: Core, match: [{method: POST, path: /transfers}], writes: [balance], servedBy: HomeRegion,\n" +
					"    onHomeLoss: {action: Reject}}\n",
				After: strongBalance + "  flows:\n  - name: transfer\n    tier: Core\n    match: [{method: POST, path: /transfers}]\n    writes: [balance]\n    servedBy: HomeRegion\n" +
					"    onHomeLoss: {action: Defer, defer: {admitPath: /admit, expireAfter: 24h, idempotencyHeader: Idempotency-Key}}\n",
			},
			check: (*pass).rejections,
		},
		{
			Code: "MA109", Severity: SeverityWarning,
			Title: "a flow that is not core is degraded in an outage, and no announcement is for it",
			Why:   "users see an error without a reason",
			Example: Example{
				Before: phoneKey + nonCore,
				After:  phoneKey + nonCore + "  announcements:\n  - {flows: [register], text: [{language: en, value: Registration is paused while we recover a site.}]}\n",
			},
			check: (*pass).announcements,
		},
	}
}

func (p *pass) queueOnly() {
	p.coreReads(func(path string, f v1alpha1.Flow, c v1alpha1.DataClass) {
		others := has(c, v1alpha1.SyncStorageReplication, v1alpha1.SyncSecondRead, v1alpha1.SyncOriginRead, v1alpha1.SyncRegenerate)
		if !has(c, v1alpha1.SyncMessageQueue) || others {
			return
		}
		p.tell(path, fmt.Sprintf("add {method: SecondRead} to sync of class %s", c.Name),
			"core flow %s is served by any region and reads class %s, which comes through the queue alone", f.Name, c.Name)
	})
}

func (p *pass) ranking() {
	core := func(f v1alpha1.Flow) bool { return f.Tier == v1alpha1.TierCore }
	if n := len(p.spec.Flows); n > 1 && !slices.ContainsFunc(p.spec.Flows, func(f v1alpha1.Flow) bool { return !core(f) }) {
		p.tell("spec.flows", "set tier: NonCore of those that users can do without for an hour", "all %d flows are core", n)
	}
}

func (p *pass) rejections() {
	for i, f := range p.spec.Flows {
		if f.Tier != v1alpha1.TierCore || anyRegion(f) || homeLoss(f) != v1alpha1.HomeLossReject {
			continue
		}
		for _, name := range f.Writes {
			if c := p.class(name); c != nil && strong(*c) {
				p.tell(lossPath(i)+".action", fmt.Sprintf("set onHomeLoss.action of flow %s to Defer, if its users can wait for the outcome", f.Name),
					"core flow %s writes class %s with consistency Strong, and its requests are rejected while their home is lost", f.Name, name)
				break
			}
		}
	}
}

func (p *pass) announcements() {
	if p.alone() {
		return
	}
	for i, f := range p.spec.Flows {
		degraded := !anyRegion(f) || f.WhenDegraded == v1alpha1.WhenDegradedShed
		told := slices.ContainsFunc(p.spec.Announcements, func(a v1alpha1.Announcement) bool {
			return slices.Contains(a.Flows, f.Name) || slices.Contains(a.Flows, "*")
		})
		if f.Tier == v1alpha1.TierNonCore && degraded && !told {
			p.tell(flowPath(i), fmt.Sprintf("add an announcement with flows: [%s], or [\"*\"], to spec.announcements", f.Name),
				"flow %s is degraded when a region is lost, and its users are not told why", f.Name)
		}
	}
}
