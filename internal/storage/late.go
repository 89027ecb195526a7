package storage

import "time"

// Outage is one loss of a region, as the regions agree on it.
type Outage struct {
	// Region that was lost.
	Region string
	// ID tells the losses of a region apart: microseconds since 1970 when it was declared lost.
	ID int64
}

// ConflictPolicy says which version of a row of a table stands, when the region that was lost and another one have
// both written it since the former was lost.
type ConflictPolicy struct {
	// Table as schema.table.
	Table string
	// Winner is decided by it.
	Winner Winner
	// TimestampColumn and MaxClockSkew are for LastWriter.
	TimestampColumn string
	MaxClockSkew    time.Duration
}

// Winner says whose version stands.
type Winner string

const (
	// WinnerOwner is the region that had taken over: its version was acknowledged later.
	WinnerOwner Winner = "OwnerWins"
	// WinnerLast is whoever has the later time in a column, by more than clocks may differ.
	WinnerLast Winner = "LastWriterWins"
	// WinnerNobody leaves it to a person: what the others have stays until then.
	WinnerNobody Winner = "Quarantine"
)

// Late is what became of the changes that a region had accepted and not shipped when it was lost. The versions
// themselves are in the store alone.
type Late struct {
	Outage
	// Withdrawn: the region has taken its late changes back, and goes through them.
	Withdrawn bool
	// Pending are those that are not decided on yet, known in the region itself alone.
	Pending int64
	// Applied had been changed by nobody else, and are in all regions now.
	Applied int64
	// OwnerStands, LateStands: both had changed the row, and the version of the others, or the late one, stands.
	OwnerStands, LateStands int64
	// Open: both had changed the row, and a person has to say which version stands. The others' does until then.
	Open int64
	// Conflicts are the first of the rows that both had changed.
	Conflicts []Conflict
}

// Conflict is a row that two regions changed. It never has a row's content in it, but for its key.
type Conflict struct {
	Table, Key string
	Outcome    Outcome
}

// Outcome of a late change.
type Outcome string

const (
	// OutcomeApplied: nobody else had changed the row.
	OutcomeApplied Outcome = "Applied"
	// OutcomeOwnerStands: others had changed the row as well, and their version stands.
	OutcomeOwnerStands Outcome = "OwnerStands"
	// OutcomeLateStands: others had changed the row as well, and the late version stands.
	OutcomeLateStands Outcome = "LateStands"
	// OutcomeOpen: a person decides.
	OutcomeOpen Outcome = "Open"
)

// MostConflicts is how many rows a Late lists.
const MostConflicts = 20
