// Package storage has the values that are known of, and wanted from, the database servers of a
// DataStore: what the engines observe, what plans decide with, and what is carried out. It has no
// behaviour of its own and must never hold a credential: its values end up in statuses and logs.
package storage

import (
	"iter"
	"slices"
	"time"
)

// Want is what one region's server of a store is to be.
type Want struct {
	// Store is the DataStore's name.
	Store string
	// Region is the server's own.
	Region string
	// Regions of the store, all of them, in declared order. The order decides the numbers that servers
	// must not share (server ids, domains, offsets of generated keys), so it never changes but at its end.
	Regions []string
	// Sources are the other regions that this server replicates from: in a mesh all of them, else the
	// primary, and none where this server is the primary.
	Sources []Source
	// Mesh: every server is written to. Otherwise one is, and Writable says whether this one.
	Mesh     bool
	Writable bool
	// Tables that services declare, as schema.table, sorted; for Redis patterns of keys.
	Tables []string
	// Conflicts has what is to stand of rows that a region changed and did not ship before it was lost, where others
	// have changed them since. Without any, links from it go on by themselves, and what does not fit stops them. Tables that
	// are not among them are WinnerNobody's.
	Conflicts []ConflictPolicy
	// Outage is the longest outage that any service means to sit through: what a region that is away has not
	// read yet must be kept for so long.
	Outage time.Duration
}

// Source is a server that another one replicates from.
type Source struct {
	// Region of the server.
	Region string
	// Address is host:port.
	Address string
	// Accepted is the Token of the loss that the server may have by reading from there; empty for none.
	Accepted string
}

// Observation is everything that one look at a server tells.
type Observation struct {
	// Version as the server tells it, such as "10.11.14-MariaDB".
	Version string
	// Prepared: the operator's own schema and the user that others replicate as are there.
	Prepared bool
	// Writable: the server accepts writes from those that are not administrators.
	Writable bool
	// Findings are what keeps the server from being, or staying, part of the store, worst first.
	Findings []Finding
	// Links that exist, by source region: also those that are not wanted any more.
	Links map[string]Link
	// Positions are what the server has, see Positions.
	Positions Positions
	// Retained says for how long, at the present rate of writes, the server keeps what a link that is
	// away has not read. 0: not known.
	Retained time.Duration
}

// Positions are by region where a change was first written: everything up to that number, in that
// region's own counting, is on the server. A server's own region is among them. Engines count by what
// they have: transactions of a domain (MariaDB), of a server (MySQL), bytes of a log (PostgreSQL, Redis).
type Positions map[string]int64

// Link is a server's replication from one region.
type Link struct {
	// Address that it reads from, host:port.
	Address string
	// Receiving: it is connected to the source. Applying: what arrives is applied.
	Receiving, Applying bool
	// Stopped: somebody stopped it; it did not fail.
	Stopped bool
	// Received is the position up to which changes of the source region have arrived, at least what is
	// applied; -1: the engine does not tell.
	Received int64
	// Fault of the link, nil while there is none.
	Fault *Fault
	// Mendable: setting the link up anew may find that the fault is none.
	Mendable bool
	// Bootstrap: the server lacks what the source does not have any more. Whoever operates it must seed it.
	Bootstrap *Bootstrap
}

// Fault is what an engine says of a link that failed.
type Fault struct {
	// Kind sorts faults by what is to be done.
	Kind FaultKind
	// Code of the engine, such as "1062" or "23505"; "" without one.
	Code string
	// Message of the engine, without credentials and at most 512 bytes long.
	Message string
	// Remedy is what a person does about it: a sentence, with the statement where there is one.
	Remedy string
}

// FaultKind sorts faults.
type FaultKind string

const (
	// FaultConnection: the source cannot be reached; the engine tries again by itself.
	FaultConnection FaultKind = "Connection"
	// FaultCredentials: the source refuses the user.
	FaultCredentials FaultKind = "Credentials"
	// FaultConflict: a change does not fit what is there, such as a key that exists.
	FaultConflict FaultKind = "Conflict"
	// FaultPurged: the source does not have any more what comes next.
	FaultPurged FaultKind = "Purged"
	// FaultDisk: the server cannot write.
	FaultDisk FaultKind = "Disk"
	// FaultOther is any other.
	FaultOther FaultKind = "Other"
)

// Restartable reports whether starting the link again may help and can do no harm: nothing is skipped.
func (k FaultKind) Restartable() bool {
	return k == FaultConnection || k == FaultDisk || k == FaultCredentials
}

// Bootstrap says how a server is given the history of a source.
type Bootstrap struct {
	// Why it is needed, a sentence.
	Why string
	// Commands seed the server, in order, for a shell; passwords are asked for, never named.
	Commands []string
	// Loss is what the server would lose by it, where the engine can go on by itself once that is accepted; nil otherwise.
	Loss *Loss
}

