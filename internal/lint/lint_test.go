package lint_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"multiactive.dev/operator/api/v1alpha1"
	"multiactive.dev/operator/internal/lint"
)

// read makes a context of YAML documents as examples have them: one without a kind is a part of a service in two
// regions.
func read(t *testing.T, text string) lint.Context {
	t.Helper()
	c := lint.Context{Stores: map[string]*v1alpha1.DataStore{}, Regions: map[string]*v1alpha1.Region{}}
	for document := range strings.SplitSeq(text, "---\n") {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			t.Fatal(err)
		}
		switch head.Kind {
		case "DataStore":
			d := strictly[v1alpha1.DataStore](t, document)
			c.Stores[d.Name] = d
		case "Region":
			r := strictly[v1alpha1.Region](t, document)
			c.Regions[r.Name] = r
		case "":
			c.Service = strictly[v1alpha1.MultiActiveService](t, document)
		default:
			t.Fatalf("an example with a %s", head.Kind)
		}
	}
	if c.Service == nil {
		t.Fatal("no service in the example")
	}
	if len(c.Service.Spec.Regions) == 0 {
		c.Service.Spec.Regions = []v1alpha1.ServiceRegion{{Name: "north"}, {Name: "south"}}
	}
	return c
}

func strictly[T any](t *testing.T, document string) *T {
	t.Helper()
	out := new(T)
	if err := yaml.UnmarshalStrict([]byte(document), out); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	return out
}

func codes(findings []lint.Finding) []string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Code)
	}
	return slices.Compact(out)
}

// TestExamples runs every rule's own example, before and after it was mended: it is found by that rule alone, and then
// by none.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, r := range lint.Rules() {
		t.Run(r.Code, func(t *testing.T) {
			t.Parallel()
			before, after := read(t, r.Example.Before), read(t, r.Example.After)
			before.Complete, after.Complete = r.Example.Complete, r.Example.Complete
			if r.Example.Stored != "" {
				before.Stored, after.Stored = read(t, r.Example.Stored).Service, read(t, r.Example.Stored).Service
			}
			found := lint.Check(before).Findings
			if diff := cmp.Diff([]string{r.Code}, codes(found)); diff != "" {
				t.Errorf("before (-want +got):\n%s\n%+v", diff, found)
			}
			for _, f := range found {
				if f.Severity != r.Severity || f.Path == "" || f.Message == "" || f.Fix == "" || f.Consequence != r.Why {
					t.Errorf("a finding that does not say all: %+v", f)
				}
			}
			if found := lint.Check(after).Findings; len(found) > 0 {
				t.Errorf("mended, there is still %+v", found)
			}
		})
	}
}

// TestRules holds the codes: sorted, each once, and telling the severity.
func TestRules(t *testing.T) {
	t.Parallel()
	var last string
	for _, r := range lint.Rules() {
		if r.Code <= last {
			t.Errorf("%s after %s", r.Code, last)
		}
		last = r.Code
		want := lint.SeverityError
		if strings.HasPrefix(r.Code, "MA1") {
			want = lint.SeverityWarning
		}
		if !regexp.MustCompile(`^MA[01][0-9]{2}$`).MatchString(r.Code) || r.Severity != want || r.Title == "" || r.Why == "" {
			t.Errorf("%s is not whole: %s %q %q", r.Code, r.Severity, r.Title, r.Why)
		}
	}
}

const (
	keys  = "spec:\n  partition: {keys: [{name: user, from: [{type: Header, header: {name: X-User}}]}, {name: shop, from: [{type: Header, header: {name: X-Shop}}]}]}\n"
	ident = "  flows:\n  - {name: pay, tier: Core, key: user, match: [{method: POST, path: /pay}], writes: [account, balance], servedBy: HomeRegion, onHomeLoss: {action: Takeover}}\n"
)

