package lint

import (
	"fmt"
	"slices"
	"strings"

	"multiactive.dev/operator/api/v1alpha1"
	desired "multiactive.dev/operator/internal/desired/slices"
)

// syncRules are about how data comes to the other regions.
func syncRules() []Rule {
	return []Rule{
		{
			Code: "MA006", Severity: SeverityError,
			Title: "OriginRead without Regenerate beside it, which is what a user meets when the origin cannot be asked",
			Why:   "the origin's outage becomes everyone's: whoever holds a session of it gets 503 everywhere until it is back",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - name: session\n    recreatable: \"Yes\"\n    sync:\n    - " + originRead,
				After:  "spec:\n  dataClasses:\n  - name: session\n    recreatable: \"Yes\"\n    sync:\n    - " + originRead + "    - {method: Regenerate}\n",
			},
			check: (*pass).originOnly,
		},
		{
			Code: "MA007", Severity: SeverityError,
			Title: "Regenerate for a class that a flow reads and that cannot be made again: `recreatable: No`, or `uniqueness: Global`",
			Why:   "data is lost by design: the other regions make a new record in place of the one that they do not have",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: password, sync: [{method: Regenerate}]}\n" + login,
				After:  "spec:\n  dataClasses:\n  - {name: password, sync: [{method: StorageReplication, storageReplication: {store: users}}]}\n" + login,
			},
			check: (*pass).regenerated,
		},
		{
			Code: "MA008", Severity: SeverityError,
			Title: "MessageQueue for a mutable class without `orderBy`",
			Why:   "an old update that arrives late overwrites a new one",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: profile, mutability: Mutable, sync: [{method: MessageQueue, messageQueue: {topic: profile}}]}\n",
				After:  "spec:\n  dataClasses:\n  - {name: profile, mutability: Mutable, sync: [{method: MessageQueue, messageQueue: {topic: profile, orderBy: Version}}]}\n",
			},
			check: (*pass).unordered,
		},
		{
			Code: "MA009", Severity: SeverityError,
			Title: "a topic's retention, or that of a MySQL's or MariaDB's binary log, is shorter than the class's objective while a region is lost (`staleness.outage`, default 1h)",
			Why:   "records are deleted before a region that was away has them: a silent gap after a long outage",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - name: account\n    mutability: CreateOnly\n    staleness: {outage: 72h}\n" +
					"    sync: [{method: MessageQueue, messageQueue: {topic: account, retention: 24h}}]\n",
				After: "spec:\n  dataClasses:\n  - name: account\n    mutability: CreateOnly\n    staleness: {outage: 72h}\n" +
					"    sync: [{method: MessageQueue, messageQueue: {topic: account, retention: 168h}}]\n",
			},
			check: (*pass).retention,
		},
		{
			Code: "MA012", Severity: SeverityError,
			Title: "LastWriterWins without a timestamp column",
			Why:   "there is nothing to compare: which of two versions stands is left to chance",
			Example: Example{
				Before: "spec:\n  dataClasses:\n  - {name: profile, conflict: {policy: LastWriterWins}}\n",
				After:  "spec:\n  dataClasses:\n  - {name: profile, conflict: {policy: LastWriterWins, lastWriterWins: {timestampColumn: updated_at}}}\n",
			},
			check: (*pass).timestamps,
		},
		{
			Code: "MA017", Severity: SeverityError,
			Title: "a change raises the partitions of a topic whose class has `orderBy: Key`",
			Why:   "keys move to other partitions, and a key's newer records overtake its older ones: an old update overwrites a new one",
			Example: Example{
				Stored: "spec:\n  dataClasses:\n  - " + orderedBy + "orderBy: Key, partitions: 12}}]}\n",
				Before: "spec:\n  dataClasses:\n  - " + orderedBy + "orderBy: Key, partitions: 24}}]}\n",
				After:  "spec:\n  dataClasses:\n  - " + orderedBy + "orderBy: Version, partitions: 24}}]}\n",
			},
			check: (*pass).partitions,
		},
	}
}

const (
	orderedBy  = "{name: profile, mutability: Mutable, sync: [{method: MessageQueue, messageQueue: {topic: profile, "
	originRead = "{method: OriginRead, originRead: {type: FetchSession, fetchSession: {path: /internal/session}, token: {cookie: sid}}}\n"
)

// methods calls visit for each class and means of it.
func (p *pass) methods(method v1alpha1.SyncMethod, visit func(path string, c v1alpha1.DataClass, s v1alpha1.SyncPolicy)) {
	for i, c := range p.spec.DataClasses {
		for j, s := range c.Sync {
			if s.Method == method {
				visit(syncPath(i, j), c, s)
			}
		}
	}
}

// readers names the flows that read a class.
func (p *pass) readers(class string) []string {
	var out []string
	for _, f := range p.spec.Flows {
		if slices.Contains(f.Reads, class) {
			out = append(out, f.Name)
		}
	}
	return out
}

func (p *pass) originOnly() {
	if p.alone() {
		return
	}
	p.methods(v1alpha1.SyncOriginRead, func(path string, c v1alpha1.DataClass, _ v1alpha1.SyncPolicy) {
		if !has(c, v1alpha1.SyncRegenerate) {
			p.tell(path, fmt.Sprintf("add {method: Regenerate} to sync of class %s, and let the client log in again when it is told so", c.Name),
				"class %s is read from its origin, and there is nothing else when that cannot be asked", c.Name)
		}
	})
}