// Loss is what a server alone has, and would not have any more, as far as it can be estimated.
type Loss struct {
	// Token names it: another loss has another one.
	Token string
	// Returning: the data of both servers come from one primary, and nobody else has written to them since they had the same. Only
	// then the estimate is one, and the loss what an asynchronous copy loses with its primary.
	Returning bool
	// Keys are how many the server has in all.
	Keys int64
	// Span is the time in which that was written which the source lacks; -1: not known.
	Span time.Duration
	// Bytes of the server's log that the source has not read; -1: not known.
	Bytes int64
}

// Finding is something about a server that is not as it must be.
type Finding struct {
	// Check names what was looked at: a setting as the engine calls it ("log_bin"), a privilege, or a table.
	Check string
	// Problem is a sentence that says what is wrong and what it leads to.
	Problem string
	// Statement mends it, "" when no statement does; then Problem says what does.
	Statement string
	// Online: Statement takes effect while the server runs, and harms nobody who is connected.
	Online bool
	// Blocks: without it the server must not be part of the store. Others are warnings.
	Blocks bool
}

// Canary is what a region last wrote into its own server for others to see.
type Canary struct {
	// Region that wrote it.
	Region string
	// Sequence counts the region's canaries from 1.
	Sequence int64
	// Time by the writer's clock.
	Time time.Time
	// Missing counts how many of the Kept canaries before this one did not arrive with it.
	Missing int64
}

// KeptCanaries is how many canaries of a region a server keeps, so that missing ones show.
const KeptCanaries = 64

// Fence says who may write to a set of a service's slots, on one region's server.
type Fence struct {
	// Set is the number of the set of slots, from 0.
	Set int
	// Owner is the region that may write; "" while nobody may.
	Owner string
	// Epoch since which that is so.
	Epoch int64
}

// Fences are those of one service on one server: sets of slots, and who may write to each.
type Fences struct {
	// Service is <namespace>/<name>, as its application knows it.
	Service string
	// Slots has the set of every slot of a key. It changes only with what the service declares.
	Slots []uint16
	// Pinned are the slots of lists of regions that data is pinned to, in ascending order, all above those of keys. Each
	// is alone in a set of its own number, so none ever changes its set.
	Pinned []int
	// Fences by set, in ascending order.
	Fences []Fence
}

// SlotCount is how many slots there are, those of keys and of lists.
func (f Fences) SlotCount() int { return len(f.Slots) + len(f.Pinned) }

// SetOf returns the set of a slot; false: there is no such slot.
func (f Fences) SetOf(slot int) (int, bool) {
	if slot >= 0 && slot < len(f.Slots) {
		return int(f.Slots[slot]), true
	}
	_, is := slices.BinarySearch(f.Pinned, slot)
	return slot, is
}

// Sets yields every slot with its set.
func (f Fences) Sets() iter.Seq2[int, int] {
	return func(yield func(slot, set int) bool) {
		for slot, set := range f.Slots {
			if !yield(slot, int(set)) {
				return
			}
		}
		for _, slot := range f.Pinned {
			if !yield(slot, slot) {
				return
			}
		}
	}
}

// Digest of a table, or a part of it: the same rows give the same digest whatever their order.
type Digest struct {
	// From is the first key of the part and To the last, as the engine writes them.
	From, To string
	// Rows counted, and Sum over all their columns.
	Rows int64
	Sum  string
}

// Errant are transactions of a region's own that only its server has: it was lost before they had reached another.
type Errant struct {
	// First and Last of them, as positions count, and how many there are; none where Transactions is 0.
	First, Last  int64
	Transactions int64
	// Tables that they change, as schema.table, sorted. Statements counts those that are no changes of rows, such as
	// ones that make a table.
	Tables     []string
	Statements int64
	// Complete: Tables and Statements are of all of them. Otherwise the server does not have the others' contents any
	// more, or there are too many.
	Complete bool
	// Command shows them to a person, contents and all; it asks for a password.
	Command string
}

// Comparison of a server's tables with those of another region's.
type Comparison struct {
	// Tables that were compared, and Rows that they had.
	Tables int
	Rows   int64
	// Differences are parts of tables whose rows differ, in the order of tables and keys.
	Differences []Difference
	// Skipped says which tables, or how much of them, could not be compared, and why: a sentence each.
	Skipped []string
}

// Difference is a part of a table that two servers have different rows in.
type Difference struct {
	// Table as schema.table.
	Table string
	// After and UpTo are the keys that the part lies between, as the engine writes them; "" for no bound.
	After, UpTo string
	// Here and There are the numbers of rows.
	Here, There int64
}
