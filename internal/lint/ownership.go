package lint

import (
	"fmt"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
)

// ownershipRules are about who may write what.
func ownershipRules() []Rule {
	return []Rule{
		{
			Code: "MA001", Severity: SeverityError,
			Title: "a class with `uniqueness: Global` is written by a flow with `servedBy: AnyRegion`, or taken over with only asynchronous sync",
			Why:   "two regions accept the same key, such as a phone number, and nothing can merge the two records",
			Example: Example{
				Before: uniqueAccount + "  flows:\n  - {name: register, tier: Core, match: [{method: POST, path: /accounts}], reads: [account], writes: [account], servedBy: AnyRegion}\n",
				After:  uniqueAccount + "  flows:\n  - {name: register, tier: Core, match: [{method: POST, path: /accounts}], reads: [account], writes: [account], servedBy: HomeRegion}\n",
			},
			check: func(p *pass) { p.ownerless(global, "whose keys exist once in all regions") },
		},
		{
			Code: "MA002", Severity: SeverityError,
			Title: "a class with `consistency: Strong` is written by a flow with `servedBy: AnyRegion`, or taken over with only asynchronous sync",
			Why:   "the same balance is spent twice, once in each region",
			Example: Example{
				Before: strongBalance + "  flows:\n  - {name: transfer, tier: Core, match: [{method: POST, path: /transfers}], writes: [balance], servedBy: HomeRegion,\n" +
					"    onHomeLoss: {action: Takeover}}\n",
				After: strongBalance + "  flows:\n  - name: transfer\n    tier: Core\n    match: [{method: POST, path: /transfers}]\n    writes: [balance]\n    servedBy: HomeRegion\n" +
					"    onHomeLoss: {action: Defer, defer: {admitPath: /admit, expireAfter: 24h, idempotencyHeader: Idempotency-Key}}\n",
			},
			check: func(p *pass) { p.ownerless(strong, "with consistency Strong") },
		},
		{
			Code: "MA013", Severity: SeverityError,
			Title: "a flow with `servedBy: HomeRegion` whose home cannot be found: it has no key that its requests carry, and no class of it is pinned",
			Why:   "no request finds a home: all are refused, on quiet days too",
			Example: Example{
				Before: "spec:\n  flows:\n  - {name: order, tier: Core, match: [{method: POST, path: /orders}], servedBy: HomeRegion}\n",
				After:  phoneKey + "  flows:\n  - {name: order, tier: Core, match: [{method: POST, path: /orders}], servedBy: HomeRegion, key: phone}\n",
			},
			check: (*pass).homes,
		},
		{
			Code: "MA015", Severity: SeverityError,
			Title: "a flow with `servedBy: HomeRegion` writes classes with different homes",
			Why:   "no region owns both, so no single owner can keep the rules of both",
			Example: Example{
				Before: twoHomes + "  - {name: contact, home: {type: ByKey, key: mail}}\n" + signUp,
				After:  twoHomes + "  - {name: contact, home: {type: ByKey, key: phone}}\n" + signUp,
			},
			check: (*pass).oneHome,
		},
	}
}

const (
	phoneKey = "spec:\n  partition: {keys: [{name: phone, from: [{type: Header, header: {name: X-Phone}}], normalize: [Trim, DigitsOnly]}]}\n"

	uniqueAccount = phoneKey + "  dataClasses:\n  - name: account\n    mutability: CreateOnly\n    uniqueness: Global\n" +
		"    sync: [{method: MessageQueue, messageQueue: {topic: account}}, {method: SecondRead}]\n"

	strongBalance = phoneKey + "  dataClasses:\n  - name: balance\n    consistency: Strong\n" +
		"    sync: [{method: MessageQueue, messageQueue: {topic: balance, orderBy: Version}}]\n"

	twoHomes = "spec:\n  partition:\n    keys:\n" +
		"    - {name: phone, from: [{type: JSONBody, jsonBody: {pointer: /phone}}], normalize: [DigitsOnly]}\n" +
		"    - {name: mail, from: [{type: JSONBody, jsonBody: {pointer: /mail}}], normalize: [Trim, Lowercase]}\n" +
		"  dataClasses:\n  - {name: account, home: {type: ByKey, key: phone}}\n"

	signUp = "  flows:\n  - {name: sign-up, tier: Core, key: phone, match: [{method: POST, path: /accounts}], servedBy: HomeRegion, writes: [account, contact]}\n"
)

