package lint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
)

const (
	// voters is the smallest number of regions in which a majority is left when one is lost.
	voters = 3
	// meshPostgreSQL is the first version that can leave out what it replicated itself (origin = none).
	meshPostgreSQL = 16
)

// platformRules are about what the declaration names, and what that can do.
func platformRules() []Rule {
	return []Rule{
		{
			Code: "MA010", Severity: SeverityError,
			Title: "automatic failover with fewer than three Regions; witnesses count",
			Why:   "when two regions lose sight of each other, neither can know which of them is cut off",
			Example: Example{
				Before:   "spec:\n  failover: {mode: Automatic}\n" + regionDoc("north") + regionDoc("south"),
				After:    "spec:\n  failover: {mode: Automatic}\n" + regionDoc("north") + regionDoc("south") + "---\nkind: Region\nmetadata: {name: east}\nspec: {role: Witness}\n",
				Complete: true,
			},
			check: (*pass).quorum,
		},
		{
			Code: "MA011", Severity: SeverityError,
			Title: "a class in a DataStore with `topology.type: Mesh` of an engine that cannot do it: Redis, or PostgreSQL below 16",
			Why:   "changes go round in circles or are refused by the engine: the regions' copies drift apart",
			Example: Example{
				Before: oldMesh + "status: {regions: [{region: north, ready: \"True\", version: \"15.8\"}]}\n",
				After:  oldMesh + "status: {regions: [{region: north, ready: \"True\", version: \"16.4\"}]}\n",
			},
			check: (*pass).meshes,
		},
		{
			Code: "MA014", Severity: SeverityError,
			Title: "two flows match the same requests, or something is named that is not there: a class, key, flow, Region or DataStore",
			Why:   "what is declared does not hold: requests meet another flow's rules, or data that nothing is declared of",
			Example: Example{
				Before: "spec:\n  flows:\n  - {name: login, tier: Core, match: [{method: POST, path: \"/users/{id}\"}]}\n" +
					"  - {name: profile, tier: NonCore, match: [{method: POST, path: \"/users/{name}\"}]}\n",
				After: "spec:\n  flows:\n  - {name: login, tier: Core, match: [{method: POST, path: \"/users/{id}\"}]}\n" +
					"  - {name: profile, tier: NonCore, match: [{method: PUT, path: \"/users/{name}\"}]}\n",
			},
			check: (*pass).names,
		},
		{
			Code: "MA112", Severity: SeverityWarning,
			Title: "a partition key that looks like a mail address is not lowercased, or one that looks like a phone number is not normalised",
			Why:   "one user who is written in two ways has two homes, and two regions accept writes for the same person",
			Example: Example{
				Before: "spec:\n  partition: {keys: [{name: email, from: [{type: JSONBody, jsonBody: {pointer: /email}}]}]}\n",
				After:  "spec:\n  partition: {keys: [{name: email, from: [{type: JSONBody, jsonBody: {pointer: /email}}], normalize: [Trim, Lowercase]}]}\n",
			},
			check: (*pass).normalisation,
		},
	}
}

const oldMesh = "spec:\n  dataClasses:\n  - {name: profile, sync: [{method: StorageReplication, storageReplication: {store: users, tables: [users.profile]}}]}\n" +
	"---\nkind: DataStore\nmetadata: {name: users}\nspec:\n  engine: PostgreSQL\n  topology: {type: Mesh}\n" +
	"  endpoints: [{region: north, address: \"db.north.example.com:5432\", secretRef: {name: users}}]\n"

func regionDoc(name string) string {
	return fmt.Sprintf("---\nkind: Region\nmetadata: {name: %s}\nspec: {cluster: {kubeconfigSecretRef: {name: %s}}}\n", name, name)
}