// TestCheck has what the examples of the rules leave out.
func TestCheck(t *testing.T) {
	t.Parallel()
	const both = keys + "  dataClasses:\n  - {name: account, uniqueness: Global, sync: [{method: StorageReplication, storageReplication: {store: db}}]}\n" +
		"  - {name: balance, consistency: Strong, sync: [{method: StorageReplication, storageReplication: {store: db}}]}\n" + ident
	const store = "---\nkind: DataStore\nmetadata: {name: db}\nspec: {engine: MySQL, topology: {type: Mesh}, management: %s, endpoints: []}\n"
	for name, c := range map[string]struct {
		text     string
		complete bool
		// want has a line for each finding, code and path, and one for what could not be checked.
		want []string
	}{
		"nothing declared": {text: "spec: {}\n" + threeRegions},
		"one region has nobody to differ from": {
			text: "spec:\n  regions: [{name: north}]\n  dataClasses: [{name: a, uniqueness: Global, consistency: Strong}]\n" +
				"  flows: [{name: f, tier: Core, match: [{path: /}], reads: [a], writes: [a]}]\n",
			want: []string{"MA014 ? spec.regions[0].name Region north"},
		},
		"taken over, in a store that is consistent by itself": {text: both + fmt.Sprintf(store, "External") + threeRegions},
		"taken over, in a store that replicates": {
			text: both + fmt.Sprintf(store, "Managed") + threeRegions,
			want: []string{"MA001 spec.flows[0].writes[0]", "MA002 spec.flows[0].writes[1]"},
		},
		"taken over, in a store that is not known": {
			text: both + threeRegions,
			want: []string{
				"MA001 ? spec.flows[0].writes[0] DataStore db", "MA002 ? spec.flows[0].writes[1] DataStore db", "MA011 ? spec.dataClasses[0].sync[0].storageReplication.store DataStore db",
				"MA014 ? spec.dataClasses[0].sync[0].storageReplication.store DataStore db", "MA014 ? spec.dataClasses[1].sync[0].storageReplication.store DataStore db",
			},
		},
		"nobody has the Region or the DataStore": {
			text: "spec:\n  dataClasses: [{name: a, sync: [{method: StorageReplication, storageReplication: {store: db}}]}]\n  failover: {mode: Manual}\n", complete: true,
			want: []string{"MA014 spec.regions[0].name", "MA014 spec.regions[1].name", "MA014 spec.dataClasses[0].sync[0].storageReplication.store"},
		},
		"three regions of its own vote": {text: "spec:\n  regions: [{name: north}, {name: south}, {name: east}]\n" + threeRegions},
		"names of nothing": {
			text: "spec:\n  dataClasses: [{name: a, home: {type: ByKey, key: k}}, {name: b, home: {type: Pinned, pinned: {regions: [south, west]}}}]\n" +
				"  flows: [{name: f, tier: NonCore, key: k, match: [{path: /}], reads: [x], writes: [a, y], dependsOn: [g]}]\n" +
				"  unmatched: {key: k}\n  announcements: [{flows: [\"*\", g], text: []}]\n" + threeRegions,
			want: []string{
				"MA014 spec.flows[0].key", "MA014 spec.flows[0].reads[0]", "MA014 spec.flows[0].writes[1]", "MA014 spec.flows[0].dependsOn[0]",
				"MA014 spec.unmatched.key", "MA014 spec.announcements[0].flows[1]", "MA014 spec.dataClasses[0].home.key", "MA014 spec.dataClasses[1].home.pinned.regions[1]",
			},
		},
		"matches that differ in host, method or kind": {text: "spec:\n  flows:\n  - {name: f, tier: Core, match: [{path: /a}, {path: /a}, {path: /a/}]}\n" +
			"  - {name: g, tier: NonCore, match: [{path: /a, host: h}, {path: /a, method: GET}, {path: \"/{x}\"}]}\n" + threeRegions},
		"the same host in capitals": {
			text: "spec:\n  flows:\n  - {name: f, tier: Core, match: [{host: H, path: /a}]}\n  - {name: g, tier: NonCore, match: [{path: /b}, {host: h, path: /a}]}\n" + threeRegions,
			want: []string{"MA014 spec.flows[1].match[1]"},
		},
		"a key that no request has": {
			text: "spec:\n  partition: {keys: [{name: id, from: [{type: Path, path: {name: id}}]}, {name: s, from: [{type: Session}]}]}\n" +
				"  flows:\n  - {name: f, tier: Core, key: id, match: [{path: \"/u/{id}\"}, {path: /me}], servedBy: HomeRegion}\n" +
				"  - {name: g, tier: Core, key: s, match: [{path: /g}], servedBy: HomeRegion}\n" +
				"  - {name: h, tier: NonCore, match: [{path: /h}]}\n  unmatched: {otherMethods: HomeRegion, key: id}\n" + threeRegions,
			want: []string{"MA013 spec.flows[0].match[1].path", "MA013 spec.unmatched.key", "MA013 spec.flows[1].key"},
		},
		"a home that is pinned needs no key": {text: "spec:\n  dataClasses: [{name: a, home: {type: Pinned, pinned: {regions: [north]}}}]\n" +
			"  flows: [{name: f, tier: Core, match: [{path: /}], writes: [a], servedBy: HomeRegion}]\n" + threeRegions},
		"a home by the flow's key, and another": {
			text: keys + "  dataClasses: [{name: a}, {name: b, home: {type: ByKey, key: shop}}]\n" +
				"  flows: [{name: f, tier: Core, key: user, match: [{path: /}], writes: [a, b], servedBy: HomeRegion}]\n" + threeRegions,
			want: []string{"MA015 spec.flows[0].writes[1]"},
		},
		"a home that is pinned is shared by a class that has none": {text: "spec:\n  partition: {keys: [{name: user, from: [{type: Header, header: {name: X-User}}]}]}\n  dataClasses: [{name: a}, {name: b, home: {type: Pinned, pinned: {regions: [north]}}}]\n" +
			"  flows: [{name: f, tier: Core, match: [{path: /}], writes: [a, b], servedBy: HomeRegion}]\n" + threeRegions},
		"nothing of a deferral": {
			text: keys + "  flows: [{name: f, tier: Core, key: user, match: [{path: /}], servedBy: HomeRegion, onHomeLoss: {action: Defer}}]\n" + threeRegions,
			want: []string{"MA005 spec.flows[0].onHomeLoss.defer.idempotencyHeader", "MA005 spec.flows[0].onHomeLoss.defer.expireAfter", "MA016 spec.flows[0].onHomeLoss.defer.admitPath"},
		},
		"a deferral that is over at once": {
			text: keys + "  flows: [{name: f, tier: Core, key: user, match: [{path: /}], servedBy: HomeRegion, onHomeLoss: {action: Defer, " +
				"defer: {admitPath: /a, idempotencyHeader: I, expireAfter: 0s}}}]\n" + threeRegions,
			want: []string{"MA005 spec.flows[0].onHomeLoss.defer.expireAfter"},
		},
		"a unique record that is made again": {
			text: "spec:\n  dataClasses: [{name: a, uniqueness: Global, recreatable: \"Yes\", sync: [{method: Regenerate}]}, {name: b, sync: [{method: Regenerate}]}]\n" +
				"  flows: [{name: f, tier: NonCore, match: [{path: /}], reads: [a]}]\n" + threeRegions,
			want: []string{"MA007 spec.dataClasses[0].sync[0]"},
		},
		"Redis in a mesh, named by two classes": {
			text: "spec:\n  dataClasses:\n  - {name: a, sync: [{method: StorageReplication, storageReplication: {store: r}}]}\n" +
				"  - {name: b, sync: [{method: StorageReplication, storageReplication: {store: r}}]}\n" +
				"---\nkind: DataStore\nmetadata: {name: r}\nspec: {engine: Redis, topology: {type: Mesh}, endpoints: []}\n" + threeRegions,
			want: []string{"MA011 spec.dataClasses[0].sync[0].storageReplication.store"},
		},
		"PostgreSQL of unknown version": {
			text: "spec:\n  dataClasses:\n  - {name: a, sync: [{method: StorageReplication, storageReplication: {store: p}}]}\n" +
				"---\nkind: DataStore\nmetadata: {name: p}\nspec: {engine: PostgreSQL, topology: {type: Mesh}, endpoints: []}\nstatus: {regions: [{region: north, ready: \"False\"}]}\n" + threeRegions,
			want: []string{"MA011 ? spec.dataClasses[0].sync[0].storageReplication.store the versions of the servers of DataStore p (its status)"},
		},
		"just within the bounds": {text: keys + "  dataClasses:\n  - {name: a, mutability: CreateOnly, staleness: {normal: 1s, outage: 24h}, sync: [{method: MessageQueue, messageQueue: {topic: a, retention: 24h}}]}\n" +
			"  - {name: b, conflict: {policy: LastWriterWins, lastWriterWins: {timestampColumn: at, maxClockSkew: 1s}}}\n" +
			"  flows: [{name: f, tier: NonCore, key: user, match: [{path: /}], reads: [a, b], servedBy: HomeRegion}]\n  announcements: [{flows: [\"*\"], text: []}]\n" + threeRegions},
		"survivors that want as many replicas as they may have": {text: scaled + "  workload: {autoscaling: {minReplicas: 2, maxReplicas: 4}}\n" + threeRegions},
		"survivors that want one more": {
			text: scaled + "  workload: {autoscaling: {minReplicas: 2, maxReplicas: 3}}\n" + threeRegions, want: []string{"MA106 spec.workload.autoscaling.maxReplicas"},
		},
		"survivors that others scale":     {text: scaled + "  workload: {replicas: 3}\n" + threeRegions},
		"survivors that stay as they are": {text: strings.Replace(scaled, "Scale", "Keep", 1) + "  workload: {autoscaling: {minReplicas: 3, maxReplicas: 3}}\n" + threeRegions},
		"survivors of what may fail":      {text: strings.Replace(scaled, "tier: Core", "tier: NonCore", 1) + "  workload: {autoscaling: {minReplicas: 3, maxReplicas: 3}}\n" + threeRegions},
		"nobody survives who owns anything": {
			text: strings.ReplaceAll(scaled, "weight: 25", "weight: 0") + "  workload: {autoscaling: {minReplicas: 3, maxReplicas: 3}}\n" + threeRegions,
		},
		"a service that is shed without a word": {
			text: "spec:\n  flows: [{name: f, tier: NonCore, match: [{path: /}], whenDegraded: Shed}]\n" + threeRegions,
			want: []string{"MA109 spec.flows[0]"},
		},
		"two regions, and nobody says whether there is a third": {
			text: "spec: {}\n---\nkind: Region\nmetadata: {name: north}\nspec: {}\n---\nkind: Region\nmetadata: {name: south}\nspec: {}\n",
			want: []string{"MA010 ? spec.failover.mode all Regions"},
		},
		"keys that are not what users write": {
			text: "spec:\n  partition: {keys: [{name: mail, from: [{type: Session}]}, {name: order, from: [{type: Query, query: {name: id}}]}, {name: p, from: [{type: JWTClaim, jwtClaim: {name: Phone}}]}]}\n" +
				"  dataClasses: [{name: s, recreatable: \"Yes\", sync: [{method: OriginRead, originRead: {type: ForwardRequest, token: {cookie: c}}}, {method: Regenerate}]}]\n" + threeRegions,
			want: []string{"MA112 spec.partition.keys[2].normalize"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := read(t, c.text)
			in.Complete = c.complete
			result := lint.Check(in)
			var got []string
			for _, f := range result.Findings {
				got = append(got, f.Code+" "+f.Path)
			}
			for _, u := range result.Unchecked {
				got = append(got, fmt.Sprintf("%s ? %s %s", u.Code, u.Path, u.Needs))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// scaled has half of its keys in one region, and a quarter in each of two others.
const scaled = "spec:\n  regions: [{name: north, weight: 50}, {name: south, weight: 25}, {name: east, weight: 25}]\n  failover: {survivors: Scale}\n" +
	"  flows: [{name: a, tier: Core, match: [{path: /a}]}, {name: b, tier: NonCore, match: [{path: /b}]}]\n"

const threeRegions = "---\nkind: Region\nmetadata: {name: north}\nspec: {}\n---\nkind: Region\nmetadata: {name: south}\nspec: {}\n---\nkind: Region\nmetadata: {name: east}\nspec: {}\n"

// TestAccept accepts warnings with a reason, and errors never.
func TestAccept(t *testing.T) {
	t.Parallel()
	const flaws = "spec:\n  flows:\n  - {name: a, tier: Core, match: [{path: /a}]}\n  - {name: b, tier: Core, match: [{path: /a}]}\n" + threeRegions
	for name, c := range map[string]struct {
		annotations string
		want        []lint.Finding
	}{
		"not accepted": {want: []lint.Finding{{Code: "MA014", Path: "spec.flows[1].match[0]"}, {Code: "MA101", Path: "spec.flows"}}},
		"a warning": {
			annotations: "{multiactive.dev/accept.MA101: all of them are sold, example.com/accept.MA014: others'}",
			want:        []lint.Finding{{Code: "MA014", Path: "spec.flows[1].match[0]"}, {Code: "MA101", Path: "spec.flows", Accepted: "all of them are sold"}},
		},
		"an error, an unknown code, and no reason": {
			annotations: "{multiactive.dev/accept.MA014: please, multiactive.dev/accept.MA1: typo, multiactive.dev/accept.MA101: ' '}",
			want: []lint.Finding{
				{Code: "MA014", Path: "spec.flows[1].match[0]"}, {Code: "MA101", Path: "spec.flows"}, {Code: "MA113", Path: "metadata.annotations[multiactive.dev/accept.MA014]"},
				{Code: "MA113", Path: "metadata.annotations[multiactive.dev/accept.MA1]"}, {Code: "MA113", Path: "metadata.annotations[multiactive.dev/accept.MA101]"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := flaws
			if c.annotations != "" {
				text = "metadata: {annotations: " + c.annotations + "}\n" + text
			}
			in := read(t, text)
			before := in.Service.DeepCopy()
			result := lint.Check(in)
			var got []lint.Finding
			for _, f := range result.Findings {
				got = append(got, lint.Finding{Code: f.Code, Path: f.Path, Accepted: f.Accepted})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, in.Service); diff != "" {
				t.Errorf("the service was changed:\n%s", diff)
			}
			if diff := cmp.Diff(result, lint.Check(in)); diff != "" {
				t.Errorf("another time, another result:\n%s", diff)
			}
		})
	}
}

// TestRemoteCalls tells methods of gRPC from other paths.
func TestRemoteCalls(t *testing.T) {
	t.Parallel()
	const keep, stale, own = "{action: Defer, defer: {admitPath: /a, idempotencyHeader: I, expireAfter: 1h}}", "{action: ReadOnly}", "{action: Takeover}"
	for name, c := range map[string]struct {
		match, loss string
		want        int
	}{
		"a method":                      {"{method: POST, path: /bank.v1.Accounts/Transfer}", keep, 1},
		"a method, read in an outage":   {"{method: POST, path: /bank.v1.Accounts/GetBalance}", stale, 1},
		"all methods of a service":      {"{path: /bank.v1.Accounts/}", keep, 1},
		"methods by a variable":         {`{path: "/bank_2.Accounts/{method}"}`, keep, 1},
		"two methods are told once":     {"{path: /bank.Accounts/Transfer}, {path: /bank.Accounts/Pay}", keep, 1},
		"taken over":                    {"{method: POST, path: /bank.v1.Accounts/Transfer}", own, 0},
		"another method than gRPC's":    {"{method: PUT, path: /bank.v1.Accounts/Transfer}", keep, 0},
		"a path of files":               {"{method: POST, path: /upload.php/File}", keep, 0},
		"a host in the path":            {"{method: POST, path: /shop.example.com/Pay}", keep, 0},
		"a well-known path":             {"{method: POST, path: /.Well/Known}", keep, 0},
		"a version":                     {"{method: POST, path: /v1.2/Pay}", keep, 0},
		"no package, like any path":     {"{method: POST, path: /Accounts/Transfer}", keep, 0},
		"a method in small letters":     {"{method: POST, path: /bank.v1.Accounts/transfer}", keep, 0},
		"more than a method":            {"{method: POST, path: /bank.v1.Accounts/Transfer/Now}", keep, 0},
		"a service alone":               {"{method: POST, path: /bank.v1.Accounts}", keep, 0},
		"a service by a variable":       {`{method: POST, path: "/{service}/Transfer"}`, keep, 0},
		"a word that is none":           {"{method: POST, path: /bank..Accounts/Transfer}", keep, 0},
		"a service with another letter": {"{method: POST, path: /bank.Acc-ounts/Transfer}", keep, 0},
		"a package in capital letters":  {"{method: POST, path: /Bank.Accounts/Transfer}", keep, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := read(t, keys+"  flows: [{name: f, tier: Core, key: user, match: ["+c.match+"], servedBy: HomeRegion, onHomeLoss: "+c.loss+"}]\n")
			found := slices.DeleteFunc(lint.Check(in).Findings, func(f lint.Finding) bool { return f.Code != "MA114" })
			if len(found) != c.want {
				t.Errorf("found %+v, want %d", found, c.want)
			}
		})
	}
}

// TestBinaryLogs has servers keep less than a class needs.
func TestBinaryLogs(t *testing.T) {
	t.Parallel()
	in := read(t, "spec:\n  dataClasses:\n  - {name: a, staleness: {outage: 48h}, sync: [{method: StorageReplication, storageReplication: {store: db}}]}\n"+
		"  - {name: b, sync: [{method: StorageReplication, storageReplication: {store: db}}]}\n")
	found := func() []lint.Finding {
		return slices.DeleteFunc(lint.Check(in).Findings, func(f lint.Finding) bool { return f.Code != "MA009" })
	}
	if got := found(); len(got) > 0 {
		t.Errorf("nobody has looked, and found is %+v", got)
	}
	in.Short = map[string][]string{"a": {"north", "south"}}
	got := found()
	if len(got) != 1 || got[0].Path != "spec.dataClasses[0].sync[0].storageReplication.store" || !strings.Contains(got[0].Fix, "172800 or more") ||
		!strings.Contains(got[0].Message, "DataStore db keeps its binary log for less in: north, south") {
		t.Errorf("found %+v", got)
	}
}

// TestPartitions raises partitions of topics in every way that is no flaw.
func TestPartitions(t *testing.T) {
	t.Parallel()
	class := func(queue string) string {
		return "spec:\n  dataClasses:\n  - {name: a, mutability: CreateOnly, sync: [{method: MessageQueue, messageQueue: {topic: a" + queue + "}}]}\n" +
			"  flows: [{name: f, tier: Core, match: [{path: /}], reads: [a], servedBy: HomeRegion}, {name: g, tier: NonCore, match: [{path: /g}]}]\n"
	}
	for name, c := range map[string]struct {
		stored, changed string
		want            int
	}{
		"raised":                       {", orderBy: Key, partitions: 12", ", orderBy: Key, partitions: 13", 1},
		"raised above the default":     {", orderBy: Key", ", orderBy: Key, partitions: 13", 1},
		"raised, and ordered from now": {", partitions: 12", ", orderBy: Key, partitions: 13", 1},
		"as they are":                  {", orderBy: Key, partitions: 24", ", orderBy: Key, partitions: 24", 0},
		"lowered, which is refused":    {", orderBy: Key, partitions: 24", ", orderBy: Key, partitions: 12", 0},
		"raised where versions say":    {", partitions: 12", ", orderBy: Version, partitions: 24", 0},
		"raised of records that stay":  {", partitions: 12", ", partitions: 24", 0},
		"nothing is in force":          {"", ", orderBy: Key, partitions: 24", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := read(t, class(c.changed))
			if c.stored != "" {
				in.Stored = read(t, class(c.stored)).Service
			}
			found := slices.DeleteFunc(lint.Check(in).Findings, func(f lint.Finding) bool { return f.Code != "MA017" })
			if len(found) != c.want {
				t.Errorf("found %+v, want %d", found, c.want)
			}
		})
	}
}