// ownerless finds writes without a single owner that has everything, of classes that need one.
func (p *pass) ownerless(needsOwner func(v1alpha1.DataClass) bool, which string) {
	if p.alone() {
		return
	}
	for i, f := range p.spec.Flows {
		if !anyRegion(f) && homeLoss(f) != v1alpha1.HomeLossTakeover {
			continue
		}
		for j, name := range f.Writes {
			c := p.class(name)
			if c == nil || !needsOwner(*c) {
				continue
			}
			p.writeWithoutOwner(writePath(i, j), f, *c, which)
		}
	}
}

func (p *pass) writeWithoutOwner(path string, f v1alpha1.Flow, c v1alpha1.DataClass, which string) {
	switch answer, store := p.synchronous(c); {
	case answer == v1alpha1.Yes:
	case answer == v1alpha1.Unknown:
		p.needs(path, "DataStore "+store)
	case anyRegion(f):
		p.tell(path, fmt.Sprintf("set servedBy: HomeRegion of flow %s, or move the write of %s to a flow that has it", f.Name, c.Name),
			"flow %s is served by any region and writes class %s, %s", f.Name, c.Name, which)
	default:
		p.tell(path, fmt.Sprintf("set onHomeLoss.action of flow %s to Defer or Reject, or keep %s in a DataStore with management External, which is "+
			"consistent by itself", f.Name, c.Name),
			"flow %s is taken over by another region when its home is lost, and writes class %s, %s: what the lost region accepted last %s",
			f.Name, c.Name, which, asynchronous(c))
	}
}

func (p *pass) homes() {
	own := Ownership(*p.spec)
	for _, i := range Homeless(own) {
		p.tell(flowPath(i)+".key", "declare a key in spec.partition.keys and name it here, or pin the home of a class that the flow writes",
			"flow %s is served in a home region, and nothing leads to it: it has no key, and no class of it is pinned", own.Flows[i].Name)
	}
	for _, k := range KeylessRequests(*p.spec, own) {
		fix := "write the variable in the path, or use a key with another source"
		if k.Flow < 0 {
			p.tell("spec.unmatched.key", "use a key with another source", "unmatched requests have no path with the variables that key %s alone is read from: %s",
				k.Key, Braced(k.Variables))
			continue
		}
		f := own.Flows[k.Flow]
		p.tell(fmt.Sprintf("%s.match[%d].path", flowPath(k.Flow), k.Match), fix, "flow %s: key %s is read from the path alone (%s), and %s has none of it",
			f.Name, k.Key, Braced(k.Variables), f.Match[k.Match].Path)
	}
	for i, f := range own.Flows {
		for _, k := range own.Keys {
			if f.ServedBy == v1alpha1.ServedByHomeRegion && f.Key == k.Name && len(k.From) == 0 {
				p.tell(flowPath(i)+".key", fmt.Sprintf("add a source to a key, or sync OriginRead, which says where the token is, to a class that flow %s reads", f.Name),
					"flow %s: key %s is read from the session alone, and no class has its tokens stamped", f.Name, k.Name)
			}
		}
	}
}

func (p *pass) oneHome() {
	for i, f := range p.spec.Flows {
		if anyRegion(f) {
			continue
		}
		first, firstHome := "", ""
		for j, name := range f.Writes {
			c := p.class(name)
			if c == nil {
				continue
			}
			home := homeOf(*p.spec, f, *c)
			switch {
			case home == "":
			case firstHome == "":
				first, firstHome = name, home
			case home != firstHome:
				p.tell(writePath(i, j), fmt.Sprintf("give %s and %s one home, or write one of them in a flow of its own", first, name),
					"flow %s writes class %s, which is at home %s, and class %s, which is at home %s", f.Name, first, firstHome, name, home)
			}
		}
	}
}

// homeOf says where a class is at home when a flow writes it; empty when that is not declared.
func homeOf(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow, c v1alpha1.DataClass) string {
	key := desired.Key(spec, f)
	switch {
	case c.Home != nil && c.Home.Pinned != nil:
		return "in " + strings.Join(c.Home.Pinned.Regions, ", else ")
	case c.Home != nil && c.Home.Key != "":
		key = c.Home.Key
	case len(pinnedOf(spec, f)) > 0:
		return "in " + strings.Join(pinnedOf(spec, f), ", else ")
	}
	if key == "" {
		return ""
	}
	return "where the owner of its " + key + " is"
}

// pinnedOf returns the fixed home of a flow, which classes without a home of their own share.
func pinnedOf(spec v1alpha1.MultiActiveServiceSpec, f v1alpha1.Flow) []string {
	for _, routed := range desired.Ownership(&v1alpha1.MultiActiveService{Spec: spec}).Flows {
		if routed.Name == f.Name {
			return routed.Pinned
		}
	}
	return nil
}