func (p *pass) regenerated() {
	p.methods(v1alpha1.SyncRegenerate, func(path string, c v1alpha1.DataClass, _ v1alpha1.SyncPolicy) {
		readers, why := p.readers(c.Name), ""
		switch {
		case len(readers) == 0:
			return
		case global(c):
			why = "its keys exist once in all regions (uniqueness: Global)"
		case c.Recreatable != v1alpha1.ChoiceYes:
			why = "it is not declared recreatable"
		default:
			return
		}
		p.tell(path, fmt.Sprintf("copy class %s by MessageQueue or StorageReplication; or set recreatable: \"Yes\", if a lost record is no loss", c.Name),
			"class %s is to be made again where it is missing, and %s; it is read by: %s", c.Name, why, strings.Join(readers, ", "))
	})
}

func (p *pass) unordered() {
	p.methods(v1alpha1.SyncMessageQueue, func(path string, c v1alpha1.DataClass, s v1alpha1.SyncPolicy) {
		if mutable(c) && (s.MessageQueue == nil || s.MessageQueue.OrderBy == "") {
			p.tell(path+".messageQueue.orderBy", "set orderBy: Version, and let consumers ignore older versions; or orderBy: Key; or mutability: CreateOnly, if records never change",
				"class %s is mutable and comes through a queue, and nothing keeps its updates in order", c.Name)
		}
	})
}

func (p *pass) partitions() {
	if p.Stored == nil {
		return
	}
	p.methods(v1alpha1.SyncMessageQueue, func(path string, c v1alpha1.DataClass, s v1alpha1.SyncPolicy) {
		i := slices.IndexFunc(p.Stored.Spec.DataClasses, func(d v1alpha1.DataClass) bool { return d.Name == c.Name })
		if i < 0 || s.MessageQueue == nil || s.MessageQueue.OrderBy != desired.OrderByKey {
			return
		}
		stored := desired.MessageQueue(p.Stored.Spec.DataClasses[i])
		if stored == nil || desired.Partitions(s.MessageQueue) <= desired.Partitions(stored) {
			return
		}
		p.tell(path+".messageQueue.partitions", fmt.Sprintf("leave partitions at %d; for more, declare another class with a topic of its own and move to it, or set orderBy: Version "+
			"and let consumers ignore older versions", desired.Partitions(stored)),
			"class %s keeps its records in order by key, and its topic is to have %d partitions instead of %d", c.Name,
			desired.Partitions(s.MessageQueue), desired.Partitions(stored))
	})
}

func (p *pass) retention() {
	short := desired.ShortTopics(p.Service)
	p.methods(v1alpha1.SyncMessageQueue, func(path string, c v1alpha1.DataClass, _ v1alpha1.SyncPolicy) {
		for _, s := range short {
			if s.DataClass == c.Name {
				p.tell(path+".messageQueue.retention", fmt.Sprintf("raise retention to %s or more, with room for the repair", s.Outage),
					"class %s may be %s behind while a region is lost, and its topic keeps records for %s", c.Name, s.Outage, s.Retention)
			}
		}
	})
	p.binaryLogs()
}

// binaryLogs tells of servers that keep less than a class needs.
func (p *pass) binaryLogs() {
	p.methods(v1alpha1.SyncStorageReplication, func(path string, c v1alpha1.DataClass, s v1alpha1.SyncPolicy) {
		if regions := p.Short[c.Name]; len(regions) > 0 && s.StorageReplication != nil {
			_, outage := desired.Objectives(c)
			p.tell(path+".storageReplication.store", fmt.Sprintf("set binlog_expire_logs_seconds to %.0f or more there, with room for the repair (and raise max_binlog_total_size, if that is set), "+
				"or lower staleness.outage of the class", outage.Seconds()),
				"class %s may be %s behind while a region is lost, and DataStore %s keeps its binary log for less in: %s", c.Name, outage, s.StorageReplication.Store, strings.Join(regions, ", "))
		}
	})
}

// conflicts calls visit for the classes with a policy.
func (p *pass) conflicts(policy v1alpha1.ConflictPolicyType, visit func(path string, c v1alpha1.DataClass, last v1alpha1.LastWriterWins)) {
	for i, c := range p.spec.DataClasses {
		if c.Conflict == nil || c.Conflict.Policy != policy {
			continue
		}
		var last v1alpha1.LastWriterWins
		if c.Conflict.LastWriterWins != nil {
			last = *c.Conflict.LastWriterWins
		}
		visit(classPath(i)+".conflict", c, last)
	}
}

func (p *pass) timestamps() {
	p.conflicts(v1alpha1.ConflictLastWriterWins, func(path string, c v1alpha1.DataClass, last v1alpha1.LastWriterWins) {
		if last.TimestampColumn == "" {
			p.tell(path+".lastWriterWins.timestampColumn", "name the column that holds the time of the write, or use policy OwnerWins",
				"the last writer of class %s is to win, and no column says when it wrote", c.Name)
		}
	})
}
