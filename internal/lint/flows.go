package lint

import (
	"fmt"

	"multiactive.dev/operator/api/v1alpha1"
)

// flowRules are about what users can still do in an outage.
func flowRules() []Rule {
	return []Rule{
		{
			Code: "MA003", Severity: SeverityError,
			Title: "a core flow with `servedBy: AnyRegion` reads a class that other regions do not have: no MessageQueue, StorageReplication, OriginRead or Regenerate",
			Why:   "the flow is dead exactly when it is needed: with the region that has the data gone, nobody can be served",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: password}\n" + login,
				After: "spec:\n  dataClasses:\n  - name: password\n" +
					"    sync: [{method: StorageReplication, storageReplication: {store: users, tables: [users.password]}}]\n" + login,
			},
			check: (*pass).absentData,
		},
		{
			Code: "MA004", Severity: SeverityError,
			Title: "a core flow depends on one that is not",
			Why:   "degrading the second breaks the first",
			Example: Example{
				Before: "spec:\n  flows:\n" + fmt.Sprintf(payAndCart, "NonCore"),
				After:  "spec:\n  flows:\n  - {name: browse, tier: NonCore, match: [{path: /items/}]}\n" + fmt.Sprintf(payAndCart, "Core"),
			},
			check: (*pass).dependencies,
		},
		{
			Code: "MA005", Severity: SeverityError,
			Title: "`onHomeLoss.action: Defer` without an idempotency header, or without expiry",
			Why:   "a deferred request is executed twice, or never and nobody is told",
			Example: Example{
				Before: phoneKey + fmt.Sprintf(deferred, "admitPath: /admit, expireAfter: 24h"),
				After:  phoneKey + fmt.Sprintf(deferred, "admitPath: /admit, expireAfter: 24h, idempotencyHeader: Idempotency-Key"),
			},
			check: (*pass).deferrals,
		},
		{
			Code: "MA016", Severity: SeverityError,
			Title: "`onHomeLoss.action: Defer` without `admitPath`",
			Why:   "work is accepted from anybody, and executed later",
			Example: Example{
				Before: phoneKey + fmt.Sprintf(deferred, "expireAfter: 24h, idempotencyHeader: Idempotency-Key"),
				After:  phoneKey + fmt.Sprintf(deferred, "admitPath: /admit, expireAfter: 24h, idempotencyHeader: Idempotency-Key"),
			},
			check: (*pass).admission,
		},
	}
}

const (
	login      = "  flows:\n  - {name: login, tier: Core, match: [{method: POST, path: /login}], reads: [password], servedBy: AnyRegion}\n"
	payAndCart = "  - {name: pay, tier: Core, match: [{method: POST, path: /payments}], dependsOn: [cart]}\n" +
		"  - {name: cart, tier: %s, match: [{path: /cart}]}\n"
	deferred = "  flows:\n  - name: transfer\n    tier: Core\n    match: [{method: POST, path: /transfers}]\n    servedBy: HomeRegion\n" +
		"    onHomeLoss: {action: Defer, defer: {%s}}\n"
)

// coreReads calls visit for what core flows read in any region.
func (p *pass) coreReads(visit func(path string, f v1alpha1.Flow, c v1alpha1.DataClass)) {
	if p.alone() {
		return
	}
	for i, f := range p.spec.Flows {
		if f.Tier != v1alpha1.TierCore || !anyRegion(f) {
			continue
		}
		for j, name := range f.Reads {
			if c := p.class(name); c != nil {
				visit(readPath(i, j), f, *c)
			}
		}
	}
}

func (p *pass) absentData() {
	p.coreReads(func(path string, f v1alpha1.Flow, c v1alpha1.DataClass) {
		if replicated(c) || has(c, v1alpha1.SyncOriginRead, v1alpha1.SyncRegenerate) {
			return
		}
		p.tell(path, fmt.Sprintf("add MessageQueue or StorageReplication to sync of class %s, or OriginRead and Regenerate for what a login makes anew", c.Name),
			"core flow %s is served by any region and reads class %s, which only the region has that wrote it", f.Name, c.Name)
	})
}

func (p *pass) dependencies() {
	for i, f := range p.spec.Flows {
		for j, name := range f.DependsOn {
			if needed := p.flow(name); f.Tier == v1alpha1.TierCore && needed != nil && needed.Tier == v1alpha1.TierNonCore {
				p.tell(fmt.Sprintf("%s.dependsOn[%d]", flowPath(i), j), fmt.Sprintf("make %s a core flow, or let %s do without it", name, f.Name),
					"core flow %s depends on flow %s, which is not core", f.Name, name)
			}
		}
	}
}

// deferring calls visit for the flows that keep requests.
func (p *pass) deferring(visit func(i int, f v1alpha1.Flow, policy v1alpha1.DeferPolicy)) {
	for i, f := range p.spec.Flows {
		if homeLoss(f) != v1alpha1.HomeLossDefer {
			continue
		}
		var policy v1alpha1.DeferPolicy
		if f.OnHomeLoss.Defer != nil {
			policy = *f.OnHomeLoss.Defer
		}
		visit(i, f, policy)
	}
}

func (p *pass) deferrals() {
	p.deferring(func(i int, f v1alpha1.Flow, policy v1alpha1.DeferPolicy) {
		path := lossPath(i) + ".defer"
		if policy.IdempotencyHeader == "" {
			p.tell(path+".idempotencyHeader", "name the header that the application knows a request again by, such as Idempotency-Key",
				"flow %s defers requests, and nothing tells the application that it has carried one out already", f.Name)
		}
		if policy.ExpireAfter == nil || policy.ExpireAfter.Duration <= 0 {
			p.tell(path+".expireAfter", "say how long a request is worth executing, such as 24h", "flow %s defers requests, and nothing says until when", f.Name)
		}
	})
}

func (p *pass) admission() {
	p.deferring(func(i int, f v1alpha1.Flow, policy v1alpha1.DeferPolicy) {
		if policy.AdmitPath == "" {
			p.tell(lossPath(i)+".defer.admitPath", "name a path of the application that authenticates a request and checks what can be checked",
				"flow %s defers requests, and nobody looks at who asks", f.Name)
		}
	})
}