func (p *pass) quorum() {
	if p.alone() || p.spec.Failover != nil && p.spec.Failover.Mode == "Manual" {
		return
	}
	n := len(p.Regions)
	if !p.Complete {
		for _, r := range p.spec.Regions {
			if p.Regions[r.Name] == nil {
				n++
			}
		}
	}
	const path = "spec.failover.mode"
	switch {
	case n >= voters:
	case !p.Complete:
		p.needs(path, "all Regions")
	default:
		p.tell(path, "add a Region with role: Witness in a third place, or set failover.mode: Manual and let a person decide",
			"regions are failed over without a person, and there are %d Regions that vote", n)
	}
}

func (p *pass) meshes() {
	var seen []string
	p.methods(v1alpha1.SyncStorageReplication, func(path string, _ v1alpha1.DataClass, s v1alpha1.SyncPolicy) {
		if s.StorageReplication == nil || slices.Contains(seen, s.StorageReplication.Store) {
			return
		}
		name := s.StorageReplication.Store
		seen = append(seen, name)
		path += ".storageReplication.store"
		d := p.Stores[name]
		switch {
		case d == nil && !p.Complete:
			p.needs(path, "DataStore "+name)
		case d == nil || d.Spec.Topology.Type != v1alpha1.TopologyMesh:
		case d.Spec.Engine == v1alpha1.EngineRedis:
			p.tell(path, "create a DataStore with topology.type: PrimaryReplica, or use OriginRead and Regenerate for sessions and caches",
				"DataStore %s is a Redis with topology Mesh", name)
		case d.Spec.Engine == v1alpha1.EnginePostgreSQL && d.Spec.Management != v1alpha1.StoreExternal:
			p.postgreSQL(path, d)
		}
	})
}

func (p *pass) postgreSQL(path string, d *v1alpha1.DataStore) {
	known := 0
	for _, r := range d.Status.Regions {
		end := strings.IndexFunc(r.Version, func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(r.Version)
		}
		major, err := strconv.Atoi(r.Version[:end])
		if err != nil {
			continue
		}
		known++
		if major < meshPostgreSQL {
			p.tell(path, "upgrade the server to PostgreSQL 16 or newer, or use a DataStore with topology.type: PrimaryReplica",
				"DataStore %s has topology Mesh, and its server in %s is PostgreSQL %s", d.Name, r.Region, r.Version)
		}
	}
	if known == 0 {
		p.needs(path, "the versions of the servers of DataStore "+d.Name+" (its status)")
	}
}

func (p *pass) normalisation() {
	if p.spec.Partition == nil {
		return
	}
	for i, k := range p.spec.Partition.Keys {
		words, stamped := keyWords(k)
		if stamped {
			continue
		}
		path := fmt.Sprintf("spec.partition.keys[%d].normalize", i)
		const immutable = "; a key that is in use cannot be changed: declare another one, and move the flows to it"
		switch {
		case contains(words, "mail") && !slices.Contains(k.Normalize, v1alpha1.NormalizeLowercase):
			p.tell(path, "set normalize: [Trim, Lowercase]"+immutable, "key %s looks like a mail address, and is not lowercased before it is hashed", k.Name)
		case contains(words, "phone", "mobile", "msisdn") && len(k.Normalize) == 0:
			p.tell(path, "set normalize: [DigitsOnly]"+immutable, "key %s looks like a phone number, and is hashed as it is written", k.Name)
		}
	}
}

// keyWords returns what a key and its sources are called, and whether it comes from session tokens alone, which have the
// slot and not the key.
func keyWords(k v1alpha1.PartitionKey) (words []string, stamped bool) {
	words, stamped = []string{k.Name}, true
	for _, s := range k.From {
		stamped = stamped && s.Type == v1alpha1.KeySourceSession
		for _, n := range []*v1alpha1.NamedSource{s.Header, s.Cookie, s.Query, s.Path} {
			if n != nil {
				words = append(words, n.Name)
			}
		}
		if s.JSONBody != nil {
			words = append(words, s.JSONBody.Pointer)
		}
		if s.JWTClaim != nil {
			words = append(words, s.JWTClaim.Name)
		}
	}
	return words, stamped
}

func contains(words []string, parts ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool {
		return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(strings.ToLower(w), part) })
	})
}
